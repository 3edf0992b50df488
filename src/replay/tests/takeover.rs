//! A retry starts while the first copy is still being read, or is not read any more.

use super::*;

const LIMIT: usize = 6;

#[test]
fn the_backup_replays_what_was_read_and_reads_on() {
    let (sender, body) = live();
    let (mut body, backup) = split(ReplayBody::new(body));
    sender.unbounded_send(Frame::data("one".into())).unwrap();
    assert_eq!(poll(&mut body), data("one"));

    let mut backup = backup.into_body().unwrap();
    sender.unbounded_send(Frame::data("two".into())).unwrap();
    drop(sender);
    assert_eq!(poll(&mut backup), data("one"));
    assert_eq!(poll(&mut backup), data("two"));
    assert_eq!(poll(&mut backup), Seen::End);
}

#[test]
fn the_backup_replays_a_copy_that_was_dropped_half_read() {
    let (mut body, backup) = split(ReplayBody::new(streamed([data("one"), data("two")])));
    assert_eq!(poll(&mut body), data("one"));
    drop(body);
    let expected = [data("one"), data("two"), Seen::End];
    assert_eq!(read(backup.into_body().unwrap()), expected);
}

#[test]
fn a_superseded_copy_fails_and_never_ends() {
    for polls in 0..3 {
        let (mut body, backup) = split(ReplayBody::new(streamed([data("one")])));
        for _ in 0..polls {
            poll(&mut body);
        }
        let backup = backup.into_body().unwrap();
        assert_eq!(poll(&mut body), superseded());
        assert!(!body.is_end_stream());
        assert_eq!(read(backup), [data("one"), Seen::End]);
        assert_eq!(poll(&mut body), superseded());
        assert!(!body.is_end_stream());
    }
}

#[test]
fn a_superseded_copy_is_woken() {
    let (_sender, body) = live();
    let (mut body, backup) = split(ReplayBody::new(body));
    let wakes = Arc::new(Wakes::default());
    assert_eq!(poll_with(&mut body, &wakes.clone().into()), Seen::Pending);
    let _backup = backup.into_body().unwrap();
    assert_eq!(wakes.count(), 1);
    assert_eq!(poll(&mut body), superseded());
}

#[test]
fn the_task_that_took_over_is_woken_by_the_source() {
    let (sender, body) = live();
    let (mut body, backup) = split(ReplayBody::new(body));
    assert_eq!(poll(&mut body), Seen::Pending);
    let mut backup = backup.into_body().unwrap();
    let wakes = Arc::new(Wakes::default());
    assert_eq!(poll_with(&mut backup, &wakes.clone().into()), Seen::Pending);
    sender.unbounded_send(Frame::data("one".into())).unwrap();
    assert_eq!(wakes.count(), 1);
}

// S31: a body that cannot be sent again gets its refusal, and the next request a new token
#[test]
fn over_the_cap_the_body_streams_on_and_the_backup_is_lost() {
    let frames = [data("four"), data("five"), data("six")];
    let (body, backup) = split(ReplayBody::with_limit(streamed(frames.clone()), LIMIT));
    assert!(!backup.is_unavailable());
    let mut seen = read(body);
    assert_eq!(seen.pop(), Some(Seen::End));
    assert_eq!(seen, frames);
    assert!(backup.into_body().is_none());
}

#[test]
fn exactly_at_the_cap_the_body_is_kept() {
    let frames = [data("one"), data(""), data("two")];
    let (body, backup) = split(ReplayBody::with_limit(streamed(frames), LIMIT));
    read(body);
    let expected = [data("one"), data("two"), Seen::End];
    assert_eq!(read(backup.into_body().unwrap()), expected);
}

#[test]
fn a_backup_that_took_over_below_the_cap_reads_on_above_it() {
    let frames = [data("four"), data("five"), data("six")];
    let (mut body, backup) = split(ReplayBody::with_limit(streamed(frames.clone()), LIMIT));
    assert_eq!(poll(&mut body), data("four"));
    let mut seen = read(backup.into_body().unwrap());
    assert_eq!(seen.pop(), Some(Seen::End));
    assert_eq!(seen, frames);
}

#[test]
fn what_a_retry_has_sent_does_not_count_against_the_cap() {
    let frames = [data("four"), data("five"), data("6")];
    let (mut body, backup) = split(ReplayBody::with_limit(streamed(frames), LIMIT));
    assert_eq!(poll(&mut body), data("four"));
    let mut body = backup.into_body().unwrap();
    assert_eq!(poll(&mut body), data("four"));
    let (body, backup) = split(body);
    let expected = [data("five"), data("6"), Seen::End];
    assert_eq!(read(body), expected);
    assert_eq!(read(backup.into_body().unwrap()), expected);
}

#[test]
fn a_body_that_announces_more_than_the_cap_is_not_kept() {
    let body = ReplayBody::with_limit(String::from("seventeen"), LIMIT);
    let (body, backup) = split(body);
    assert!(backup.is_unavailable());
    assert_eq!(read(body), [data("seventeen"), Seen::End]);
}

// S55: a body that fails while it is read tells the caller, and is not sent again
#[test]
fn an_error_of_the_body_reaches_its_reader_and_the_backup_is_lost() {
    let frames = [data("one"), Seen::Error("broken".into())];
    let (body, backup) = split(ReplayBody::new(streamed(frames.clone())));
    assert_eq!(read(body), frames);
    assert!(backup.into_body().is_none());
}

// S55: a body that fails while it is read tells the caller, and is not sent again
#[test]
fn a_body_that_has_failed_is_not_kept() {
    let mut body = ReplayBody::new(streamed([Seen::Error("broken".into()), data("rest")]));
    assert_eq!(poll(&mut body), Seen::Error("broken".into()));
    let (_body, backup) = split(body);
    assert!(backup.is_unavailable());
}

// S55: a body that fails while it is read tells the caller, and is not sent again
#[test]
fn a_body_that_panicked_is_not_replayed() {
    let stream = futures::stream::poll_fn(|_| -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        panic!("on purpose");
    });
    let (mut body, backup) = split(ReplayBody::new(StreamBody::new(stream)));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll(&mut body)));
    assert!(panicked.is_err());
    assert!(backup.into_body().is_none());
}

#[test]
fn a_body_can_be_split_by_two_layers() {
    let frames = [data("one"), data("two"), Seen::Trailers(trailers())];
    let mut expected = frames.to_vec();
    expected.push(Seen::End);

    let (body, outer) = split(ReplayBody::new(streamed(frames)));
    let (mut body, inner) = split(body);
    assert_eq!(poll(&mut body), data("one"));

    // The inner layer retries, and the server reads on before the outer layer's refusal.
    let mut retried = inner.into_body().unwrap();
    assert_eq!(poll(&mut retried), data("one"));
    assert_eq!(poll(&mut retried), data("two"));
    assert_eq!(poll(&mut body), superseded());

    // The outer layer retries, through the inner one, which splits the body again.
    let (mut retried_again, inner) = split(outer.into_body().unwrap());
    assert_eq!(poll(&mut retried), superseded());
    assert_eq!(poll(&mut retried_again), data("one"));
    assert_eq!(read(inner.into_body().unwrap()), expected);
    assert_eq!(poll(&mut retried_again), superseded());
}

#[test]
fn a_box_can_be_split_by_two_layers() {
    use http_body_util::BodyExt as _;
    let frames = [data("one"), data("two")];
    let (body, outer) = split(streamed(frames).boxed_unsync());
    let (mut body, inner) = split(body);
    assert_eq!(poll(&mut body), data("one"));
    let mut retried = inner.into_body().unwrap();
    assert_eq!(poll(&mut retried), data("one"));
    assert_eq!(poll(&mut body), superseded());

    let retried_again = outer.into_body().unwrap();
    assert_eq!(poll(&mut retried), superseded());
    let expected = [data("one"), data("two"), Seen::End];
    assert_eq!(read(retried_again), expected);
}

#[test]
fn a_body_that_was_read_before_it_is_split_is_replayed_from_there() {
    let mut body = ReplayBody::new(streamed([data("one"), data("two")]));
    assert_eq!(poll(&mut body), data("one"));
    let (body, backup) = split(body);
    assert_eq!(read(body), [data("two"), Seen::End]);
    assert_eq!(read(backup.into_body().unwrap()), [data("two"), Seen::End]);
}

#[test]
fn each_backup_begins_where_it_was_split_off() {
    let frames = [data("one"), data("two"), data("three")];
    let (mut body, outer) = split(ReplayBody::new(streamed(frames)));
    assert_eq!(poll(&mut body), data("one"));
    let (mut body, inner) = split(body);
    assert_eq!(poll(&mut body), data("two"));
    assert_eq!(poll(&mut inner.into_body().unwrap()), data("two"));
    assert_eq!(poll(&mut outer.into_body().unwrap()), data("one"));
}

#[test]
fn a_backup_of_a_superseded_copy_is_lost() {
    let (body, backup) = split(ReplayBody::new(streamed([data("one")])));
    let _backup = backup.into_body().unwrap();
    assert!(split(body).1.is_unavailable());
}
