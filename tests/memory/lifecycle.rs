//! Runtimes that end, programs that end, and programs without a runtime.

use std::{
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{FutureExt, executor::block_on};
use http::StatusCode;
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, limit::GlobalConcurrencyLimitLayer};
use tower_refresh::{
    Error, ErrorKind, Event, Session, Tokens,
    testing::{GatedEndpoint, GatedStore, Issuer, StoreCalls, StoreFault},
};

use crate::{
    stored::{is_logged_out, refresh_into, refresh_token},
    support::{World, error_of, expired, get, live},
};

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A store that no other process uses.
fn unshared() -> GatedStore {
    let store = GatedStore::new();
    store.set_shared(false);
    store
}

/// Looks again and again until it is so, in real time.
async fn eventually(is_so: impl AsyncFn() -> bool) {
    let looks = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), looks).await.unwrap();
}

/// In real time nobody waits for the interval between two refreshes.
fn eager(store: GatedStore) -> World {
    let endpoint = GatedEndpoint::new();
    let builder = Session::builder(endpoint.clone()).initial_tokens(expired()).store(store);
    World::of(endpoint, builder.min_interval(Duration::ZERO).build())
}

// S18: when the runtime of a refresh ends, callers on another refresh anew
#[test]
fn callers_on_another_runtime_outlive_the_one_that_ran_the_refresh() {
    let world = eager(GatedStore::new());
    let (doomed, other) = (runtime(), runtime());
    let hold = world.endpoint.hold();
    doomed.spawn(get(world.client.clone()));
    other.block_on(world.endpoint.calls_reached(1));

    let mut callers: Vec<_> = (0..10).map(|_| Box::pin(world.get())).collect();
    let entered = other.enter();
    for caller in &mut callers {
        let waiting = caller.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(waiting, Poll::Pending));
    }
    drop(entered);
    assert_eq!(world.endpoint.calls(), 1);
    drop(doomed);
    hold.release();
    for caller in callers {
        assert_eq!(other.block_on(caller).unwrap(), StatusCode::OK);
    }
    assert_eq!(world.endpoint.calls(), 2);
    // The first call may have spent it: it is the same token that is presented again.
    let presented = world.endpoint.presented();
    assert_eq!(presented[0], presented[1]);
}

// S18: when the runtime of a refresh ends, callers on another refresh anew
#[test]
fn a_session_whose_own_runtime_has_ended_is_an_error_and_not_a_wait() {
    let (ended, other) = (runtime(), runtime());
    let session = Session::builder(GatedEndpoint::new())
        .initial_tokens(expired())
        .runtime(ended.handle().clone())
        .build();
    drop(ended);
    let outcome =
        other.block_on(async { tokio::spawn(async move { session.token().await }).await });
    assert!(outcome.unwrap().unwrap_err().is_transient());
}

// S18: when the runtime of a refresh ends, callers on another refresh anew
// S65: a session outlives runtimes; without one whatever has to wait says so
#[test]
fn where_the_sessions_own_runtime_has_ended_a_log_out_still_counts() {
    let (ended, other) = (runtime(), runtime());
    let builder = Session::builder(GatedEndpoint::new()).initial_tokens(live());
    let session = builder.runtime(ended.handle().clone()).build();
    drop(ended);
    // Whether it is saved is another matter: that would be a task's work.
    let _ = other.block_on(session.log_out());
    assert!(other.block_on(session.token()).unwrap_err().is_login_required());
}

// S18: when the runtime of a refresh ends, callers on another refresh anew
// S65: a session outlives runtimes; without one whatever has to wait says so
#[test]
fn where_the_sessions_own_runtime_has_ended_and_there_is_no_other_nothing_panics() {
    let ended = runtime();
    let builder = Session::builder(GatedEndpoint::new()).initial_tokens(expired());
    let session = builder.runtime(ended.handle().clone()).build();
    drop(ended);
    assert!(block_on(session.token()).unwrap_err().is_transient());
    assert!(block_on(session.set_tokens(live())).unwrap_err().is_transient());
    assert!(block_on(session.log_out()).unwrap_err().is_transient());
    block_on(session.close()).unwrap();
}

// S18: when the runtime of a refresh ends, callers on another refresh anew
// S65: a session outlives runtimes; without one whatever has to wait says so
#[test]
fn tokens_that_a_runtime_did_not_live_to_save_are_used_and_saved_by_the_next() {
    let store = GatedStore::new();
    let world = eager(store.clone());
    let (doomed, other) = (runtime(), runtime());
    let hold = world.endpoint.hold();
    doomed.spawn(get(world.client.clone()));
    other.block_on(world.endpoint.calls_reached(1));
    let saves = store.calls(StoreCalls::Writes);
    let saving = store.hold(StoreCalls::Writes);
    hold.release();
    other.block_on(store.calls_reached(StoreCalls::Writes, saves + 1));
    drop(doomed);
    saving.release();
    assert_eq!(other.block_on(world.get()).unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens(), ["access-1"]);
    assert_eq!(world.endpoint.calls(), 1, "the old refresh token was spent");
    other.block_on(world.session.close()).unwrap();
    assert_eq!(refresh_token(&store).unwrap(), "refresh-1");
}

// S43: tokens that cannot be saved are used, and saved later
// S65: a session outlives runtimes; without one whatever has to wait says so
#[test]
fn what_a_runtime_did_not_live_to_save_is_saved_without_another_refresh() {
    let store = unshared();
    let world = eager(store.clone());
    runtime().block_on(async {
        world.session.ready().await.unwrap();
        refresh_into(StoreCalls::Writes, StoreFault::Fail, &world.session, &world.endpoint, &store)
            .await;
    });
    store.set_fault(StoreCalls::All, None);
    assert_eq!(block_on(world.get()).unwrap(), StatusCode::OK);
    assert!(world.session.status().is_unsaved(), "there is no runtime to save it on");
    let mut events = world.session.events();
    runtime().block_on(async {
        assert_eq!(world.get().await.unwrap(), StatusCode::OK);
        let saved = async { while !matches!(events.next().await, Some(Event::Saved)) {} };
        tokio::time::timeout(Duration::from_secs(10), saved).await.unwrap();
    });
    assert_eq!(refresh_token(&store).unwrap(), "refresh-2");
    assert_eq!(world.endpoint.calls(), 2);
}

// S44: a newer token in the store is adopted without a call
// S65: a session outlives runtimes; without one whatever has to wait says so
#[test]
fn who_is_logged_out_hears_of_a_login_elsewhere_on_another_runtime_too() {
    let store = GatedStore::new();
    let session = |store| {
        let builder = Session::builder(GatedEndpoint::new()).initial_tokens(live()).store(store);
        builder.lease(Duration::from_millis(100)).build()
    };
    let (here, there) = (session(store.clone()), session(store.other()));
    runtime().block_on(async {
        here.ready().await.unwrap();
        there.ready().await.unwrap();
        there.log_out().await.unwrap();
        eventually(async || here.token().await.is_err()).await;
    });
    // The task that looks into the store has ended with that runtime.
    runtime().block_on(there.set_tokens(live())).unwrap();
    assert!(block_on(here.token()).unwrap_err().is_login_required());
    runtime().block_on(eventually(async || here.token().await.is_ok()));
}

// S65: a session outlives runtimes; without one whatever has to wait says so
// S66: a log-out during a save ends in the tombstone, here and in other processes
#[test]
fn a_log_out_that_no_runtime_lived_to_save_is_saved_by_the_next() {
    for shared in [true, false] {
        let store = if shared { GatedStore::new() } else { unshared() };
        let builder =
            Session::builder(GatedEndpoint::new()).initial_tokens(live()).store(store.clone());
        let session = builder.store_timeout(Duration::from_millis(100)).build();
        runtime().block_on(session.ready()).unwrap();
        store.set_fault(StoreCalls::All, StoreFault::Fail);
        let logged_out = runtime().block_on(session.log_out());
        assert_eq!(logged_out.unwrap_err().kind(), ErrorKind::Store);
        store.set_fault(StoreCalls::All, None);
        runtime().block_on(eventually(async || {
            assert!(session.token().await.unwrap_err().is_login_required());
            is_logged_out(&store)
        }));
    }
}

// S61: `close` waits for the refresh and for what is unsaved; afterwards nothing starts
#[tokio::test(start_paused = true)]
async fn close_waits_for_the_refresh_under_way() {
    let store = GatedStore::new();
    let endpoint = GatedEndpoint::new();
    let session =
        Session::builder(endpoint.clone()).initial_tokens(expired()).store(store.clone()).build();
    let hold = endpoint.hold();
    assert!(session.token().now_or_never().is_none());
    endpoint.calls_reached(1).await;
    let mut close = Box::pin(session.close());
    assert!(close.as_mut().now_or_never().is_none());
    tokio::task::yield_now().await;
    assert!(close.as_mut().now_or_never().is_none());
    hold.release();
    close.await.unwrap();
    assert_eq!(refresh_token(&store).unwrap(), "refresh-1");
}

// S61: `close` waits for the refresh and for what is unsaved; afterwards nothing starts
#[tokio::test(start_paused = true)]
async fn close_waits_for_a_rotation_that_is_not_saved_yet() {
    let store = GatedStore::new();
    let endpoint = GatedEndpoint::new();
    let session =
        Session::builder(endpoint.clone()).initial_tokens(live()).store(store.clone()).build();
    session.ready().await.unwrap();
    refresh_into(StoreCalls::Writes, StoreFault::Fail, &session, &endpoint, &store).await;
    let mut close = Box::pin(session.close());
    assert!(close.as_mut().now_or_never().is_none());
    tokio::time::advance(Duration::from_secs(20)).await;
    assert!(close.as_mut().now_or_never().is_none());
    store.set_fault(StoreCalls::All, None);
    close.await.unwrap();
    assert_eq!(refresh_token(&store).unwrap(), "refresh-1");
}

// S61: `close` waits for the refresh and for what is unsaved; afterwards nothing starts
#[tokio::test(start_paused = true)]
async fn close_says_so_if_a_rotation_cannot_be_saved() {
    let store = GatedStore::new();
    let builder =
        Session::builder(GatedEndpoint::new()).initial_tokens(live()).store(store.clone());
    let session = builder.build();
    session.ready().await.unwrap();
    store.set_fault(StoreCalls::All, StoreFault::Fail);
    session.set_tokens(live()).await.unwrap_err();
    assert_eq!(session.close().await.unwrap_err().kind(), ErrorKind::Store);
}

#[tokio::test(start_paused = true)]
async fn close_says_so_if_a_refresh_does_not_end() {
    let permits = GlobalConcurrencyLimitLayer::new(0);
    let builder = Session::builder(permits.layer(GatedEndpoint::new())).initial_tokens(expired());
    let session = builder.build();
    assert!(session.token().now_or_never().is_none());
    let start = tokio::time::Instant::now();
    let error = session.close().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    // The limit of a call, and the time that its save may take.
    assert_eq!(start.elapsed(), Duration::from_secs(68));
    let says = "its refresh is not over after 68s: it waits for a limit around the token endpoint";
    assert!(error.to_string().contains(says), "{error}");
}

// S61: `close` waits for the refresh and for what is unsaved; afterwards nothing starts
#[tokio::test(start_paused = true)]
async fn nothing_starts_after_close_and_a_live_token_still_serves() {
    let world = World::new(live());
    world.session.close().await.unwrap();
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.session.refresh().await.unwrap_err().kind(), ErrorKind::Closed);
    world.api.refuse("seed");
    assert_eq!(world.get().await.unwrap(), StatusCode::UNAUTHORIZED);
    tokio::time::advance(Duration::from_secs(3590)).await;
    assert_eq!(error_of(world.get().await).kind(), ErrorKind::Closed);
    assert_eq!(world.endpoint.calls(), 0);
}

// S65: a session outlives runtimes; without one whatever has to wait says so
#[test]
fn a_session_outlives_the_runtimes_that_it_was_used_in() {
    let store = GatedStore::new();
    let world = eager(store.clone());
    for round in 1..=3 {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        assert_eq!(runtime.block_on(world.get()).unwrap(), StatusCode::OK);
        world.api.refuse(&format!("access-{round}"));
    }
    // What the last runtime did not live to save, the next one does.
    runtime().block_on(refresh_into(
        StoreCalls::Writes,
        StoreFault::Fail,
        &world.session,
        &world.endpoint,
        &store,
    ));
    store.set_fault(StoreCalls::All, None);
    runtime().block_on(world.session.close()).unwrap();
    assert_eq!(refresh_token(&store).unwrap(), "refresh-4");
}

// S65: a session outlives runtimes; without one whatever has to wait says so
#[test]
fn without_a_runtime_a_refresh_is_an_error_and_nothing_panics() {
    let world = World::new(expired());
    assert_eq!(error_of(block_on(world.get())).kind(), ErrorKind::NoRuntime);
    let message = block_on(world.session.token()).unwrap_err().to_string();
    assert!(message.contains("SessionBuilder::runtime"), "{message}");
    assert!(block_on(world.session.refresh()).is_err());
    assert!(world.endpoint.calls() == 0 && world.api.seen().is_empty());

    let world = World::new(live());
    assert_eq!(block_on(world.get()).unwrap(), StatusCode::OK);
    world.api.refuse("seed");
    assert_eq!(block_on(world.get()).unwrap(), StatusCode::UNAUTHORIZED);

    let unloaded =
        Session::builder(GatedEndpoint::new()).initial_tokens(live()).store(GatedStore::new());
    let error: Error = block_on(unloaded.build().ready()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRuntime);
}

// S65: a session outlives runtimes; without one whatever has to wait says so
#[test]
fn without_a_runtime_a_merely_stale_token_is_sent() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let jwt = Issuer::random().sign(&serde_json::json!({ "iat": now - 3000, "exp": now + 25 }));
    let world = World::new(Tokens::new(jwt).unwrap().with_refresh_token("refresh-0").unwrap());
    assert_eq!(block_on(world.get()).unwrap(), StatusCode::OK);
    assert_eq!(world.endpoint.calls(), 0);
    // It was stale, or this would not be seen from within a runtime.
    runtime().block_on(async {
        assert_eq!(world.get().await.unwrap(), StatusCode::OK);
        world.endpoint.calls_reached(1).await;
    });
}

// S65: a session outlives runtimes; without one whatever has to wait says so
#[test]
fn without_a_runtime_what_has_to_wait_is_an_error_that_changes_nothing() {
    let store = GatedStore::new();
    let session = Session::builder(GatedEndpoint::new()).store(store.clone()).build();
    let errors = [
        block_on(session.set_tokens(live())).unwrap_err(),
        block_on(session.log_out()).unwrap_err(),
        block_on(session.load()).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::NoRuntime);
        assert!(error.is_misuse() && error.to_string().contains("SessionBuilder::runtime"));
    }
    assert!(store.record().is_none() && session.tokens().is_none());
    // There is nothing to wait for.
    block_on(session.close()).unwrap();
}

// S65: a session outlives runtimes; without one whatever has to wait says so
#[test]
fn with_a_runtime_of_its_own_it_works_outside_of_any() {
    let (own, store) = (runtime(), GatedStore::new());
    let builder = Session::builder(GatedEndpoint::new()).store(store.clone());
    let session = builder.runtime(own.handle().clone()).build();
    block_on(session.set_tokens(expired())).unwrap();
    assert_eq!(refresh_token(&store).unwrap(), "refresh-0");
    assert_eq!(block_on(session.token()).unwrap().expose(), "access-1");
    assert!(block_on(session.load()).unwrap().is_live());
    block_on(session.log_out()).unwrap();
    assert!(is_logged_out(&store));
    block_on(session.close()).unwrap();
}

// S94: a session that was first used on a runtime that stands still serves callers of others
#[test]
fn a_session_that_was_first_used_on_a_runtime_that_stands_still_serves_callers_of_others() {
    let store = GatedStore::new();
    let world = eager(store.clone());
    // It lives on, and is driven no more.
    let still = Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(still.block_on(world.get()).unwrap(), StatusCode::OK);
    world.api.refuse("access-1");
    let other = runtime();
    assert_eq!(other.block_on(world.get()).unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens().pop().unwrap(), "access-2");
    assert_eq!(refresh_token(&store).unwrap(), "refresh-2");
    other.block_on(world.session.close()).unwrap();
    drop(still);
}
