//! One refresh, whoever needs it.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, future::join_all};
use http::StatusCode;
use tower_refresh::{
    Error, Session, Tokens,
    endpoint::{EndpointError, Spent},
    store::MemoryStore,
    testing::GatedEndpoint,
};

use crate::support::{World, expired, live_for};

// S13: any number of callers on an expired token cost one call
#[tokio::test(start_paused = true)]
async fn ten_thousand_callers_cost_one_call() {
    let world = World::new(expired());
    let hold = world.endpoint.hold();
    let callers: Vec<_> = (0..10_000)
        .map(|_| {
            let client = world.client.clone();
            tokio::spawn(async move { crate::support::get(client).await })
        })
        .collect();
    world.endpoint.calls_reached(1).await;
    hold.release();
    for caller in join_all(callers).await {
        assert_eq!(caller.unwrap().unwrap(), StatusCode::OK);
    }
    assert_eq!(world.endpoint.calls(), 1);
    assert!(world.api.tokens().iter().all(|token| token == "access-1"));
}

// S14: a failing endpoint costs one round of attempts, and all callers get the same error
#[tokio::test(start_paused = true)]
async fn a_failing_endpoint_costs_one_round_and_everybody_gets_the_same_error() {
    let world = World::new(expired());
    world.endpoint.answer_always(|| EndpointError::transient("down").with_spent(Spent::No).into());
    let callers = (0..1_000).map(|_| world.get());
    let errors: Vec<_> = join_all(callers).await.into_iter().map(Result::unwrap_err).collect();
    assert_eq!(world.endpoint.calls(), 3);
    let first = Error::find(errors[0].as_ref()).unwrap();
    assert!(first.is_transient());
    for error in &errors {
        assert_eq!(Error::find(error.as_ref()).unwrap().to_string(), first.to_string());
    }
    // In the pause: the last error at once, and no call.
    let before = tokio::time::Instant::now();
    let _ = world.get().now_or_never();
    assert_eq!(before, tokio::time::Instant::now());

    tokio::time::sleep(Duration::from_secs(1)).await;
    world.endpoint.answer_always(|| tower_refresh::testing::Answer::Next);
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.endpoint.calls(), 4);
}

// S20: a token near its end goes on serving while its successor is fetched
#[tokio::test(start_paused = true)]
async fn a_stale_token_serves_while_its_successor_is_fetched() {
    let world = World::new(live_for(Duration::from_secs(100)));
    let hold = world.endpoint.hold();
    tokio::time::advance(Duration::from_secs(90)).await;
    for _ in 0..10 {
        assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    }
    world.endpoint.calls_reached(1).await;
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    hold.release();
    world.endpoint.idle().await;
    tokio::task::yield_now().await;
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.endpoint.calls(), 1);
    assert_eq!(world.api.tokens().pop().unwrap(), "access-1");
    assert_eq!(world.api.tokens().iter().filter(|&token| token == "seed").count(), 11);
}

// S17: a refresh whose callers are all gone is finished and saved
#[tokio::test(start_paused = true)]
async fn a_refresh_whose_callers_are_all_gone_is_finished_and_saved() {
    let endpoint = GatedEndpoint::new();
    let store = Arc::new(MemoryStore::new());
    let session = Session::builder(endpoint.clone())
        .initial_tokens(Tokens::from_refresh_token("refresh-0").unwrap())
        .store(store.clone())
        .build();
    let hold = endpoint.hold();
    {
        let caller = session.token();
        tokio::pin!(caller);
        assert!(caller.as_mut().now_or_never().is_none());
        endpoint.calls_reached(1).await;
    }
    hold.release();
    session.close().await.unwrap();
    use tower_refresh::store::TokenStore;
    let record = store.load().await.unwrap().unwrap();
    assert_eq!(record.tokens().unwrap().refresh_token().unwrap().expose(), "refresh-1");
}

// S15: a failure is not remembered for ever
#[tokio::test(start_paused = true)]
async fn a_failure_is_not_remembered_for_ever() {
    let world = World::new(expired());
    for round in 1..=8 {
        assert_eq!(world.get().await.unwrap(), StatusCode::OK);
        assert_eq!(world.api.tokens().len(), round);
        tokio::time::advance(Duration::from_secs(60 * 60)).await;

        for _ in 0..3 {
            let down = EndpointError::transient("down");
            world.endpoint.answer(down.with_spent(Spent::No));
        }
        assert!(world.get().await.is_err());
        // The pause after a first failure, however many there were before the last success.
        tokio::time::advance(Duration::from_secs(1)).await;
    }
}

// S44: a newer token in the store is adopted without a call
#[tokio::test(start_paused = true)]
async fn a_refusal_is_cured_by_what_another_process_has_saved() {
    let store = Arc::new(MemoryStore::new());
    let session = |endpoint: &GatedEndpoint| {
        let builder =
            Session::builder(endpoint.clone()).initial_tokens(live_for(Duration::from_secs(60)));
        builder.store(store.clone()).build()
    };
    let (ours, theirs) = (GatedEndpoint::new(), GatedEndpoint::new());
    let world = World::of(ours.clone(), session(&ours));
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);

    let other = session(&theirs);
    other.ready().await.unwrap();
    other.refresh().await.unwrap();
    world.api.refuse("seed");
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens(), ["seed", "seed", "access-1"]);
    assert_eq!((ours.calls(), theirs.calls()), (0, 1));
}
