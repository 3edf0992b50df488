//! What a copy says of its rest is true of that copy, at every step.

use http_body::SizeHint;
use http_body_util::Full;

use super::*;

/// A body of known size in frames of one byte.
pub(super) struct Counted(pub(super) &'static [u8]);

impl Body for Counted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some((first, rest)) = self.0.split_at_checked(1) else {
            return Poll::Ready(None);
        };
        self.0 = rest;
        Poll::Ready(Some(Ok(Frame::data(first.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

/// Reads a copy to its end, checking what it says before each frame.
#[track_caller]
fn assert_counts_down(mut body: impl Body<Error: Into<BoxError>> + Unpin, from: u64) {
    for left in (1..=from).rev() {
        assert_eq!(body.size_hint().exact(), Some(left));
        assert!(!body.is_end_stream());
        assert!(matches!(poll(&mut body), Seen::Data(_)));
    }
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(body.is_end_stream());
    assert_eq!(poll(&mut body), Seen::End);
    assert!(body.is_end_stream());
}

// S54: each copy of a body says truly what remains of it
#[test]
fn each_copy_counts_what_remains_for_it() {
    for read in 0..=3 {
        let (mut body, backup) = split(ReplayBody::new(Counted(b"abc")));
        for left in 0..read {
            assert_eq!(body.size_hint().exact(), Some(3 - left));
            poll(&mut body);
        }
        assert_eq!(body.size_hint().exact(), Some(3 - read));
        assert_eq!(body.is_end_stream(), read == 3);
        assert_counts_down(backup.into_body().unwrap(), 3);
    }
}

// S54: each copy of a body says truly what remains of it
#[test]
fn the_first_copy_counts_down() {
    let (body, _backup) = split(ReplayBody::new(Counted(b"abc")));
    assert_counts_down(body, 3);
    assert_counts_down(ReplayBody::new(Counted(b"abc")), 3);
}

// S54: each copy of a body says truly what remains of it
#[test]
fn a_backup_counts_before_it_is_used() {
    // Constructors look: some make a body that says it is empty into nothing.
    let mut seen = None;
    let (mut body, backup) = split(ReplayBody::new(Counted(b"abc")));
    poll(&mut body);
    let _backup = backup.map(|body| {
        seen = Some((body.size_hint().exact(), body.is_end_stream()));
        body
    });
    assert_eq!(seen, Some((Some(3), false)));
}

// S54: each copy of a body says truly what remains of it
#[test]
fn an_unknown_size_stays_unknown_until_the_body_has_been_read() {
    let (mut body, backup) = split(ReplayBody::new(streamed([data("one"), data("two")])));
    assert_eq!((body.size_hint().lower(), body.size_hint().upper()), (0, None));
    assert!(!body.is_end_stream());
    poll(&mut body);
    assert_eq!(read(&mut body), [data("two"), Seen::End]);
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(body.is_end_stream());

    assert_counts_down_by_three(backup.into_body().unwrap());
}

#[track_caller]
fn assert_counts_down_by_three(mut body: impl Body<Error: Into<BoxError>> + Unpin) {
    for left in [6, 3] {
        assert_eq!(body.size_hint().exact(), Some(left));
        poll(&mut body);
    }
    assert!(body.is_end_stream());
}

// S54: each copy of a body says truly what remains of it
#[test]
fn trailers_are_not_the_end() {
    let (body, backup) = split(ReplayBody::new(streamed([Seen::Trailers(trailers())])));
    read(body);
    let mut backup = backup.into_body().unwrap();
    assert_eq!(backup.size_hint().exact(), Some(0));
    assert!(!backup.is_end_stream());
    poll(&mut backup);
    assert!(backup.is_end_stream());
}

// S54: each copy of a body says truly what remains of it
#[test]
fn bodies_that_are_cloned_or_empty_count_as_well() {
    let (body, backup) = split(Full::<Bytes>::from("a"));
    assert_counts_down(body, 1);
    assert_counts_down(backup.into_body().unwrap(), 1);
    let (body, backup) = split(ReplayBody::new(Full::<Bytes>::default()));
    assert_counts_down(body, 0);
    assert_counts_down(backup.into_body().unwrap(), 0);
}
