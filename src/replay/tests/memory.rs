//! What is kept, and for how long.

use super::*;

#[test]
fn payload_is_shared_and_not_copied() {
    let payload = Bytes::from(vec![7; 1024]);
    let (mut body, spare) = split(ReplayBody::new(streamed([data(payload.clone())])));
    let mut spare = {
        let _ = poll(&mut body);
        spare.take().unwrap()
    };
    let Seen::Data(replayed) = poll(&mut spare) else {
        panic!("no data");
    };
    assert_eq!(replayed.as_ptr(), payload.as_ptr());
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
fn without_a_spare_nothing_is_kept() {
    let (first, first_bytes) = tracked("one");
    let (second, second_bytes) = tracked("two");
    let (sender, body) = live();
    sender.unbounded_send(Frame::data(first_bytes)).unwrap();
    sender.unbounded_send(Frame::data(second_bytes)).unwrap();

    let (mut body, spare) = split(ReplayBody::new(body));
    poll(&mut body);
    assert_eq!(first.strong_count(), 1, "kept for the spare");
    drop(spare);
    assert_eq!(first.strong_count(), 0, "freed with the spare");
    poll(&mut body);
    assert_eq!(second.strong_count(), 0, "not kept any more");
}

#[test]
fn a_retry_frees_what_it_has_sent() {
    let (payload, bytes) = tracked("one");
    let (mut body, spare) = split(ReplayBody::new(streamed([data(bytes), data("two")])));
    poll(&mut body);
    let mut spare = spare.take().unwrap();
    assert_eq!(payload.strong_count(), 1);
    assert_eq!(poll(&mut spare), data("one"));
    assert_eq!(payload.strong_count(), 0);
}

#[test]
fn a_superseded_copy_does_not_hold_what_nobody_can_read() {
    let (sender, body) = live();
    let (body, spare) = split(ReplayBody::new(body));
    drop(spare.take());
    assert!(sender.is_closed());
    drop(body);
}
