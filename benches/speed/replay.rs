//! A body that is recorded while it is sent, beside the bare one.
//!
//! Its frames are clones of one buffer, so the bare body costs next to nothing, and a reader that
//! drops them shows what a recording adds per frame. What comes of that in a connection shows a
//! reader that copies each frame once, which is the least that a connection does.

use std::{
    convert::Infallible,
    hint::black_box,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::Bytes;
use http_body::{Body, Frame};
use tower_refresh::replay::{Replay, ReplayBody};

use crate::{
    Effort,
    allocated::Allocated,
    report::Report,
    rounds::{interleaved, median},
};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

/// What [`ReplayBody::new`] keeps at most.
const CAP: usize = 64 * KIB;

pub(crate) fn run(effort: Effort) -> Report {
    let columns =
        ["body", "frames", "cap", "bare GiB/s", "ratio", "ns per frame", "allocated bytes"];
    let title = "A recorded body: throughput beside the bare one";
    let mut report = Report::new("replay", title, columns);
    let largest = effort.pick(GIB, 16 * MIB);
    let (mut worst_under, mut worst_over) = (f64::INFINITY, f64::INFINITY);
    for frame in [KIB, 64 * KIB] {
        for (size, cap) in [
            (CAP, CAP),
            (MIB, MIB),
            (16 * MIB, 16 * MIB),
            (MIB, CAP),
            (16 * MIB, CAP),
            (largest, CAP),
        ] {
            let upload = Upload { size, frame, cap };
            assert_eq!(upload.copied_frames(), 0, "frames are shared");
            let figures = upload.measure(effort);
            let worst = if size <= cap { &mut worst_under } else { &mut worst_over };
            *worst = worst.min(figures.ratio);
            report.row([
                bytes(size).into(),
                bytes(frame).into(),
                if size <= cap { "not reached".into() } else { bytes(cap).into() },
                figures.bare_gib_s.into(),
                figures.ratio.into(),
                figures.ns_per_frame.into(),
                upload.allocated().into(),
            ]);
        }
    }
    report.note("ratio: recorded to bare, with a reader that copies each frame once");
    report.note("ns per frame: what a recording adds to it, the body's own set-up included");
    report.note("allocated: by the recording of one body; no frame that came out was a copy");
    report.target("0.9 of the bare body's throughput below the cap", worst_under >= 0.9);
    report.target("0.98 of the bare body's throughput past the cap", worst_over >= 0.98);
    report
}

#[derive(Clone, Copy)]
struct Upload {
    size: usize,
    frame: usize,
    cap: usize,
}

struct Figures {
    bare_gib_s: f64,
    ratio: f64,
    ns_per_frame: f64,
}

impl Upload {
    fn measure(self, effort: Effort) -> Figures {
        let frames = self.frames();
        let copies = &mut vec![0; self.frame];
        let more_copies = &mut vec![0; self.frame];
        let mut copy = |frame: &Bytes| black_box(&mut *copies).copy_from_slice(frame);
        let mut copy_too = |frame: &Bytes| black_box(&mut *more_copies).copy_from_slice(frame);
        let look_at = |frame: &Bytes| _ = black_box(frame.len());
        let times = interleaved(
            self.rounds(effort),
            &mut [
                &mut || self.time(|| read(frames.clone(), &mut copy)),
                &mut || self.time(|| self.read_recorded(frames.clone(), &mut copy_too)),
                &mut || self.time(|| read(frames.clone(), look_at)),
                &mut || self.time(|| self.read_recorded(frames.clone(), look_at)),
            ],
        );
        let [bare, recorded, bare_dropped, recorded_dropped] = &times[..] else {
            unreachable!("there are four contenders")
        };
        let rounds = || bare.iter().zip(recorded);
        let dropped = bare_dropped.iter().zip(recorded_dropped);
        let added = median(dropped.map(|(bare, recorded)| recorded - bare));
        Figures {
            bare_gib_s: self.size as f64 / GIB as f64 / median(bare.iter().copied()),
            ratio: median(rounds().map(|(bare, recorded)| bare / recorded)),
            ns_per_frame: added * 1e9 / (self.size / self.frame) as f64,
        }
    }

    /// Some hundred milliseconds for each contender, but three rounds at least.
    fn rounds(self, effort: Effort) -> usize {
        effort.pick(if self.size == GIB { 7 } else { 201 }, 5)
    }

    /// Seconds for one body, from its making to its end: the mean of some MiB of them.
    fn time(self, mut send: impl FnMut()) -> f64 {
        let times = (4 * MIB / self.size).max(1);
        let start = Instant::now();
        (0..times).for_each(|_| send());
        start.elapsed().as_secs_f64() / times as f64
    }

    fn frames(self) -> Frames {
        Frames { frame: vec![7; self.frame].into(), left: self.size / self.frame }
    }

    /// As the layer does it: the spare lives until the request has its answer.
    fn read_recorded(self, frames: Frames, reader: impl FnMut(&Bytes)) {
        let (body, spare) = ReplayBody::with_limit(frames, self.cap).replay();
        read(body, reader);
        drop(spare);
    }

    fn copied_frames(self) -> usize {
        let frames = self.frames();
        let (original, mut copied) = (frames.frame.as_ptr(), 0);
        self.read_recorded(frames, |frame| copied += usize::from(frame.as_ptr() != original));
        copied
    }

    fn allocated(self) -> usize {
        let frames = self.frames();
        let allocated = Allocated::from_now_on();
        self.read_recorded(frames, |frame| _ = black_box(frame.len()));
        allocated.total()
    }
}

/// A stream that does not say how long it is.
#[derive(Clone)]
struct Frames {
    frame: Bytes,
    left: usize,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(self.frame.clone()))))
    }
}

fn read<B>(body: B, mut reader: impl FnMut(&Bytes))
where
    B: Body<Data = Bytes, Error: std::fmt::Debug> + Unpin,
{
    // Kept from seeing through the body, which a connection cannot do either.
    let mut body = black_box(body);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        match Pin::new(&mut body).poll_frame(&mut cx) {
            Poll::Ready(Some(frame)) => {
                let frame = frame.expect("the body does not fail");
                reader(frame.data_ref().expect("it has no trailers"));
            }
            Poll::Ready(None) => return,
            Poll::Pending => unreachable!("all frames are there"),
        }
    }
}

fn bytes(count: usize) -> String {
    match count {
        GIB.. => format!("{} GiB", count / GIB),
        MIB.. => format!("{} MiB", count / MIB),
        _ => format!("{} KiB", count / KIB),
    }
}
