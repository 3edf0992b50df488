//! What needs a wall clock that a test can set.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tower::service_fn;

use super::*;
use crate::{
    endpoint::{EndpointError, Spent},
    session::now::SUSPENDED,
};

const HOUR: Duration = Duration::from_secs(3600);

/// A session with a live token, whose endpoint answers `then` when it is called again.
async fn session(
    then: impl Fn() -> Result<TokenResponse, EndpointError> + Clone + Send + Sync + 'static,
) -> (Session, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let endpoint = service_fn(move |_: RefreshRequest| {
        let first = counted.fetch_add(1, Ordering::SeqCst) == 0;
        let answer = match first {
            true => Ok(TokenResponse::new("first").unwrap().with_expires_in(HOUR)),
            false => then(),
        };
        async { answer }
    });
    let tokens = Tokens::from_refresh_token("refresh").unwrap();
    let session = Session::builder(endpoint).initial_tokens(tokens).build();
    assert_eq!(session.token().await.unwrap().expose(), "first");
    (session, calls)
}

// S79: a token that expired during a suspend is replaced before it is handed out
#[tokio::test(start_paused = true)]
async fn a_token_that_expired_during_a_suspend_is_not_handed_out() {
    let next = || Ok(TokenResponse::new("next").unwrap().with_expires_in(HOUR));
    let (session, calls) = session(next).await;
    SUSPENDED.set(HOUR / 2);
    assert_eq!(session.token().await.unwrap().expose(), "first", "live by either clock");
    assert_eq!(calls.load(Ordering::SeqCst), 1);

    SUSPENDED.set(2 * HOUR);
    assert_eq!(session.token().await.unwrap().expose(), "next");
    assert_eq!(session.token().await.unwrap().expose(), "next");
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

// S79: a clock that was merely set costs no token
#[tokio::test(start_paused = true)]
async fn a_token_that_the_wall_clock_calls_expired_serves_while_no_other_can_be_had() {
    let busy = || Err(EndpointError::transient("busy").with_spent(Spent::No));
    let (session, calls) = session(busy).await;
    SUSPENDED.set(2 * HOUR);
    for _ in 0..3 {
        assert_eq!(session.token().await.unwrap().expose(), "first");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1 + 3, "one round of attempts, and then its pause");
}

// S79: but what the endpoint refuses for good is no reason to hand it out
#[tokio::test(start_paused = true)]
async fn a_token_that_expired_during_a_suspend_does_not_outlive_its_login() {
    let (session, _) = session(|| Err(EndpointError::invalid_grant("over"))).await;
    SUSPENDED.set(2 * HOUR);
    assert!(session.token().await.unwrap_err().is_login_required());
}

// S102: before the first log-in no token is blamed, as none was sent
#[tokio::test]
async fn without_a_refresh_token_an_error_says_so_and_blames_none() {
    let endpoint = crate::endpoint::JsonEndpoint::new("https://auth.example.com/token").unwrap();
    let access_only = Tokens::new("access").unwrap().with_expires_at(std::time::UNIX_EPOCH);
    for (tokens, said) in [
        (Tokens::default(), "no user has logged in yet: log in and set tokens"),
        (access_only, "there is no refresh token to get another with: log in and set new tokens"),
    ] {
        let session = Session::builder(endpoint.clone()).initial_tokens(tokens).build();
        let error = session.token().await.unwrap_err();
        assert!(error.is_login_required());
        assert!(error.to_string().ends_with(said), "{error}");
        assert!(!format!("{error:#}").contains("no longer accepts"), "{error:#}");
    }
}

// S102: an error names the endpoint and the session, and its long form what was behind it
#[tokio::test]
async fn an_error_names_the_endpoint_and_the_session_and_prints_its_causes() {
    let transport = service_fn(async |_: http::Request<http_body_util::Full<bytes::Bytes>>| {
        let answer = http::Response::builder().status(503).header("retry-after", "60.5");
        Ok::<_, BoxError>(answer.body(String::new())?)
    });
    let endpoint = crate::endpoint::JsonEndpoint::new("https://auth.example.com:8443/token?key=k");
    let session = Session::builder(endpoint.unwrap().transport(transport))
        .initial_tokens(Tokens::from_refresh_token("refresh").unwrap())
        .name("billing")
        .attempts(1)
        .build();
    let error = session.token().await.unwrap_err();
    let line = "the token endpoint at auth.example.com:8443 of session billing is unavailable, and \
                is asked again later";
    assert_eq!(error.to_string(), line);
    let behind = "the token endpoint answered 503; it wants no call for 61s";
    assert_eq!(format!("{error:#}"), format!("{line}: {behind}"));
}
