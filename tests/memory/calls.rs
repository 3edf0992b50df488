//! Calls that take longer than their callers wait: what may use up the refresh token is not asked
//! for a second time before it has ended.

use std::time::Duration;

use futures::future::join_all;
use http::StatusCode;
use tokio::time::{Instant, sleep};
use tower_refresh::{
    Event, Session,
    endpoint::{EndpointError, Spent, TokenResponse},
    testing::{Answer, GatedEndpoint},
};

use crate::support::{World, error_of, expired, live};

const SECOND: Duration = Duration::from_secs(1);

fn over(said: &str) -> EndpointError {
    EndpointError::invalid_grant("over").with_code("invalid_grant").with_said(said)
}

// S92: a call that is out: its callers fail in time, no other is made, and all use its answer
#[tokio::test(start_paused = true)]
async fn callers_give_a_call_up_that_is_still_out_and_all_use_its_answer() {
    let world = World::new(expired());
    world.endpoint.answer(Answer::Next.after(SECOND * 40));
    let start = Instant::now();
    let first: Vec<_> = (0..3).map(|_| world.start()).collect();
    for caller in join_all(first).await {
        let error = error_of(caller.unwrap());
        assert!(error.is_transient() && error.to_string().contains("the call goes on"), "{error}");
    }
    assert_eq!(start.elapsed(), SECOND * 10);

    // In the pause the error is there at once, also by hand.
    assert!(error_of(world.get().await).is_transient());
    assert!(world.session.refresh().await.unwrap_err().is_transient());
    assert_eq!(start.elapsed(), SECOND * 10);

    // After it callers wait for as long as for a call of their own, and start none.
    sleep(SECOND * 2).await;
    let (status, by_hand) = tokio::join!(world.get(), world.session.refresh());
    assert!(error_of(status).is_transient() && by_hand.unwrap_err().is_transient());
    assert_eq!(start.elapsed(), SECOND * 22);
    assert_eq!(world.endpoint.calls(), 1);

    sleep(SECOND * 9).await;
    let late = world.start();
    assert_eq!(late.await.unwrap().unwrap(), StatusCode::OK);
    assert_eq!(start.elapsed(), SECOND * 40);
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.endpoint.calls(), 1);
}

// S92: a call that is out: its callers fail in time, no other is made, and all use its answer
#[tokio::test(start_paused = true)]
async fn a_token_that_was_refused_serves_again_while_the_call_is_out() {
    let world = World::new(live());
    world.endpoint.answer(Answer::Next.after(SECOND * 40));
    world.api.refuse("seed");
    assert_eq!(world.get().await.unwrap(), StatusCode::UNAUTHORIZED);
    assert_eq!(world.session.token().await.unwrap().expose(), "seed");
    sleep(SECOND * 31).await;
    assert_eq!(world.session.token().await.unwrap().expose(), "access-1");
    assert_eq!(world.endpoint.calls(), 1);
}

// S75: after a lost answer the end of the grant is confirmed once more after a pause
#[tokio::test(start_paused = true)]
async fn a_server_that_is_still_at_work_on_a_lost_call_costs_no_login() {
    let world = World::new(expired());
    // Until its eleventh second the server says that the token is over.
    world.endpoint.answer(Answer::fail("connection reset"));
    world.endpoint.answer(over(""));
    let (start, mut events) = (Instant::now(), world.session.events());
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert!(start.elapsed() >= SECOND * 10);
    assert_eq!(world.endpoint.calls(), 3);
    assert!(matches!(events.next().await, Some(Event::Refreshed { .. })));
}

// S75: after a lost answer the end of the grant is confirmed once more after a pause
#[tokio::test(start_paused = true)]
async fn a_server_that_names_a_call_in_progress_is_asked_again_and_one_that_names_re_use_is_not() {
    let world = World::new(expired());
    for _ in 0..4 {
        world.endpoint.answer(over("The request is already being processed"));
    }
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.endpoint.calls(), 5);

    let world = World::new(expired());
    world.endpoint.answer(Answer::fail("connection reset"));
    world.endpoint.answer_always(|| over("Refresh token reuse detected").into());
    assert!(error_of(world.get().await).is_login_required());
    assert_eq!(world.endpoint.calls(), 2);
}

// S75: the end of a grant is confirmed once for each lost answer, whichever refresh it is in.
#[tokio::test(start_paused = true)]
async fn a_confirmation_that_fails_for_the_moment_is_made_by_the_next_refresh() {
    let world = World::new(expired());
    world.endpoint.answer(Answer::fail("connection reset"));
    world.endpoint.answer(over(""));
    let busy = || EndpointError::transient("busy").with_spent(Spent::No);
    world.endpoint.answer(busy().with_retry_after(SECOND * 60));
    assert!(!error_of(world.get().await).is_login_required());
    assert_eq!(world.endpoint.calls(), 3);
    world.endpoint.answer_always(|| over("").into());
    sleep(SECOND * 61).await;
    assert!(error_of(world.get().await).is_login_required());
    assert_eq!(world.endpoint.calls(), 4, "the confirmation, and no other");
}

// S75: a server that is at work on an earlier call is asked again when it says.
#[tokio::test(start_paused = true)]
async fn a_server_that_names_a_call_in_progress_may_say_when_to_ask_again() {
    let world = World::new(expired());
    let at_work = EndpointError::invalid_grant("no").with_said("being processed");
    world.endpoint.answer(at_work.with_retry_after(SECOND * 7));
    let start = Instant::now();
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!((start.elapsed(), world.endpoint.calls()), (SECOND * 7, 2));
}

// S89: where the refresh token is kept the time-out ends a call; where it rotates the call goes on
#[tokio::test(start_paused = true)]
async fn at_a_server_that_keeps_the_refresh_token_the_time_out_ends_a_call() {
    let endpoint = GatedEndpoint::new();
    let answer = || TokenResponse::new("next").unwrap().with_expires_in(SECOND * 60);
    endpoint.answer(answer());
    endpoint.answer(Answer::Never);
    let session = Session::builder(endpoint.clone()).initial_tokens(expired()).build();
    session.token().await.unwrap();
    sleep(SECOND * 61).await;
    let start = Instant::now();
    session.token().await.unwrap();
    assert!(start.elapsed() >= SECOND * 10 && start.elapsed() < SECOND * 11);
    assert_eq!(endpoint.calls(), 3);
}

// S21: a caller's time-out is its own: the refresh goes on
#[tokio::test(start_paused = true)]
async fn a_call_has_a_limit_of_its_own() {
    let endpoint = GatedEndpoint::new();
    endpoint.answer(Answer::Never);
    let builder = Session::builder(endpoint.clone()).initial_tokens(expired());
    let session = builder.call_limit(SECOND * 15).build();
    let start = Instant::now();
    assert!(session.token().await.unwrap_err().is_transient());
    assert_eq!(start.elapsed(), SECOND * 10);
    sleep(SECOND * 4).await;
    assert_eq!(endpoint.calls(), 1);
    sleep(SECOND * 3).await;
    session.token().await.unwrap();
    assert_eq!(endpoint.calls(), 2);
}
