//! A body that is recorded while it is sent, beside the bare one.
//!
//! Its frames are clones of one buffer, so the bare body costs next to nothing, and reading it to
//! its end shows what a recording adds per frame. What comes of that shows a connection which sends
//! it: there the ratio is the worst that can come, as it spares both the kernel and the network.

use std::{
    cell::RefCell,
    convert::Infallible,
    hint::black_box,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::Either;
use tower_refresh::replay::{Replay, ReplayBody};

use crate::{
    Effort,
    allocated::Allocated,
    connection::Connection,
    report::Report,
    rounds::{interleaved, median, worked},
};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

/// What [`ReplayBody::new`] keeps at most.
const CAP: usize = 64 * KIB;

pub(crate) fn run(effort: Effort) -> Report {
    let columns = [
        "body",
        "frames",
        "cap",
        "ns per frame",
        "ratio in memory",
        "ratio on loopback",
        "bare GiB/s",
        "allocated bytes",
    ];
    let title = "A recorded body: throughput beside the bare one";
    let mut report = Report::new("replay", title, columns);
    let (mut worst_under, mut worst_over) = (f64::INFINITY, f64::INFINITY);
    for frame in [KIB, 64 * KIB] {
        for (size, cap) in
            [(CAP, CAP), (MIB, MIB), (16 * MIB, 16 * MIB), (MIB, CAP), (16 * MIB, CAP), (GIB, CAP)]
                .into_iter()
                .take(effort.pick(6, 5))
        {
            let upload = Upload { size, frame, cap };
            assert_eq!(upload.copied_frames(), 0, "frames are shared");
            let figures = upload.measure(effort);
            let worst = if size <= cap { &mut worst_under } else { &mut worst_over };
            *worst = worst.min(figures.loopback_ratio);
            report.row([
                bytes(size).into(),
                bytes(frame).into(),
                if size <= cap { "not reached".into() } else { bytes(cap).into() },
                figures.ns_per_frame.into(),
                figures.memory_ratio.into(),
                figures.loopback_ratio.into(),
                figures.loopback_gib_s.into(),
                upload.allocated().into(),
            ]);
        }
    }
    report.note("ratios: recorded to bare, sent by hyper into memory, and over TCP on loopback");
    report.note("time is the sending thread's CPU time; ns per frame are those of merely reading");
    report.note("allocated: by the recording of one body; its frames are shared, never copied");
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
    ns_per_frame: f64,
    memory_ratio: f64,
    loopback_gib_s: f64,
    loopback_ratio: f64,
}

impl Upload {
    fn measure(self, effort: Effort) -> Figures {
        let frames = self.frames();
        // One connection for both, as no two are equally fast.
        let memory = RefCell::new(Connection::into_memory());
        let loopback = RefCell::new(Connection::over_loopback());
        let send = |connection: &RefCell<Connection<_>>| {
            connection.borrow_mut().send(Either::Left(frames.clone()));
        };
        let send_recorded = |connection: &RefCell<Connection<_>>| {
            self.recorded(|body| connection.borrow_mut().send(Either::Right(body)));
        };
        let seconds = interleaved(
            self.rounds(effort),
            &mut [
                &mut || self.time(|| read(frames.clone(), |_| {})),
                &mut || self.time(|| self.recorded(|body| read(body, |_| {}))),
                &mut || self.time(|| send(&memory)),
                &mut || self.time(|| send_recorded(&memory)),
                &mut || self.time(|| send(&loopback)),
                &mut || self.time(|| send_recorded(&loopback)),
            ],
        );
        let of_rounds = |bare: usize, figure: fn(f64, f64) -> f64| {
            let rounds = seconds[bare].iter().zip(&seconds[bare + 1]);
            median(rounds.map(|(bare, recorded)| figure(*bare, *recorded)))
        };
        Figures {
            ns_per_frame: of_rounds(0, |bare, recorded| recorded - bare) * 1e9
                / (self.size / self.frame) as f64,
            memory_ratio: of_rounds(2, |bare, recorded| bare / recorded),
            loopback_gib_s: self.size as f64 / GIB as f64 / of_rounds(4, |bare, _| bare),
            loopback_ratio: of_rounds(4, |bare, recorded| bare / recorded),
        }
    }

    fn rounds(self, effort: Effort) -> usize {
        effort.pick(if self.size == GIB { 7 } else { 31 }, 3)
    }

    /// Seconds of this thread's for one body, from its making to its end: the mean of some MiB.
    fn time(self, mut send: impl FnMut()) -> f64 {
        let times = (16 * MIB / self.size).max(1);
        let start = worked();
        (0..times).for_each(|_| send());
        (worked() - start).as_secs_f64() / times as f64
    }

    fn frames(self) -> Frames {
        static PAYLOAD: LazyLock<Bytes> = LazyLock::new(|| vec![7; CAP].into());
        Frames { frame: PAYLOAD.slice(..self.frame), left: self.size / self.frame }
    }

    /// Keeps a backup as the layer does: it lives until the request has its answer.
    fn recorded(self, send: impl FnOnce(ReplayBody<Frames>)) {
        let mut body = ReplayBody::with_limit(self.frames(), self.cap);
        let backup = body.backup();
        send(body);
        drop(backup);
    }

    fn copied_frames(self) -> usize {
        let original = self.frames().frame.as_ptr();
        let mut copied = 0;
        self.recorded(|body| {
            read(body, |frame| copied += usize::from(frame.as_ptr() != original));
        });
        copied
    }

    fn allocated(self) -> usize {
        let allocated = Allocated::from_now_on();
        self.recorded(|body| read(body, |_| {}));
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
