//! What is kept, and for how long.

use super::*;

#[test]
fn payload_is_shared_and_not_copied() {
    let payload = Bytes::from(vec![7; 1024]);
    let (mut body, backup) = split(ReplayBody::new(streamed([data(payload.clone())])));
    let mut backup = {
        let _ = poll(&mut body);
        backup.into_body().unwrap()
    };
    let Seen::Data(replayed) = poll(&mut backup) else {
        panic!("no data");
    };
    assert_eq!(replayed.as_ptr(), payload.as_ptr());
}

#[test]
fn payload_past_the_cap_is_not_copied_either() {
    let payloads = [0_u8, 1, 2].map(|n| Bytes::from(vec![n; 1024]));
    let (mut body, backup) = split(ReplayBody::with_limit(streamed(payloads.clone().map(data)), 1));
    for payload in payloads {
        let Seen::Data(seen) = poll(&mut body) else {
            panic!("no data");
        };
        assert_eq!(seen.as_ptr(), payload.as_ptr());
    }
    assert!(backup.is_unavailable());
}

/// A payload that tells whether it has been freed.
fn tracked(payload: &'static str) -> (std::sync::Weak<str>, Bytes) {
    struct Owner(Arc<str>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            self.0.as_bytes()
        }
    }
    let payload = Arc::<str>::from(payload);
    (Arc::downgrade(&payload), Bytes::from_owner(Owner(payload)))
}

#[test]
fn without_a_backup_nothing_is_kept() {
    let (first, first_bytes) = tracked("one");
    let (second, second_bytes) = tracked("two");
    let (sender, body) = live();
    sender.unbounded_send(Frame::data(first_bytes)).unwrap();
    sender.unbounded_send(Frame::data(second_bytes)).unwrap();

    let (mut body, backup) = split(ReplayBody::new(body));
    poll(&mut body);
    assert_eq!(first.strong_count(), 1, "kept for the backup");
    drop(backup);
    assert_eq!(first.strong_count(), 0, "freed with the backup");
    poll(&mut body);
    assert_eq!(second.strong_count(), 0, "not kept any more");
}

#[test]
fn a_retry_frees_what_it_has_sent() {
    let (payload, bytes) = tracked("one");
    let (mut body, backup) = split(ReplayBody::new(streamed([data(bytes), data("two")])));
    poll(&mut body);
    let mut backup = backup.into_body().unwrap();
    assert_eq!(payload.strong_count(), 1);
    assert_eq!(poll(&mut backup), data("one"));
    assert_eq!(payload.strong_count(), 0);
}

#[test]
fn the_source_goes_with_the_only_copy_that_reads_it() {
    let (sender, body) = live();
    let (mut body, backup) = split(ReplayBody::new(body));
    drop(backup);
    assert_eq!(poll(&mut body), Seen::Pending);
    drop(body);
    assert!(sender.is_closed());
}

#[test]
fn a_superseded_copy_does_not_hold_what_nobody_can_read() {
    let (sender, body) = live();
    let (body, backup) = split(ReplayBody::new(body));
    drop(backup.into_body());
    assert!(sender.is_closed());
    drop(body);
}
