//! Callers that give up, and the refresh that goes on without them.

use std::time::Duration;

use futures::{FutureExt, future::join_all};
use http::StatusCode;
use tokio::{task::yield_now, time::Instant};
use tower::{ServiceBuilder, ServiceExt, timeout::Timeout};
use tower_refresh::{
    BoxError, Error, ErrorKind, RefreshLayer, Session, Tokens,
    endpoint::{RefreshRequest, TokenResponse},
    testing::{GatedEndpoint, GatedStore, StoreCalls},
};

use crate::support::{Api, World, error_of, expired, get, live, request, settle};

// S16: wherever the caller that started a refresh gives up, the others are served and it is saved
#[tokio::test(start_paused = true)]
async fn wherever_its_starter_gives_up_a_refresh_serves_the_others_and_is_saved() {
    for tokens in [expired, live] {
        let mut polls = 0;
        while !starter_is_done_after(polls, tokens()).await {
            polls += 1;
            assert!(polls < 100, "the world has come to rest");
        }
        // At least: lease, load, seed, load, the endpoint, the save, the API.
        assert!(polls > 7, "{polls}");
    }
}

/// Starts a refresh with a request, polls that so many times with one step of the world in between,
/// and drops it. Whenever that is, nothing is lost. Returns whether the request was done by then.
async fn starter_is_done_after(polls: usize, tokens: Tokens) -> bool {
    let (store, endpoint, api) = (GatedStore::new(), GatedEndpoint::new(), Api::new());
    let (at_store, at_endpoint) = (store.hold(StoreCalls::All), endpoint.hold());
    let session = Session::builder(endpoint.clone())
        .initial_tokens(tokens)
        .store(store.clone())
        // No step makes time pass.
        .min_interval(Duration::ZERO)
        .build();
    let client = ServiceBuilder::new()
        .layer(RefreshLayer::new(session.clone()))
        .filter_async(|request| async {
            // The API takes a step too.
            yield_now().await;
            Ok::<_, BoxError>(request)
        })
        .service(api.clone());
    api.refuse("seed");

    let mut starter = get(client.clone()).boxed();
    let mut done = false;
    let (mut store_calls, mut endpoint_calls) = (0, 0);
    for _ in 0..polls {
        done = starter.as_mut().now_or_never().is_some();
        if done {
            break;
        }
        // One call goes on, and the next arrives.
        if store.calls(StoreCalls::All) > store_calls {
            store_calls += 1;
            at_store.let_through(1);
        } else if endpoint.calls() > endpoint_calls {
            endpoint_calls += 1;
            at_endpoint.let_through(1);
        }
        settle().await;
    }
    let mut others = join_all((0..3).map(|_| get(client.clone()))).boxed();
    if !done {
        assert!(others.as_mut().now_or_never().is_none());
        drop(starter);
    }
    at_store.release();
    at_endpoint.release();
    for other in others.await {
        assert_eq!(other.unwrap(), StatusCode::OK);
    }

    session.refresh().await.unwrap();
    session.close().await.unwrap();
    let presented = endpoint.presented().into_iter().flatten();
    let presented: Vec<_> = presented.map(|token| token.expose().to_owned()).collect();
    assert_eq!(presented, ["refresh-0", "refresh-1"], "after {polls} polls");
    let record = store.record().unwrap();
    assert_eq!(record.tokens().unwrap().refresh_token().unwrap().expose(), "refresh-2");
    done
}

// S21: a caller's time-out is its own: the refresh goes on
#[tokio::test(start_paused = true)]
async fn a_request_may_time_out_while_the_refresh_goes_on() {
    let world = World::new(expired());
    let hold = world.endpoint.hold();
    let impatient = Timeout::new(world.client.clone(), Duration::from_secs(1));
    let patient = world.start();
    let started = Instant::now();
    let error = impatient.oneshot(request("")).await.unwrap_err();
    assert!(error.is::<tower::timeout::error::Elapsed>());
    assert_eq!(started.elapsed(), Duration::from_secs(1));

    assert_eq!(world.endpoint.in_flight(), 1);
    hold.release();
    assert_eq!(patient.await.unwrap().unwrap(), StatusCode::OK);
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.endpoint.calls(), 1);
}

// S21: a caller's time-out is its own: the refresh goes on
#[tokio::test(start_paused = true)]
async fn a_caller_waits_for_as_long_as_it_may_and_no_longer() {
    let endpoint = GatedEndpoint::new();
    let limit = Duration::from_secs(5);
    let builder = Session::builder(endpoint.clone()).initial_tokens(expired());
    let world = World::of(endpoint, builder.wait_limit(limit).build());
    let hold = world.endpoint.hold();
    let started = Instant::now();
    let error = error_of(world.get().await);
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains("endpoint has not answered"), "{error}");
    assert_eq!(started.elapsed(), limit);

    hold.release();
    world.endpoint.idle().await;
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens(), ["access-1"]);
    assert_eq!(world.endpoint.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_has_waited_too_long_hears_what_became_of_the_attempts() {
    let silent = tower::service_fn(|_: RefreshRequest| {
        std::future::pending::<Result<TokenResponse, BoxError>>()
    });
    let session = Session::builder(silent).wait_limit(Duration::from_secs(25)).build();
    let error = session.token().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains("after a failed attempt"), "{error}");
    let last = std::error::Error::source(&error).unwrap();
    assert_eq!(Error::find(last).unwrap().kind(), ErrorKind::Unavailable);
    assert!(last.to_string().contains("did not answer within 10s"), "{last}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_has_waited_for_another_process_hears_of_it() {
    let leased = serde_json::from_value(serde_json::json!({
        "format": "tower-refresh/1", "version": 7, "tokens": { "refresh_token": "r" },
        "lease": { "owner": "another", "life": 60_000 },
    }));
    let store = GatedStore::holding(leased.unwrap());
    let builder = Session::builder(GatedEndpoint::new()).store(store);
    let (session, start) = (builder.build(), Instant::now());
    let error = session.token().await.unwrap_err();
    assert!(error.is_transient());
    assert!(error.to_string().contains("another process"), "{error}");
    // As long as it would wait for a call of its own, give or take a look.
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
    // In the pause the error is there at once, and when the other is given up there is a token.
    let start = Instant::now();
    assert!(session.token().await.is_err());
    assert_eq!(start.elapsed(), Duration::ZERO);
    tokio::time::sleep(Duration::from_secs(52)).await;
    session.token().await.unwrap();
}
