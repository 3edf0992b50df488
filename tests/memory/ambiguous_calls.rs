//! Calls that may have spent the refresh token and whose answer was lost.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use http::StatusCode;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};
use tower::{Layer, limit::GlobalConcurrencyLimitLayer};
use tower_refresh::{
    Event, Events, Session, Tokens,
    endpoint::{EndpointError, Spent},
    testing::{Answer, GatedEndpoint, GatedStore},
};

use crate::{
    stored::record,
    support::{World, error_of, expired},
};

fn lost() -> Answer {
    Answer::fail("connection reset")
}

fn over() -> EndpointError {
    EndpointError::invalid_grant("over").with_code("invalid_grant")
}

fn presented(endpoint: &GatedEndpoint) -> Vec<String> {
    let presented = endpoint.presented().into_iter().flatten();
    presented.map(|token| token.expose().to_owned()).collect()
}

async fn rotations_lost(events: &mut Events) -> usize {
    let mut lost = 0;
    while let Some(Some(event)) = events.next().now_or_never() {
        lost += usize::from(matches!(event, Event::RotationLost));
    }
    lost
}

// S67: a refresh token in doubt is presented once more, its end confirmed once, and then given up
#[tokio::test(start_paused = true)]
async fn a_server_with_a_grace_period_answers_the_same_token_once_more() {
    let world = World::new(expired());
    world.endpoint.answer(lost());
    let (start, mut events) = (Instant::now(), world.session.events());
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert!(start.elapsed() <= Duration::from_millis(200), "grace does not last");
    assert_eq!(presented(&world.endpoint), ["refresh-0", "refresh-0"]);
    assert_eq!(rotations_lost(&mut events).await, 0);
}

// S67: a refresh token in doubt is presented once more, its end confirmed once, and then given up
#[tokio::test(start_paused = true)]
async fn a_strict_server_means_that_the_rotation_is_lost_and_nobody_calls_again() {
    let world = World::new(expired());
    world.endpoint.answer(lost());
    world.endpoint.answer_always(|| over().into());
    let mut events = world.session.events();
    let error = error_of(world.get().await);
    assert!(error.is_login_required());
    assert_eq!(presented(&world.endpoint), ["refresh-0", "refresh-0", "refresh-0"]);
    assert_eq!(rotations_lost(&mut events).await, 1);
    // The failure that began the doubt is in the chain of the error that ends it.
    let chain = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
    let chain: Vec<_> = chain.map(ToString::to_string).collect();
    assert!(chain.iter().any(|error| error.contains("connection reset")), "{chain:?}");

    sleep(Duration::from_secs(3600)).await;
    assert!(error_of(world.get().await).is_login_required());
    assert_eq!(world.endpoint.calls(), 3);
}

// S67: a refresh token in doubt is presented once more, its end confirmed once, and then given up
#[tokio::test(start_paused = true)]
async fn a_token_in_doubt_is_presented_once_more_and_not_again() {
    let endpoint = GatedEndpoint::new();
    let session = Session::builder(endpoint.clone()).initial_tokens(expired()).attempts(9).build();
    let world = World::of(endpoint, session);
    world.endpoint.answer_always(lost);
    assert!(error_of(world.get().await).is_transient());
    assert_eq!(world.endpoint.calls(), 2);
}

// S67: a refresh token in doubt is presented once more, its end confirmed once, and then given up
#[tokio::test(start_paused = true)]
async fn a_call_that_times_out_is_in_doubt_as_well() {
    let world = World::new(expired());
    world.endpoint.answer(Answer::Never);
    world.endpoint.answer_always(|| over().into());
    let mut events = world.session.events();
    let start = Instant::now();
    assert!(error_of(world.get().await).is_transient());
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    // The call goes on until its limit. After that, and after the pause, the end of the grant is
    // asked for once more.
    sleep(Duration::from_secs(49)).await;
    assert_eq!(world.endpoint.calls(), 1);
    sleep(Duration::from_secs(30)).await;
    assert!(error_of(world.get().await).is_login_required());
    assert_eq!(world.endpoint.calls(), 3);
    assert_eq!(rotations_lost(&mut events).await, 1);
}

// S67: a refresh token in doubt is presented once more, its end confirmed once, and then given up
#[tokio::test(start_paused = true)]
async fn to_wait_for_an_endpoint_that_is_not_ready_puts_nothing_in_doubt() {
    let (endpoint, permits) = (GatedEndpoint::new(), Arc::new(Semaphore::new(0)));
    let limit = GlobalConcurrencyLimitLayer::with_semaphore(permits.clone());
    let builder = Session::builder(limit.layer(endpoint.clone())).initial_tokens(expired());
    let session = builder.wait_limit(Duration::from_secs(60)).build();
    let mut events = session.events();
    let start = Instant::now();
    assert!(session.ready().await.unwrap_err().is_transient());
    // One in doubt would be presented once more, and not twice.
    assert!(start.elapsed() >= Duration::from_secs(30));

    sleep(Duration::from_secs(1)).await;
    permits.add_permits(1);
    endpoint.answer(over());
    assert!(session.ready().await.unwrap_err().is_login_required());
    assert_eq!(endpoint.calls(), 1);
    assert_eq!(rotations_lost(&mut events).await, 0);
}

// S67: a refresh token in doubt is presented once more, its end confirmed once, and then given up
// S19: an endpoint that panics is an error, and the next refresh works
#[tokio::test(start_paused = true)]
async fn a_call_that_panics_is_in_doubt_as_well() {
    let world = World::new(expired());
    world.endpoint.answer(Answer::Panic);
    world.endpoint.answer_always(|| over().into());
    let mut events = world.session.events();
    assert!(error_of(world.get().await).is_transient());
    sleep(Duration::from_secs(2)).await;
    assert!(error_of(world.get().await).is_login_required());
    assert_eq!(rotations_lost(&mut events).await, 1);
}

// S67: a refresh token in doubt is presented once more, its end confirmed once, and then given up
#[tokio::test(start_paused = true)]
async fn the_store_is_read_before_a_token_in_doubt_is_presented_again() {
    let (endpoint, store) = (GatedEndpoint::new(), GatedStore::new());
    let session =
        Session::builder(endpoint.clone()).initial_tokens(expired()).store(store.clone()).build();
    let world = World::of(endpoint, session);
    world.endpoint.answer(lost());
    let hold = world.endpoint.hold();
    let (status, ()) = futures::join!(world.get(), async {
        world.endpoint.calls_reached(1).await;
        store.put(record(9, "theirs", "refresh-theirs"));
        hold.release();
    });
    assert_eq!(status.unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens(), ["theirs"]);
    assert_eq!(world.endpoint.calls(), 1);
}

// S67: a refresh token in doubt is presented once more, its end confirmed once, and then given up
#[tokio::test(start_paused = true)]
async fn nothing_is_lost_where_nothing_was_sent() {
    let world = World::new(expired());
    world.endpoint.answer(EndpointError::transient("connection refused").with_spent(Spent::No));
    world.endpoint.answer(over());
    let mut events = world.session.events();
    assert!(error_of(world.get().await).is_login_required());
    assert_eq!(rotations_lost(&mut events).await, 0);
}

// S67: a refresh token in doubt is presented once more, its end confirmed once, and then given up
#[tokio::test(start_paused = true)]
async fn a_doubt_ends_with_the_tokens_that_it_was_about() {
    let world = World::new(expired());
    world.endpoint.answer_always(lost);
    assert!(world.get().await.is_err());
    let login = Tokens::from_refresh_token("login").unwrap();
    world.session.set_tokens(login).await.unwrap();
    world.endpoint.answer_always(|| over().into());
    let mut events = world.session.events();
    assert!(error_of(world.get().await).is_login_required());
    assert_eq!(rotations_lost(&mut events).await, 0);
}

// S67: a refresh token in doubt is presented once more, its end confirmed once, and then given up
// S45: `invalid_grant` because another process was faster ends no login
#[tokio::test(start_paused = true)]
async fn the_end_of_a_grant_that_one_process_was_told_of_is_no_lost_rotation_for_the_next() {
    let (endpoint, store) = (GatedEndpoint::new(), GatedStore::new());
    endpoint.answer_always(|| over().into());
    let [here, there] = [(); 2].map(|()| {
        let builder = Session::builder(endpoint.clone()).initial_tokens(expired());
        World::of(endpoint.clone(), builder.store(store.other()).build())
    });
    assert!(error_of(here.get().await).is_login_required());
    let (start, mut events) = (Instant::now(), there.session.events());
    assert!(error_of(there.get().await).is_login_required());
    assert_eq!(start.elapsed(), Duration::ZERO, "nobody is spending the token any more");
    assert_eq!(rotations_lost(&mut events).await, 0);
}

// S34: when the grant is over there are no calls until tokens are set, and a live token serves on
#[tokio::test(start_paused = true)]
async fn a_slow_end_of_the_grant_is_asked_for_once() {
    let (endpoint, store) = (GatedEndpoint::new(), GatedStore::new());
    let session = Session::builder(endpoint.clone()).initial_tokens(expired()).store(store).build();
    let world = World::of(endpoint, session);
    world.endpoint.answer_always(|| Answer::from(over()).after(Duration::from_secs(3)));
    assert!(error_of(world.get().await).is_login_required());
    assert_eq!(world.endpoint.calls(), 1);
}
