//! What operators see.

use futures::{FutureExt, StreamExt};
use http::StatusCode;
use tower_refresh::{ErrorKind, Event, Events, Tokens, endpoint::EndpointError};

use crate::support::{World, expired, live};

/// The names of the events so far, as `Debug` prints them.
fn names(events: &mut Events) -> Vec<String> {
    std::iter::from_fn(|| events.next().now_or_never().flatten())
        .map(|event| format!("{event:?}"))
        .inspect(|event| assert!(!event.contains("seed") && !event.contains("access-")))
        .map(|event| event.split([' ', '(']).next().unwrap().to_owned())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn they_tell_what_happened_in_order() {
    let world = World::new(live());
    let mut events = world.session.events();
    world.api.refuse("seed");
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(names(&mut events), ["Refused", "Refreshed"]);
    world.endpoint.answer(EndpointError::misconfigured("who are you?"));
    world.session.refresh().await.unwrap_err();
    assert_eq!(names(&mut events), ["RefreshFailed"]);
    world.session.set_tokens(Tokens::new("login").unwrap()).await.unwrap();
    assert_eq!(names(&mut events)[0], "TokensSet");
    world.session.log_out().await.unwrap();
    assert_eq!(names(&mut events)[0], "LoggedOut");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_grant_is_told_once_and_with_its_error() {
    let world = World::new(expired());
    let mut events = world.session.events();
    world.endpoint.answer(EndpointError::invalid_grant("over"));
    for _ in 0..3 {
        world.session.token().await.unwrap_err();
    }
    let Some(Event::RefreshFailed { error, .. }) = events.next().await else { panic!() };
    assert_eq!(error.kind(), ErrorKind::LoginRequired);
    assert!(names(&mut events).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_misses_some_is_told_so_and_holds_nobody_up() {
    let world = World::new(live());
    let mut events = world.session.events();
    for _ in 0..1000 {
        world.session.refresh().await.unwrap();
    }
    let Some(Event::Lagged { skipped: missed, .. }) = events.next().await else { panic!() };
    let newest = world.session.token().await.unwrap().generation();
    let mut read = 1;
    while !matches!(
        events.next().await,
        Some(Event::Refreshed { generation, .. }) if generation == newest
    ) {
        read += 1;
    }
    assert_eq!(missed + read, 1000);
}

#[tokio::test(start_paused = true)]
async fn they_end_with_the_session() {
    let world = World::new(live());
    let mut events = world.session.events();
    let mut stream = world.session.events();
    drop(world);
    assert!(events.next().await.is_none());
    assert!(StreamExt::next(&mut stream).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_the_next_event_can_be_given_up_without_a_loss() {
    let world = World::new(live());
    let mut events = world.session.events();
    for generation in 2..10 {
        assert!(events.next().now_or_never().is_none());
        world.session.refresh().await.unwrap();
        let event = events.next().await.unwrap();
        assert!(matches!(event, Event::Refreshed { generation: g, .. } if g == generation));
    }
}
