//! A copy that has nobody beside it any more is read like the bare body, until it is kept again.

use super::{remaining::Counted, *};

/// What a body says of its rest, and its next frame.
fn step<B>(body: &mut B) -> (u64, Option<u64>, bool, Seen)
where
    B: Body<Error: Into<BoxError>> + Unpin,
{
    let hint = body.size_hint();
    (hint.lower(), hint.upper(), body.is_end_stream(), poll(body))
}

/// Drops the backup after each possible number of frames: the copy reads like the bare body.
#[track_caller]
fn assert_like_the_bare<B>(make: impl Fn() -> B, limit: usize, frames: usize)
where
    B: Body<Error: Into<BoxError>> + Send + Unpin + 'static,
{
    for dropped_after in 0..=frames {
        let mut bare = make();
        let (mut body, backup) = split(ReplayBody::with_limit(make(), limit));
        let mut backup = Some(backup);
        // Beyond the end as well.
        for frame in 0..frames + 2 {
            if frame == dropped_after {
                backup = None;
            }
            let (expected, seen) = (step(&mut bare), step(&mut body));
            assert_eq!(seen.3, expected.3, "frame {frame} of {dropped_after}");
            // The end is known once it was seen.
            if frame <= frames {
                assert_eq!(seen, expected, "frame {frame} of {dropped_after}");
            }
        }
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(body.is_end_stream());
        drop(backup);
    }
}

fn mixed() -> Streamed {
    streamed([data("one"), data(""), data("two"), Seen::Trailers(trailers())])
}

// S54: each copy of a body says truly what remains of it
#[test]
fn without_a_backup_a_copy_is_like_the_bare_body() {
    assert_like_the_bare(|| Counted(b"abcd"), 64, 4);
    assert_like_the_bare(mixed, 64, 4);
}

// S54: each copy of a body says truly what remains of it
#[test]
fn past_the_cap_a_copy_is_like_the_bare_body() {
    for limit in 0..6 {
        assert_like_the_bare(|| Counted(b"abcd"), limit, 4);
        assert_like_the_bare(mixed, limit, 4);
    }
}

// S51: after a refusal the server gets the same bytes in the same order, trailers included
#[test]
fn past_the_cap_a_body_need_not_be_made_of_bytes() {
    use http_body_util::BodyExt as _;
    let framed = streamed([data("one"), data("two")])
        .map_frame(|frame| frame.map_data(|data| Bytes::from_static(b"<").chain(data)));
    let (body, _backup) = split(ReplayBody::with_limit(framed, 1));
    assert_eq!(read(body), [data("<one"), data("<two"), Seen::End]);
}

// S54: each copy of a body says truly what remains of it
#[test]
fn kept_again_a_copy_is_replayed_from_there() {
    let (mut body, backup) = split(ReplayBody::with_limit(Counted(b"abcdef"), 4));
    drop(backup);
    assert_eq!((poll(&mut body), poll(&mut body)), (data("a"), data("b")));
    for _ in 0..2 {
        let (mut sent, backup) = split(body);
        assert_eq!(sent.size_hint().exact(), Some(4));
        assert_eq!((poll(&mut sent), poll(&mut sent)), (data("c"), data("d")));
        body = backup.into_body().unwrap();
        assert_eq!(poll(&mut sent), superseded());
        assert!(!sent.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(4));
    }
    assert_eq!(
        read(body),
        ["c", "d", "e", "f"].map(data).into_iter().chain([Seen::End]).collect::<Vec<_>>()
    );
}

#[test]
fn a_copy_that_slept_alone_is_woken_when_it_is_superseded() {
    let (_sender, body) = live();
    let mut body = ReplayBody::new(body);
    let wakes = Arc::new(Wakes::default());
    assert_eq!(poll_with(&mut body, &wakes.clone().into()), Seen::Pending);
    let (mut body, backup) = split(body);
    let _backup = backup.into_body().unwrap();
    assert_eq!(wakes.count(), 1);
    assert_eq!(poll(&mut body), superseded());
}

#[test]
fn a_superseded_copy_fails_beside_one_that_reads_alone() {
    let (mut body, backup) = split(ReplayBody::new(streamed([data("one"), data("two")])));
    assert_eq!(poll(&mut body), data("one"));
    let mut backup = backup.into_body().unwrap();
    assert_eq!((poll(&mut backup), poll(&mut backup)), (data("one"), data("two")));
    assert_eq!(poll(&mut body), superseded());
    assert!(split(body).1.is_unavailable());
    assert_eq!(poll(&mut backup), Seen::End);
}

// S55: a body that fails while it is read tells the caller, and is not sent again
#[test]
fn a_copy_that_panicked_alone_is_not_replayed() {
    let stream = stream::poll_fn(|_| -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        panic!("on purpose");
    });
    let mut body = ReplayBody::new(StreamBody::new(stream));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll(&mut body)));
    assert!(panicked.is_err());
    assert!(!body.is_end_stream());
    assert!(split(body).1.is_unavailable());
}
