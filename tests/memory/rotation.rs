//! A rotated refresh token is kept, saved, and saved before anybody sees what came with it.

use std::time::Duration;

use futures::{FutureExt, future::join_all};
use http::StatusCode;
use tokio::time::{Instant, sleep};
use tower_refresh::{
    Event, Session, Tokens,
    endpoint::TokenResponse,
    store::TokenStore,
    testing::{GatedEndpoint, GatedStore, StoreCalls, StoreFault},
};

use crate::{
    stored::{refresh_into, refresh_token},
    support::{World, expired, get},
};

fn world(store: impl TokenStore) -> World {
    let endpoint = GatedEndpoint::new();
    let session = Session::builder(endpoint.clone()).initial_tokens(expired()).store(store).build();
    World::of(endpoint, session)
}

fn in_use(tokens: Option<Tokens>) -> String {
    tokens.unwrap().refresh_token().unwrap().expose().to_owned()
}

// S17: a refresh whose callers are all gone is finished and saved
#[tokio::test(start_paused = true)]
async fn a_refresh_whose_requests_were_all_dropped_is_finished_saved_and_used() {
    let store = GatedStore::new();
    let world = world(store.clone());
    let hold = world.endpoint.hold();
    let callers: Vec<_> = (0..10).map(|_| tokio::spawn(get(world.client.clone()))).collect();
    world.endpoint.calls_reached(1).await;
    for caller in &callers {
        caller.abort();
    }
    join_all(callers).await;
    hold.release();
    store.calls_reached(StoreCalls::Writes, 2).await;
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(refresh_token(&store).unwrap(), "refresh-1");
    assert_eq!(world.endpoint.calls(), 1);
}

// S41: a new refresh token replaces the old one; none keeps it
#[tokio::test(start_paused = true)]
async fn a_new_refresh_token_replaces_the_old_and_an_answer_without_one_keeps_it() {
    let store = GatedStore::new();
    let world = world(store.clone());
    world.endpoint.answer(TokenResponse::new("first").unwrap());
    for (call, kept) in ["refresh-0", "refresh-1", "refresh-2"].into_iter().enumerate() {
        world.session.refresh().await.unwrap();
        assert_eq!(in_use(world.session.tokens()), kept);
        assert_eq!(refresh_token(&store).unwrap(), kept);
        assert_eq!(world.endpoint.calls(), call + 1);
    }
    let presented = world.endpoint.presented().into_iter().flatten();
    let presented: Vec<_> = presented.map(|token| token.expose().to_owned()).collect();
    assert_eq!(presented, ["refresh-0", "refresh-0", "refresh-1"]);
}

// S42: no caller sees a token that is not in the store yet
#[tokio::test(start_paused = true)]
async fn nobody_sees_a_token_that_is_not_in_the_store_yet() {
    let store = GatedStore::new();
    let world = world(store.clone());
    let hold = world.endpoint.hold();
    let callers: Vec<_> = (0..10).map(|_| tokio::spawn(get(world.client.clone()))).collect();
    world.endpoint.calls_reached(1).await;
    let seed_saves = store.calls(StoreCalls::Writes);
    let saving = store.hold(StoreCalls::Writes);
    hold.release();
    store.calls_reached(StoreCalls::Writes, seed_saves + 1).await;
    tokio::task::yield_now().await;
    assert!(world.session.token().now_or_never().is_none());
    assert_eq!(in_use(world.session.tokens()), "refresh-0");
    assert!(world.api.seen().is_empty());

    saving.release();
    world.session.token().await.unwrap();
    assert_eq!(refresh_token(&store).unwrap(), "refresh-1");
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap(), StatusCode::OK);
    }
}

/// Waits for events until there is one like this.
macro_rules! until {
    ($events:expr, $event:pat) => {
        while !matches!($events.next().await, Some($event)) {}
    };
}

// S43: tokens that cannot be saved are used, and saved later
#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_saved_is_used_and_saved_later() {
    let store = GatedStore::new();
    let world = world(store.clone());
    let hold = world.endpoint.hold();
    let mut events = world.session.events();
    let caller = tokio::spawn(get(world.client.clone()));
    world.endpoint.calls_reached(1).await;
    store.set_fault(StoreCalls::Writes, StoreFault::Fail);
    hold.release();
    assert_eq!(caller.await.unwrap().unwrap(), StatusCode::OK);
    until!(events, Event::SaveFailed { .. });
    sleep(Duration::from_secs(600)).await;
    assert_eq!(refresh_token(&store).unwrap(), "refresh-0");
    // The store still holds a refresh token that is spent, and nobody else may try it.
    assert!(store.record().unwrap().lease().is_some());

    store.set_fault(StoreCalls::All, None);
    assert!(matches!(events.next().await, Some(Event::Saved)), "the failure was told once");
    assert_eq!(refresh_token(&store).unwrap(), "refresh-1");
    sleep(Duration::from_secs(1)).await;
    assert!(store.record().unwrap().lease().is_none());
    assert_eq!(world.endpoint.calls(), 1);
}

// S43: tokens that cannot be saved are used, and saved later
#[tokio::test(start_paused = true)]
async fn a_store_that_panics_has_failed_and_takes_no_rotated_token_along() {
    let store = GatedStore::new();
    let world = world(store.clone());
    world.session.token().await.unwrap();
    let mut events = world.session.events();
    refresh_into(StoreCalls::All, StoreFault::Panic, &world.session, &world.endpoint, &store).await;
    let failed = loop {
        if let Some(Event::SaveFailed { error, .. }) = events.next().await {
            break error;
        }
    };
    assert!(format!("{failed:?}").contains("it panicked"), "{failed:?}");
    assert_eq!(in_use(world.session.tokens()), "refresh-2");
    sleep(Duration::from_secs(60)).await;
    // Whoever was saving is still at it.
    store.set_fault(StoreCalls::All, None);
    until!(events, Event::Saved);
    assert_eq!(refresh_token(&store).unwrap(), "refresh-2");
    assert_eq!(world.endpoint.calls(), 2);
}

// S43: tokens that cannot be saved are used, and saved later
#[tokio::test(start_paused = true)]
async fn what_could_not_be_saved_is_saved_before_the_next_call() {
    let store = GatedStore::new();
    let endpoint = GatedEndpoint::new();
    let builder = Session::builder(endpoint.clone()).initial_tokens(expired()).store(store.clone());
    let world = World::of(endpoint, builder.min_interval(Duration::ZERO).build());
    world.session.token().await.unwrap();
    refresh_into(StoreCalls::Writes, StoreFault::Fail, &world.session, &world.endpoint, &store)
        .await;
    // The next refresh is quicker than the task that saves.
    store.set_fault(StoreCalls::All, None);
    let hold = world.endpoint.hold();
    let refresh = tokio::spawn({
        let session = world.session.clone();
        async move { session.refresh().await }
    });
    world.endpoint.calls_reached(3).await;
    assert_eq!(refresh_token(&store).unwrap(), "refresh-2");
    hold.release();
    refresh.await.unwrap().unwrap();
    assert_eq!(refresh_token(&store).unwrap(), "refresh-3");
}

// S43: tokens that cannot be saved are used, and saved later
#[tokio::test(start_paused = true)]
async fn a_save_whose_answer_is_lost_holds_nobody_up_for_long() {
    let store = GatedStore::new();
    let world = world(store.clone());
    world.session.token().await.unwrap();
    let mut events = world.session.events();
    sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    refresh_into(
        StoreCalls::Writes,
        StoreFault::LoseAnswer,
        &world.session,
        &world.endpoint,
        &store,
    )
    .await;
    assert_eq!(start.elapsed(), Duration::from_secs(2));
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    // What is stored turns out to be ours.
    assert!(!world.session.status().is_unsaved());
    world.session.close().await.unwrap();
    assert_eq!(refresh_token(&store).unwrap(), "refresh-2");
    while let Some(Some(event)) = events.next().now_or_never() {
        assert!(!matches!(event, Event::SaveFailed { .. }));
    }
}
