//! One lease, in the record: who refreshes, and what becomes of one that comes too late.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use serde_json::json;
use tokio::{
    sync::Semaphore,
    time::{Instant, advance, sleep},
};
use tower::{Layer, limit::GlobalConcurrencyLimitLayer};
use tower_refresh::{
    Session, Tokens,
    endpoint::TokenResponse,
    store::Record,
    testing::{Answer, GatedEndpoint, GatedStore, StoreCalls},
};

use crate::{
    stored::refresh_token,
    support::{expired, settle},
};

const SECOND: Duration = Duration::from_secs(1);

fn record(json: serde_json::Value) -> Record {
    serde_json::from_value(json).unwrap()
}

/// The record as another process that has the lease on it writes it.
fn leased_to_another(version: u64) -> Record {
    record(json!({
        "format": "tower-refresh/1", "version": version, "turn": 1,
        "tokens": { "access_token": "old", "refresh_token": "r", "obtained_at": 1, "life": 1 },
        "lease": { "owner": "another", "life": 5_000 },
    }))
}

// S72: no permit is held while another process refreshes, and nothing leased while one is awaited
#[tokio::test(start_paused = true)]
async fn no_permit_is_held_while_another_process_refreshes() {
    let (store, permits) = (GatedStore::holding(leased_to_another(7)), Arc::new(Semaphore::new(1)));
    let limit = GlobalConcurrencyLimitLayer::with_semaphore(permits.clone());
    let endpoint = limit.layer(GatedEndpoint::new());
    let session = Session::builder(endpoint).store(store.clone()).build();
    let refresh = tokio::spawn(async move { session.token().await });
    for _ in 0..4 {
        sleep(SECOND).await;
        assert_eq!(permits.available_permits(), 1);
    }
    refresh.await.unwrap().unwrap();
}

// S72: no permit is held while another process refreshes, and nothing leased while one is awaited
#[tokio::test(start_paused = true)]
async fn a_permit_is_given_back_when_another_process_was_faster_to_lease() {
    let store = GatedStore::new();
    let permits = Arc::new(Semaphore::new(1));
    let limit = GlobalConcurrencyLimitLayer::with_semaphore(permits.clone());
    let inner = GatedEndpoint::new();
    let builder = Session::builder(limit.layer(inner.clone())).initial_tokens(expired());
    let session = builder.store(store.clone()).build();
    session.ready().await.unwrap();
    sleep(SECOND).await;
    let saves = store.calls(StoreCalls::Writes);
    let saving = store.hold(StoreCalls::Writes);
    let refresh = tokio::spawn({
        let session = session.clone();
        async move { session.refresh().await }
    });
    store.calls_reached(StoreCalls::Writes, saves + 1).await;
    assert_eq!(permits.available_permits(), 0, "it has the permit, and is about to lease");
    let stored = store.record().unwrap();
    let mut theirs = serde_json::to_value(&stored).unwrap();
    theirs["version"] = (stored.version() + 1).into();
    theirs["lease"] = json!({ "owner": "another", "life": 5_000 });
    store.put(record(theirs));
    saving.release();
    settle().await;
    assert_eq!(permits.available_permits(), 1);
    assert_eq!(inner.calls(), 1);
    refresh.await.unwrap().unwrap();
}

// S72: no permit is held while another process refreshes, and nothing leased while one is awaited
#[tokio::test(start_paused = true)]
async fn nothing_is_leased_while_a_permit_is_waited_for() {
    let (store, permits) = (GatedStore::new(), Arc::new(Semaphore::new(0)));
    let limit = GlobalConcurrencyLimitLayer::with_semaphore(permits.clone());
    let endpoint = GatedEndpoint::new();
    let builder = Session::builder(limit.layer(endpoint.clone())).initial_tokens(expired());
    let session = builder.store(store.clone()).build();
    let refresh = tokio::spawn(async move { session.token().await });
    sleep(SECOND * 5).await;
    assert!(store.record().unwrap().lease().is_none());
    permits.add_permits(1);
    refresh.await.unwrap().unwrap();
    assert_eq!(endpoint.calls(), 1);
}

// S73: a holder that was overtaken neither saves over its successor's tokens nor calls again
#[tokio::test(start_paused = true)]
async fn a_holder_that_was_overtaken_neither_saves_over_its_successor_nor_calls_again() {
    let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
    let builder = Session::builder(endpoint.clone()).initial_tokens(expired());
    let session = builder.store(store.clone()).build();
    endpoint.answer(Answer::fail("connection reset").after(SECOND));
    let refresh = tokio::spawn(async move {
        let token = session.token().await;
        (session, token)
    });
    endpoint.calls_reached(1).await;
    // It stood still, another process has taken over, and has saved.
    let stored = store.record().unwrap();
    store.put(record(json!({
        "format": "tower-refresh/1", "version": stored.version() + 1, "turn": stored.turn() + 1,
        "tokens": { "access_token": "theirs", "refresh_token": "refresh-theirs" },
    })));
    let (session, token) = refresh.await.unwrap();
    assert_eq!(token.unwrap().expose(), "theirs");
    assert_eq!(endpoint.calls(), 1);
    session.close().await.unwrap();
    assert_eq!(refresh_token(&store).unwrap(), "refresh-theirs");
}

// S74: a `client_credentials` fleet on one store makes one call per life
#[tokio::test(start_paused = true)]
async fn a_client_credentials_fleet_makes_one_call_per_life() {
    let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
    let mut issued = 0;
    endpoint.answer_always(move || {
        issued += 1;
        let response = TokenResponse::new(format!("token-{issued}")).unwrap();
        Answer::from(response.with_expires_in(SECOND * 3600)).after(SECOND)
    });
    let fleet: Vec<_> =
        (0..8).map(|_| Session::builder(endpoint.clone()).store(store.other()).build()).collect();
    for life in 1..=3 {
        let tokens = join_all(fleet.iter().map(Session::token)).await;
        for token in tokens {
            assert_eq!(token.unwrap().expose(), format!("token-{life}"));
        }
        assert_eq!(endpoint.calls(), life);
        advance(SECOND * 3600).await;
    }
}

// S96: the same access token with a longer life is a new life for all sessions that share a store
#[tokio::test(start_paused = true)]
async fn the_same_token_with_a_longer_life_costs_one_call_per_life_in_all_sessions() {
    for rotates in [false, true] {
        let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
        let mut issued = 0;
        endpoint.answer_always(move || {
            issued += 1;
            let response = TokenResponse::new("same").unwrap().with_expires_in(SECOND * 3600);
            let refresh_token = format!("refresh-{issued}");
            match rotates {
                true => response.with_refresh_token(refresh_token).unwrap().into(),
                false => response.into(),
            }
        });
        let fleet: Vec<_> = (0..8)
            .map(|_| {
                let builder = Session::builder(endpoint.clone()).initial_tokens(expired());
                builder.store(store.other()).build()
            })
            .collect();
        for life in 1..=3 {
            for token in join_all(fleet.iter().map(Session::token)).await {
                assert_eq!(token.unwrap().expose(), "same");
            }
            assert_eq!(endpoint.calls(), life, "rotates: {rotates}");
            advance(SECOND * 3600).await;
        }
    }
}

// S88: unknown members of a record are kept, and what `crit` requires and is unknown is refused
// S46: processes share one rotating refresh token without a re-use: the lease is in the record
#[tokio::test(start_paused = true)]
async fn an_empty_record_can_carry_the_lease_and_logs_nobody_out() {
    let store = GatedStore::holding(record(json!({
        "format": "tower-refresh/1", "version": 3,
        "lease": { "owner": "another", "life": 2_000 },
    })));
    let session = Session::builder(GatedEndpoint::new()).store(store.clone()).build();
    let start = Instant::now();
    assert_eq!(session.token().await.unwrap().expose(), "access-1");
    assert!(start.elapsed() >= SECOND * 2 && start.elapsed() < SECOND * 4);
    let seeded = Session::builder(GatedEndpoint::new()).initial_tokens(Tokens::new("s").unwrap());
    let store = GatedStore::holding(record(json!({ "format": "tower-refresh/1", "version": 3 })));
    assert_eq!(seeded.store(store).build().token().await.unwrap().expose(), "s");
}
