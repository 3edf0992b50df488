//! A server that wants to be left alone for a while.

use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep};
use tower_refresh::{
    Tokens,
    endpoint::{EndpointError, Spent},
};

use crate::support::{World, error_of, expired, live, live_for};

fn later(secs: u64) -> EndpointError {
    EndpointError::transient("too many requests")
        .with_retry_after(Duration::from_secs(secs))
        .with_spent(Spent::No)
}

// S37: `Retry-After` is respected, as seconds and as a date, up to a limit
#[tokio::test(start_paused = true)]
async fn nobody_calls_before_the_time_that_the_server_named() {
    let world = World::new(expired());
    world.endpoint.answer(later(60));
    let start = Instant::now();
    assert!(error_of(world.get().await).is_transient());
    assert_eq!(start.elapsed(), Duration::ZERO, "nobody is kept waiting for a minute");

    sleep(Duration::from_secs(59)).await;
    assert!(error_of(world.get().await).is_transient());
    assert!(world.session.refresh().await.is_err(), "not even by hand");
    assert_eq!(world.endpoint.calls(), 1);

    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.endpoint.calls(), 2);
}

// S37: `Retry-After` is respected, as seconds and as a date, up to a limit
#[tokio::test(start_paused = true)]
async fn a_short_wait_is_waited_out_within_the_refresh() {
    let world = World::new(expired());
    world.endpoint.answer(later(3));
    let start = Instant::now();
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(start.elapsed(), Duration::from_secs(3));
    assert_eq!(world.endpoint.calls(), 2);
}

// S37: `Retry-After` is respected, as seconds and as a date, up to a limit
#[tokio::test(start_paused = true)]
async fn a_server_is_not_left_alone_for_longer_than_the_limit() {
    let world = World::new(expired());
    world.endpoint.answer(later(86_400));
    assert!(world.get().await.is_err());
    sleep(Duration::from_secs(299)).await;
    assert!(world.get().await.is_err());
    assert_eq!(world.endpoint.calls(), 1);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
}

// S37: `Retry-After` is respected, as seconds and as a date, up to a limit
#[tokio::test(start_paused = true)]
async fn a_wait_is_respected_although_the_answer_may_have_cost_the_refresh_token() {
    let world = World::new(expired());
    let busy = EndpointError::transient("bad gateway").with_retry_after(Duration::from_secs(60));
    assert_eq!(busy.spent(), Spent::Maybe);
    world.endpoint.answer(busy);
    assert!(world.get().await.is_err());
    assert_eq!(world.endpoint.calls(), 1);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
}

// S37: `Retry-After` is respected, as seconds and as a date, up to a limit
#[tokio::test(start_paused = true)]
async fn a_live_token_serves_meanwhile_and_new_tokens_end_the_wait() {
    let world = World::new(live());
    world.endpoint.answer(later(200));
    assert!(world.session.refresh().await.is_err());
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    let login = Tokens::from_refresh_token("login").unwrap();
    world.session.set_tokens(login).await.unwrap();
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.endpoint.calls(), 2);
    assert_eq!(world.api.tokens(), ["seed", "access-1"]);
}

// S37: what the server asked for outlasts the live token
#[tokio::test(start_paused = true)]
async fn a_wait_that_the_server_named_does_not_end_with_the_live_token() {
    // Longer than our own pause, and shorter.
    for (failures, asked) in [(0, 60), (8, 12)] {
        let world = World::new(live_for(Duration::from_secs(10)));
        for _ in 0..failures {
            world.endpoint.answer(EndpointError::misconfigured("who?").with_spent(Spent::No));
            assert!(world.session.refresh().await.is_err());
        }
        let calls = world.endpoint.calls();
        let asked = Duration::from_secs(asked);
        world.endpoint.answer(EndpointError::misconfigured("who?").with_retry_after(asked));
        assert!(world.session.refresh().await.is_err());
        let began = Instant::now();
        sleep(asked - Duration::from_millis(1)).await;
        assert!(world.get().await.is_err(), "the token has expired");
        assert!(world.session.refresh().await.is_err(), "not even by hand");
        assert_eq!(world.endpoint.calls(), calls + 1);
        assert!(began.elapsed() < asked);
        sleep(Duration::from_secs(1)).await;
        assert!(world.session.refresh().await.is_ok());
        assert_eq!(world.endpoint.calls(), calls + 2);
    }
}

// S37: also where the answer has used the refresh token up
#[tokio::test(start_paused = true)]
async fn a_wait_counts_with_every_failure() {
    for error in [
        EndpointError::misconfigured("no token in it").with_spent(Spent::Yes),
        EndpointError::misconfigured("forbidden"),
        EndpointError::transient("busy"),
    ] {
        let world = World::new(live());
        world.endpoint.answer(error.with_retry_after(Duration::from_secs(20)));
        for pause in [0, 19] {
            sleep(Duration::from_secs(pause)).await;
            assert!(world.session.refresh().await.is_err());
            assert_eq!(world.endpoint.calls(), 1);
        }
        sleep(Duration::from_secs(1)).await;
        assert!(world.session.refresh().await.is_ok());
    }
}
