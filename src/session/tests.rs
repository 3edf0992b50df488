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
