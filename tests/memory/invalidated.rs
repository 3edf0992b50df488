//! What a refusal means for everybody else: the requests that come meanwhile, those of an earlier
//! login, and an endpoint that has nothing better to offer.

use std::time::Duration;

use futures::{FutureExt, future::join_all};
use http::StatusCode;
use tokio::time::{Instant, advance};
use tower_refresh::{ErrorKind, Tokens, endpoint::TokenResponse};

use crate::support::{World, live, live_for, settle};

// S59: a refusal during a refresh joins it
#[tokio::test(start_paused = true)]
async fn a_refusal_during_a_refresh_joins_it() {
    // A refresh ahead of expiry, as one by hand, kills the old token before the new one is here.
    for ahead in [false, true] {
        let world = World::new(live_for(Duration::from_secs(100)));
        let hold = world.endpoint.hold();
        if ahead {
            advance(Duration::from_secs(90)).await;
        } else {
            let session = world.session.clone();
            tokio::spawn(async move { session.refresh().await });
            world.endpoint.calls_reached(1).await;
        }
        world.api.refuse("seed");
        world.api.hold(true);
        let requests: Vec<_> = (0..10).map(|_| world.start()).collect();
        world.api.arrived(10).await;
        world.api.hold(false);
        settle().await;
        assert_eq!(world.api.tokens(), ["seed"; 10]);
        assert_eq!(world.endpoint.calls(), 1);
        hold.release();
        for request in join_all(requests).await {
            assert_eq!(request.unwrap().unwrap(), StatusCode::OK);
        }
        advance(Duration::from_secs(60)).await;
        assert_eq!(world.get().await.unwrap(), StatusCode::OK);
        assert_eq!(world.endpoint.calls(), 1);
    }
}

// S60: a token that is known to be refused is not used
#[tokio::test(start_paused = true)]
async fn nobody_is_given_a_token_that_is_known_to_be_refused() {
    let world = World::new(live());
    world.api.refuse("seed");
    let hold = world.endpoint.hold();
    let first = world.start();
    world.endpoint.calls_reached(1).await;

    let others: Vec<_> = (0..10).map(|_| world.start()).collect();
    settle().await;
    assert!(world.session.token().now_or_never().is_none());
    assert_eq!(world.api.tokens(), ["seed"]);

    hold.release();
    assert_eq!(first.await.unwrap().unwrap(), StatusCode::OK);
    for other in join_all(others).await {
        assert_eq!(other.unwrap().unwrap(), StatusCode::OK);
    }
    assert_eq!(world.api.tokens().split_off(1), ["access-1"; 11]);
}

// S62: a request of an earlier login is never repeated with another's token
#[tokio::test(start_paused = true)]
async fn a_request_of_an_earlier_login_is_not_repeated_in_the_name_of_the_next() {
    let next = || Tokens::new("next").unwrap().with_refresh_token("refresh-next").unwrap();
    for log_out in [false, true] {
        for log_in in [!log_out, true] {
            let world = World::new(live());
            world.api.refuse("seed");
            world.api.hold(true);
            let request = world.start();
            world.api.arrived(1).await;
            if log_out {
                world.session.log_out().await.unwrap();
            }
            if log_in {
                world.session.set_tokens(next()).await.unwrap();
            }
            world.api.hold(false);
            assert_eq!(request.await.unwrap().unwrap(), StatusCode::UNAUTHORIZED);
            assert_eq!(world.api.tokens(), ["seed"]);
            assert_eq!(world.endpoint.calls(), 0);
        }
    }
}

// S62: a request of an earlier login is never repeated with another's token
#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_a_successor_is_not_sent_in_the_next_login() {
    let world = World::new(live());
    world.api.refuse("seed");
    let hold = world.endpoint.hold();
    let request = world.start();
    world.endpoint.calls_reached(1).await;
    world.session.set_tokens(Tokens::new("next").unwrap()).await.unwrap();
    assert_eq!(request.await.unwrap().unwrap(), StatusCode::UNAUTHORIZED);
    assert_eq!(world.api.tokens(), ["seed"]);
    hold.release();
    settle().await;
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens(), ["seed", "next"]);
}

// S39: the refused token again, or an expired one, causes no loop
#[tokio::test(start_paused = true)]
async fn the_very_token_that_was_refused_is_not_sent_again() {
    let world = World::new(live());
    world.endpoint.answer_always(|| TokenResponse::new("seed").unwrap().into());
    world.api.refuse("seed");
    assert_eq!(world.get().await.unwrap(), StatusCode::UNAUTHORIZED);
    assert_eq!(world.api.tokens(), ["seed"], "it was not sent twice");
    assert_eq!(world.endpoint.calls(), 1);

    for status in join_all((0..100).map(|_| world.get())).await {
        assert_eq!(status.unwrap(), StatusCode::UNAUTHORIZED);
    }
    for _ in 0..100 {
        assert_eq!(world.get().await.unwrap(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(world.api.seen().len(), 201);
    assert_eq!(world.endpoint.calls(), 3, "as many as refusals may cause in 30 s");

    let token = world.session.token().await.unwrap();
    let error = world.session.replace(token.id()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TokenRefused);
}

// S39: the refused token again, or an expired one, causes no loop
#[tokio::test(start_paused = true)]
async fn expired_tokens_from_the_endpoint_cause_no_loop() {
    let world = World::new(live());
    let life = Duration::from_micros(1);
    world.endpoint.set_life(life);
    world.api.refuse("seed");
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens(), ["seed", "access-1"]);
    assert_eq!(world.endpoint.calls(), 1);
    advance(life).await;

    // However many come at once: one refresh, whose token serves them all.
    let started = Instant::now();
    for status in join_all((0..100).map(|_| world.get())).await {
        assert_eq!(status.unwrap(), StatusCode::OK);
    }
    assert_eq!(world.endpoint.calls(), 2);
    for _ in 0..9 {
        advance(life).await;
        assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    }
    assert_eq!(world.endpoint.calls(), 11);
    assert!(started.elapsed() >= Duration::from_secs(10), "at least a second lies between two");
}
