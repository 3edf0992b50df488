//! A token endpoint that fails for all, behind a breaker.

use std::{error::Error as _, time::Duration};

use futures::future::join_all;
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt};
use tower_refresh::{
    Error, ErrorKind, Session,
    endpoint::{Breaker, BreakerLayer, EndpointError, RefreshRequest, Spent},
    testing::{Answer, GatedEndpoint},
};

use crate::support::{expired, settle};

/// A session of another user, with the same endpoint.
fn session(endpoint: &Breaker<GatedEndpoint>) -> Session {
    let session = Session::builder(endpoint.clone()).initial_tokens(expired());
    session.attempts(1).build()
}

fn guarded(inner: &GatedEndpoint) -> Breaker<GatedEndpoint> {
    BreakerLayer::new().layer(inner.clone())
}

fn down() -> Answer {
    EndpointError::transient("down").with_spent(Spent::No).into()
}

/// What the endpoint, or the breaker before it, has told the session.
fn told(error: &Error) -> &EndpointError {
    let source = error.source().expect("an error of the endpoint");
    source.downcast_ref().expect("an error of the endpoint")
}

/// Opens the breaker by the failures of five sessions.
async fn open(inner: &GatedEndpoint, endpoint: &Breaker<GatedEndpoint>) {
    let calls = inner.calls();
    inner.answer_always(down);
    for failed in 1..=5 {
        session(endpoint).token().await.unwrap_err();
        assert_eq!(inner.calls(), calls + failed);
    }
}

// S248: a token endpoint that fails for all is left alone by all
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_for_five_sessions_is_left_alone_by_all() {
    let inner = GatedEndpoint::new();
    let endpoint = guarded(&inner);
    open(&inner, &endpoint).await;

    let began = Instant::now();
    let others: Vec<_> = (0..1000).map(|_| session(&endpoint)).collect();
    for outcome in join_all(others.iter().map(Session::token)).await {
        let error = outcome.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        let error = told(&error);
        assert_eq!(error.spent(), Spent::No);
        let rest = error.retry_after().unwrap();
        assert!(rest > Duration::from_millis(400) && rest < Duration::from_millis(1500));
        assert!(error.to_string().contains("down"), "{error}");
    }
    assert_eq!((inner.calls(), Instant::now()), (5, began), "nothing was asked, and at once");
}

// S248: a token endpoint that fails for all is left alone by all
#[tokio::test(start_paused = true)]
async fn after_a_pause_one_call_is_let_through_and_a_token_ends_the_outage() {
    let inner = GatedEndpoint::new();
    let endpoint = guarded(&inner);
    open(&inner, &endpoint).await;
    // A pause is at least half of its length, which doubles up to 30 s.
    let mut calls = 5;
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        sleep(Duration::from_millis(pause * 500 - 1)).await;
        session(&endpoint).token().await.unwrap_err();
        assert_eq!(inner.calls(), calls, "before {pause} s");

        sleep(Duration::from_millis(pause * 500 + 1)).await;
        let hold = inner.hold();
        let probe = session(&endpoint);
        let probe = tokio::spawn(async move { probe.token().await });
        inner.calls_reached(calls + 1).await;
        let beside: Vec<_> = (0..10).map(|_| session(&endpoint)).collect();
        for outcome in join_all(beside.iter().map(Session::token)).await {
            assert_eq!(told(&outcome.unwrap_err()).spent(), Spent::No);
        }
        drop(hold);
        probe.await.unwrap().unwrap_err();
        calls += 1;
        assert_eq!(inner.calls(), calls, "one call after {pause} s");
    }

    inner.answer_always(|| Answer::Next);
    sleep(Duration::from_secs(30)).await;
    let all: Vec<_> = (0..3).map(|_| session(&endpoint)).collect();
    all[0].token().await.unwrap();
    join_all(all.iter().map(Session::token))
        .await
        .into_iter()
        .for_each(|token| drop(token.unwrap()));
    // The next outage begins with five calls and a short pause.
    open(&inner, &endpoint).await;
    sleep(Duration::from_secs(1)).await;
    inner.answer_always(|| Answer::Next);
    session(&endpoint).token().await.unwrap();
}

// S248: a token endpoint that fails for all is left alone by all
#[tokio::test(start_paused = true)]
async fn a_retry_after_to_one_session_holds_all() {
    for status in [429, 503] {
        let inner = GatedEndpoint::new();
        let endpoint = guarded(&inner);
        let status = http::StatusCode::from_u16(status).unwrap();
        let asked = Duration::from_secs(30);
        let overloaded = EndpointError::transient("overloaded").with_status(status);
        inner.answer(overloaded.with_retry_after(asked));
        session(&endpoint).token().await.unwrap_err();

        sleep(Duration::from_millis(29_999)).await;
        let error = session(&endpoint).token().await.unwrap_err();
        assert_eq!((error.kind(), inner.calls()), (ErrorKind::Unavailable, 1));
        sleep(Duration::from_millis(1)).await;
        session(&endpoint).token().await.unwrap();
    }
    // Without the header, or with another status, it is one failure of one session.
    let inner = GatedEndpoint::new();
    let endpoint = guarded(&inner);
    let busy = || EndpointError::transient("busy");
    inner.answer(busy().with_status(http::StatusCode::SERVICE_UNAVAILABLE));
    inner.answer(busy().with_retry_after(Duration::from_secs(30)));
    for _ in 0..2 {
        session(&endpoint).token().await.unwrap_err();
    }
    session(&endpoint).token().await.unwrap();
}

// S248: a token endpoint that fails for all is left alone by all
#[tokio::test(start_paused = true)]
async fn an_answer_about_one_user_and_the_failures_of_one_session_open_nothing() {
    let inner = GatedEndpoint::new();
    let endpoint = guarded(&inner);
    inner.answer_always(|| EndpointError::invalid_grant("revoked").into());
    for _ in 0..100 {
        let error = session(&endpoint).token().await.unwrap_err();
        assert!(error.is_login_required(), "{error:?}");
    }
    assert_eq!(inner.calls(), 100);

    inner.answer_always(down);
    let alone = session(&endpoint);
    for call in 1..=20 {
        sleep(Duration::from_secs(60)).await;
        alone.token().await.unwrap_err();
        assert_eq!(inner.calls(), 100 + call);
    }
    // Three more, and an answer between them and the next four.
    for _ in 0..3 {
        session(&endpoint).token().await.unwrap_err();
    }
    inner.answer(EndpointError::invalid_grant("revoked"));
    session(&endpoint).token().await.unwrap_err();
    for _ in 0..4 {
        session(&endpoint).token().await.unwrap_err();
    }
    inner.answer_always(|| Answer::Next);
    session(&endpoint).token().await.unwrap();
}

// S248: a token endpoint that fails for all is left alone by all
#[tokio::test(start_paused = true)]
async fn a_fault_of_configuration_opens_it_too() {
    let inner = GatedEndpoint::new();
    let endpoint = guarded(&inner);
    inner.answer_always(|| EndpointError::misconfigured("no such client").into());
    for _ in 0..5 {
        session(&endpoint).token().await.unwrap_err();
    }
    session(&endpoint).token().await.unwrap_err();
    assert_eq!(inner.calls(), 5);
}

// S248: a token endpoint that fails for all is left alone by all
#[tokio::test(start_paused = true)]
async fn what_the_breaker_holds_back_makes_no_sessions_own_pause_longer() {
    let inner = GatedEndpoint::new();
    let endpoint = guarded(&inner);
    let pause = Duration::from_secs(10);
    // One may be lucky with what is drawn at random.
    let sessions: Vec<_> = (0..20)
        .map(|_| {
            let session = Session::builder(endpoint.clone()).initial_tokens(expired());
            session.attempts(1).pause(pause, Duration::from_secs(3600)).build()
        })
        .collect();
    for _ in 0..6 {
        open(&inner, &endpoint).await;
        for session in &sessions {
            assert_eq!(told(&session.token().await.unwrap_err()).spent(), Spent::No);
        }
        sleep(Duration::from_secs(2)).await;
        inner.answer_always(|| Answer::Next);
        session(&endpoint).token().await.unwrap();
    }
    for session in &sessions {
        inner.answer(down());
        session.token().await.unwrap_err();
        // It takes no other session for the next failure in a row.
        self::session(&endpoint).token().await.unwrap();
    }
    sleep(pause).await;
    for session in &sessions {
        session.token().await.expect("a first failure has a first pause");
    }
}

// S92: a call that is out is one failure, and all use its answer
#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_counts_once_and_its_token_is_used_all_the_same() {
    let inner = GatedEndpoint::new();
    let endpoint = guarded(&inner);
    inner.answer_always(|| Answer::Next.after(Duration::from_secs(40)));
    let sessions: Vec<_> = (0..5).map(|_| session(&endpoint)).collect();
    for outcome in join_all(sessions[..4].iter().map(Session::token)).await {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Unavailable, "after ten seconds");
    }
    settle().await;
    inner.answer(down());
    sessions[4].token().await.unwrap_err();
    session(&endpoint).token().await.unwrap_err();
    assert_eq!(inner.calls(), 5, "four hang, and one has failed");

    sleep(Duration::from_secs(31)).await;
    for session in &sessions[..4] {
        session.token().await.unwrap();
    }
    assert_eq!(inner.calls(), 5);
    inner.answer_always(|| Answer::Next);
    session(&endpoint).token().await.expect("a token shows that it works");
}

// S248: a token endpoint that fails for all is left alone by all
#[tokio::test(start_paused = true)]
async fn calls_that_are_given_up_count_as_failed() {
    let inner = GatedEndpoint::new();
    let mut endpoint = guarded(&inner);
    let _hold = inner.hold();
    for _ in 0..5 {
        drop(endpoint.ready().await.unwrap().call(RefreshRequest::default()));
    }
    let refused = endpoint.ready().await.unwrap().call(RefreshRequest::default()).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.downcast_ref::<EndpointError>().unwrap().spent(), Spent::No);
    assert_eq!(inner.calls(), 5);
}
