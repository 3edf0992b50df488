//! What sessions make of a lease, over a store in memory.

use std::time::Duration;

use tokio::time::sleep;
use tower_refresh::{
    Session,
    endpoint::{EndpointError, Spent, TokenResponse},
    testing::{Answer, GatedEndpoint, GatedStore, StoreCalls, StoreFault},
};

use crate::stores::support::record;

async fn session(store: GatedStore) -> (Session, GatedEndpoint) {
    let endpoint = GatedEndpoint::new();
    let session = Session::builder(endpoint.clone()).store(store);
    let session = session.lease(Duration::from_secs(2)).build();
    session.ready().await.unwrap();
    (session, endpoint)
}

// S47: when the holder of the lease dies, another takes over within its life
#[tokio::test(start_paused = true)]
async fn a_refresh_that_has_lost_its_lease_ends_with_what_its_successor_got() {
    let too_late = TokenResponse::new("too-late").unwrap();
    let down = || Answer::from(EndpointError::transient("down").with_spent(Spent::No));
    for answer in [Answer::from(too_late), down()] {
        let store = GatedStore::holding(record(1, "access-0", "refresh-0"));
        let (ours, our_endpoint) = session(store.clone()).await;
        let (theirs, their_endpoint) = session(store.other()).await;
        let hold = our_endpoint.hold();
        our_endpoint.answer(answer);
        let refresh = tokio::spawn(async move { ours.refresh().await });
        our_endpoint.calls_reached(1).await;
        // Our process is cut off from the store, and its lease ends.
        store.set_fault(StoreCalls::All, StoreFault::Fail);
        assert_eq!(theirs.refresh().await.unwrap().expose(), "access-1");
        store.set_fault(StoreCalls::All, None);
        // Long enough to notice.
        sleep(Duration::from_secs(2)).await;
        hold.release();
        assert_eq!(refresh.await.unwrap().unwrap().expose(), "access-1");
        assert_eq!((our_endpoint.calls(), their_endpoint.calls()), (1, 1));
        let stored = store.record().unwrap();
        assert_eq!(stored.tokens().unwrap().refresh_token().unwrap().expose(), "refresh-1");
    }
}

// S47: when the holder of the lease dies, another takes over within its life
#[tokio::test(start_paused = true)]
async fn a_refresh_that_has_lost_its_lease_and_failed_waits_for_its_successor() {
    let store = GatedStore::holding(record(1, "access-0", "refresh-0"));
    let (ours, our_endpoint) = session(store.clone()).await;
    let (theirs, their_endpoint) = session(store.other()).await;
    let (our_hold, their_hold) = (our_endpoint.hold(), their_endpoint.hold());
    our_endpoint.answer(EndpointError::transient("down").with_spent(Spent::No));
    let ours = tokio::spawn(async move { ours.refresh().await });
    our_endpoint.calls_reached(1).await;
    store.set_fault(StoreCalls::All, StoreFault::Fail);
    let theirs = tokio::spawn(async move { theirs.refresh().await });
    their_endpoint.calls_reached(1).await;
    store.set_fault(StoreCalls::All, None);
    // Long enough to notice whose lease it is by now.
    sleep(Duration::from_secs(1)).await;
    our_hold.release();
    sleep(Duration::from_secs(1)).await;
    assert!(!ours.is_finished());
    their_hold.release();
    assert_eq!(theirs.await.unwrap().unwrap().expose(), "access-1");
    assert_eq!(ours.await.unwrap().unwrap().expose(), "access-1");
    assert_eq!((our_endpoint.calls(), their_endpoint.calls()), (1, 1));
}
