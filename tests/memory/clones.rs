//! Each call works on a clone of the endpoint: readied, called, dropped.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, poll};
use tokio::{sync::Semaphore, task::yield_now, time::advance};
use tower::{Layer, limit::GlobalConcurrencyLimitLayer};
use tower_refresh::{
    ErrorKind, Session, Tokens,
    endpoint::{RefreshRequest, RevokeRequest, TokenResponse},
    testing::{Answer, GatedEndpoint},
};
use tower_test::mock;

fn answer(token: &str) -> TokenResponse {
    TokenResponse::new(token).unwrap()
}

// S56: Tower's contract is kept: never called unready, nothing held while a refresh is awaited
#[tokio::test(start_paused = true)]
async fn a_permit_that_two_sessions_share_is_free_while_no_call_runs() {
    let permits = Arc::new(Semaphore::new(1));
    let limit = GlobalConcurrencyLimitLayer::with_semaphore(permits.clone());
    let endpoint = GatedEndpoint::new();
    let session = || Session::builder(limit.layer(endpoint.clone())).attempts(1).build();
    let (a, b) = (session(), session());

    for session in [&a, &b] {
        session.refresh().await.unwrap();
        assert_eq!(permits.available_permits(), 1, "after a call");
    }
    endpoint.answer(Answer::Never);
    assert_eq!(a.refresh().await.unwrap_err().kind(), ErrorKind::Unavailable);
    // It may use up the refresh token, and so it goes on until its limit.
    advance(Duration::from_secs(50)).await;
    yield_now().await;
    assert_eq!(permits.available_permits(), 1, "after a call that was given up");

    // A caller gives up in the queue for the permit that is taken. The refresh stays in it.
    let elsewhere = permits.clone().acquire_owned().await.unwrap();
    let error = b.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains("a limit around the token endpoint"), "{error}");
    drop(elsewhere);
    b.refresh().await.unwrap();
    assert_eq!(permits.available_permits(), 1, "after a wait for the permit");
    a.refresh().await.unwrap();
    assert_eq!(endpoint.max_in_flight(), 1);
}

// S56: Tower's contract is kept: never called unready, nothing held while a refresh is awaited
#[tokio::test(start_paused = true)]
async fn no_clone_of_an_endpoint_is_called_before_it_is_ready() {
    // The mock panics if it is called without.
    let (endpoint, mut server) = mock::pair::<RefreshRequest, TokenResponse>();
    let (revocation, mut desk) = mock::pair::<RevokeRequest, ()>();
    let tokens = Tokens::from_refresh_token("seed").unwrap();
    let session = Session::builder(endpoint).revocation(revocation).initial_tokens(tokens).build();
    for call in 0..3 {
        server.allow(0);
        let mut refresh = Box::pin(session.refresh());
        assert!(poll!(refresh.as_mut()).is_pending());
        yield_now().await;
        assert!(server.next_request().now_or_never().is_none(), "call {call} came unasked");
        server.allow(1);
        let (request, answers) = server.next_request().await.unwrap();
        assert_eq!(request.refresh_token().unwrap().expose(), "seed");
        answers.send_response(answer("next"));
        refresh.await.unwrap();
    }

    desk.allow(0);
    let mut log_out = Box::pin(session.log_out());
    for _ in 0..10 {
        assert!(poll!(log_out.as_mut()).is_pending());
        yield_now().await;
    }
    assert!(desk.next_request().now_or_never().is_none());
    desk.allow(1);
    let revoke = async {
        let (request, answers) = desk.next_request().await.unwrap();
        assert_eq!(request.refresh_token().expose(), "seed");
        answers.send_response(());
    };
    let (logged_out, ()) = tokio::join!(log_out, revoke);
    logged_out.unwrap();
}
