//! What another process has done is heard of by a session that is used, without a request that has
//! to fail first; one that is idle looks at nothing.

use std::time::Duration;

use http::StatusCode;
use tokio::{runtime::Builder, time::sleep};
use tower_refresh::{
    Session, Tokens,
    endpoint::{EndpointError, Spent},
    testing::{Answer, GatedEndpoint, GatedStore, StoreCalls, StoreFault},
};

use crate::{
    stored::record,
    support::{World, error_of, live, process, settle},
};

// S44: a newer token in the store is adopted without a call
#[tokio::test(start_paused = true)]
async fn a_login_and_a_log_out_elsewhere_are_heard_of_without_a_request() {
    let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
    let (here, there) = (process(&store, &endpoint), process(&store, &endpoint));
    assert_eq!(here.get().await.unwrap(), StatusCode::OK);
    assert_eq!(there.get().await.unwrap(), StatusCode::OK);
    there.session.log_out().await.unwrap();
    sleep(Duration::from_secs(3)).await;
    // The request is served, and behind it the store is looked at.
    assert_eq!(here.get().await.unwrap(), StatusCode::OK);
    settle().await;
    assert!(here.session.status().is_login_required());
    assert!(error_of(here.get().await).is_login_required());
    there.session.set_tokens(live()).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(here.get().await.unwrap(), StatusCode::OK, "this one waits for the look");
    assert_eq!(here.api.tokens().pop().unwrap(), "seed");
}

// S44: a newer token in the store is adopted without a call
#[tokio::test(start_paused = true)]
async fn a_log_out_elsewhere_is_heard_of_also_after_a_refresh_that_failed() {
    // In doubt the word that the token is being spent stays, and here it cannot be taken back.
    for (failure, fault) in [
        (EndpointError::transient("reset"), None),
        (EndpointError::transient("down").with_spent(Spent::No), Some(StoreFault::Fail)),
    ] {
        let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
        let builder = Session::builder(endpoint.clone()).initial_tokens(live()).attempts(1);
        let here = builder.store(store.clone()).build();
        here.ready().await.unwrap();
        endpoint.answer(failure);
        let hold = endpoint.hold();
        let refresh = tokio::spawn({
            let here = here.clone();
            async move { here.refresh().await }
        });
        endpoint.calls_reached(1).await;
        store.set_fault(StoreCalls::All, fault);
        hold.release();
        assert!(refresh.await.unwrap().unwrap_err().is_transient());
        store.set_fault(StoreCalls::All, None);
        assert!(store.record().unwrap().lease().is_some());
        assert!(here.status().is_live());

        let there = Session::builder(endpoint).store(store.other()).build();
        there.log_out().await.unwrap();
        sleep(Duration::from_secs(31)).await;
        let _ = here.token().await;
        settle().await;
        assert!(here.status().is_login_required());
    }
}

// S44: a newer token in the store is adopted without a call
#[tokio::test(start_paused = true)]
async fn a_store_that_panicked_is_still_watched() {
    let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
    let builder = Session::builder(endpoint.clone()).initial_tokens(live()).store(store.clone());
    let here = builder.build();
    here.ready().await.unwrap();
    store.set_fault(StoreCalls::All, StoreFault::Panic);
    for _ in 0..10 {
        sleep(Duration::from_secs(1)).await;
        here.token().await.unwrap();
    }
    store.set_fault(StoreCalls::All, None);
    let there = Session::builder(endpoint).store(store.other()).build();
    there.log_out().await.unwrap();
    sleep(Duration::from_secs(3)).await;
    here.token().await.unwrap();
    settle().await;
    assert!(here.status().is_login_required());
}

// S44: a newer token in the store is adopted without a call
#[tokio::test(start_paused = true)]
async fn who_was_used_for_nothing_but_a_log_out_hears_of_a_login_elsewhere() {
    let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
    let (here, there) = (process(&store, &endpoint), process(&store, &endpoint));
    here.session.log_out().await.unwrap();
    there.session.set_tokens(live()).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(here.get().await.unwrap(), StatusCode::OK);
}

// S44: a newer token in the store is adopted without a call
// S65: a session outlives runtimes; without one whatever has to wait says so
#[test]
fn who_has_to_log_in_hears_of_a_login_elsewhere_on_another_runtime_too() {
    let runtime = || Builder::new_current_thread().enable_time().start_paused(true).build();
    let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
    let (here, there) = (process(&store, &endpoint), process(&store, &endpoint));
    runtime().unwrap().block_on(here.session.log_out()).unwrap();
    runtime().unwrap().block_on(async {
        assert!(error_of(here.get().await).is_login_required());
        there.session.set_tokens(live()).await.unwrap();
        sleep(Duration::from_secs(3)).await;
        assert_eq!(here.get().await.unwrap(), StatusCode::OK);
    });
    runtime().unwrap().block_on(here.session.log_out()).unwrap();
    runtime().unwrap().block_on(async {
        assert!(here.session.token().await.unwrap_err().is_login_required());
        there.session.set_tokens(live()).await.unwrap();
        sleep(Duration::from_secs(3)).await;
        here.session.token().await.unwrap();
    });
}

// S44: a newer token in the store is adopted without a call
// S67: a refresh token in doubt is presented once more, its end confirmed once, and then given up
#[tokio::test(start_paused = true)]
async fn who_has_lost_a_rotation_hears_of_a_login_elsewhere() {
    let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
    let (here, there) = (process(&store, &endpoint), process(&store, &endpoint));
    endpoint.answer(Answer::fail("connection reset"));
    endpoint.answer_always(|| EndpointError::invalid_grant("spent before").into());
    assert!(error_of(here.get().await).is_login_required());
    let login = Tokens::new("login").unwrap().with_refresh_token("refresh-login").unwrap();
    there.session.set_tokens(login).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(here.get().await.unwrap(), StatusCode::OK);
    assert_eq!(here.api.tokens(), ["login"]);
}

// S40: what is set or cleared during a refresh wins
// S49: while the store is gone a live token serves, and an expired one is not refreshed
#[tokio::test(start_paused = true)]
async fn a_login_elsewhere_that_was_heard_of_during_a_call_outlasts_its_answer() {
    let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
    store.set_delay(StoreCalls::Loads, Duration::from_millis(700));
    store.set_delay(StoreCalls::Writes, Duration::from_millis(1900));
    let builder = Session::builder(endpoint.clone()).initial_tokens(live()).store(store.clone());
    let session = builder.build();
    session.ready().await.unwrap();
    let hold = endpoint.hold();
    let refresh = tokio::spawn({
        let session = session.clone();
        async move { session.refresh().await }
    });
    endpoint.calls_reached(1).await;
    store.put(record(1 << 40, "login", "refresh-login"));
    // The next renewal finds it.
    sleep(Duration::from_secs(5)).await;
    assert_eq!(session.token().await.unwrap().expose(), "login");
    store.set_fault(StoreCalls::All, StoreFault::Fail);
    hold.release();
    let _ = refresh.await.unwrap();
    assert_eq!(session.token().await.unwrap().expose(), "login");
}

// S34: when the grant is over there are no calls until tokens are set, and a live token serves on
#[tokio::test(start_paused = true)]
async fn the_end_of_a_grant_is_not_forgotten_when_another_process_asks_for_itself() {
    let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
    let world = || {
        let builder =
            Session::builder(endpoint.clone()).initial_tokens(live()).store(store.other());
        let world = World::of(endpoint.clone(), builder.build());
        world.api.refuse("seed");
        world
    };
    let (here, there) = (world(), world());
    endpoint.answer_always(|| EndpointError::invalid_grant("over").into());
    for world in [&here, &there] {
        assert_eq!(world.get().await.unwrap(), StatusCode::UNAUTHORIZED);
        assert!(error_of(world.get().await).is_login_required());
        sleep(Duration::from_secs(3)).await;
    }
    assert_eq!(endpoint.calls(), 1, "the other has read of it");
    assert!(error_of(here.get().await).is_login_required());
    assert_eq!((endpoint.calls(), here.api.seen().len()), (1, 1));
}

// S44: a newer token in the store is adopted without a call
#[tokio::test(start_paused = true)]
async fn an_idle_session_looks_at_nothing() {
    let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
    let builder = Session::builder(endpoint).initial_tokens(live()).store(store.clone());
    let session = builder.build();
    session.ready().await.unwrap();
    let loads = store.calls(StoreCalls::Loads);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(store.calls(StoreCalls::Loads), loads);
    session.token().await.unwrap();
    settle().await;
    assert_eq!(
        store.calls(StoreCalls::Loads),
        loads + 1,
        "one look for a session that is used again"
    );
}
