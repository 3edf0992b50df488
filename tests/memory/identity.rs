//! Log-in and log-out: what somebody decided counts, whatever is under way.

use std::time::Duration;

use futures::{FutureExt, future::join};
use http::StatusCode;
use tokio::time::sleep;
use tower_refresh::{
    Session, Tokens,
    endpoint::EndpointError,
    endpoint::TokenResponse,
    testing::{Answer, GatedEndpoint, GatedStore, Hold, StoreCalls, StoreFault},
};

use crate::{
    stored::{is_logged_out, record, refresh_into, refresh_token},
    support::{World, error_of, expired, get, live, settle},
};

fn login() -> Tokens {
    Tokens::new("login").unwrap().with_refresh_token("refresh-login").unwrap()
}

fn world(tokens: Tokens, store: &GatedStore) -> World {
    let endpoint = GatedEndpoint::new();
    let session =
        Session::builder(endpoint.clone()).initial_tokens(tokens).store(store.clone()).build();
    World::of(endpoint, session)
}

// S40: what is set or cleared during a refresh wins
#[tokio::test(start_paused = true)]
async fn tokens_set_during_a_refresh_win_and_go_to_those_who_wait() {
    let store = GatedStore::new();
    let world = world(expired(), &store);
    let hold = world.endpoint.hold();
    let caller = tokio::spawn(get(world.client.clone()));
    world.endpoint.calls_reached(1).await;
    world.session.set_tokens(login()).await.unwrap();
    assert_eq!(caller.await.unwrap().unwrap(), StatusCode::OK);

    hold.release();
    world.session.close().await.unwrap();
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens(), ["login", "login"]);
    assert_eq!(refresh_token(&store).unwrap(), "refresh-login");
}

// S40: what is set or cleared during a refresh wins
#[tokio::test(start_paused = true)]
async fn a_refresh_token_set_during_a_refresh_is_the_next_to_be_spent() {
    let world = World::new(expired());
    let hold = world.endpoint.hold();
    world.endpoint.answer(TokenResponse::new("of-the-first-call").unwrap());
    world.endpoint.answer(TokenResponse::new("of-the-login").unwrap());
    let caller = tokio::spawn(get(world.client.clone()));
    world.endpoint.calls_reached(1).await;
    let login = Tokens::from_refresh_token("refresh-login").unwrap();
    world.session.set_tokens(login).await.unwrap();
    world.endpoint.calls_reached(2).await;
    hold.release();
    assert_eq!(caller.await.unwrap().unwrap(), StatusCode::OK);
    assert_eq!(world.endpoint.presented()[1].as_ref().unwrap().expose(), "refresh-login");
    assert_eq!(world.api.tokens(), ["of-the-login"]);
}

// S40: what is set or cleared during a refresh wins
#[tokio::test(start_paused = true)]
async fn a_clear_during_a_refresh_logs_everybody_out_for_good() {
    let store = GatedStore::new();
    let world = world(expired(), &store);
    let hold = world.endpoint.hold();
    let caller = tokio::spawn(get(world.client.clone()));
    world.endpoint.calls_reached(1).await;
    world.session.log_out().await.unwrap();
    assert!(error_of(caller.await.unwrap()).is_login_required());

    hold.release();
    world.endpoint.idle().await;
    sleep(Duration::from_secs(60)).await;
    assert!(error_of(world.get().await).is_login_required());
    assert!(world.session.tokens().is_none());
    assert!(is_logged_out(&store));
    assert_eq!((world.endpoint.calls(), world.api.seen().len()), (1, 0));
}

// S40: what is set or cleared during a refresh wins
// S63: the store wins against the seed, and eight processes that seed at once agree
#[tokio::test(start_paused = true)]
async fn tokens_set_while_the_seed_is_on_its_way_to_the_store_are_saved() {
    let store = GatedStore::new();
    let world = world(expired(), &store);
    let saving = store.hold(StoreCalls::Writes);
    let caller = tokio::spawn(get(world.client.clone()));
    store.calls_reached(StoreCalls::Writes, 1).await;
    let (set, ()) = join(world.session.set_tokens(login()), async { saving.release() }).await;
    set.unwrap();
    assert_eq!(refresh_token(&store).unwrap(), "refresh-login");
    assert_eq!(caller.await.unwrap().unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens(), ["login"]);
}

// S40: what is set or cleared during a refresh wins
#[tokio::test(start_paused = true)]
async fn tokens_set_right_after_a_refresh_go_to_those_who_have_not_heard_of_its_end() {
    for answer in [Answer::Next, EndpointError::invalid_grant("over").into()] {
        let world = World::new(expired());
        world.endpoint.answer(answer);
        let mut caller = Box::pin(world.session.token());
        assert!(caller.as_mut().now_or_never().is_none());
        world.endpoint.calls_reached(1).await;
        settle().await;
        assert!(!world.session.status().is_refreshing());
        world.session.set_tokens(login()).await.unwrap();
        assert_eq!(caller.await.unwrap().expose(), "login");

        // Nor is anybody told to log in who has just done so, with a refresh token alone.
        world.session.set_tokens(expired()).await.unwrap();
        world.endpoint.answer(EndpointError::invalid_grant("over"));
        let mut caller = Box::pin(world.session.token());
        assert!(caller.as_mut().now_or_never().is_none());
        world.endpoint.calls_reached(2).await;
        settle().await;
        assert!(world.session.status().is_login_required());
        let login = Tokens::from_refresh_token("refresh-login").unwrap();
        world.session.set_tokens(login).await.unwrap();
        assert!(caller.await.is_ok());
    }
}

// S40: what is set or cleared during a refresh wins
#[tokio::test(start_paused = true)]
async fn tokens_set_win_over_what_the_store_held_before() {
    // A login at the start of a program, while the store cannot be read. The first request after
    // that is quicker than the task that saves.
    let store = GatedStore::holding(record(7, "old", "refresh-old"));
    let world = world(Tokens::default(), &store);
    store.set_fault(StoreCalls::All, StoreFault::Fail);
    let login = Tokens::from_refresh_token("refresh-login").unwrap();
    world.session.set_tokens(login).await.unwrap_err();
    store.set_fault(StoreCalls::All, None);
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.endpoint.presented()[0].as_ref().unwrap().expose(), "refresh-login");
    assert_eq!(world.api.tokens(), ["access-1"]);
    assert_eq!(refresh_token(&store).unwrap(), "refresh-1");
}

// S40: what is set or cleared during a refresh wins
#[tokio::test(start_paused = true)]
async fn tokens_set_while_the_store_is_gone_are_used_and_win_when_it_is_back() {
    let store = GatedStore::new();
    let world = world(live(), &store);
    world.session.ready().await.unwrap();
    store.set_fault(StoreCalls::All, StoreFault::Fail);
    assert!(world.session.set_tokens(login()).await.is_err());
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens(), ["login"]);
    // Meanwhile another process has refreshed what was there before.
    store.put(record(2, "theirs", "refresh-theirs"));
    store.put(record(3, "theirs", "refresh-theirs"));
    store.set_fault(StoreCalls::All, None);
    world.session.close().await.unwrap();
    assert_eq!(refresh_token(&store).unwrap(), "refresh-login");
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens(), ["login", "login"]);
}

// S40: what is set or cleared during a refresh wins
#[tokio::test(start_paused = true)]
async fn a_refresh_that_ends_before_a_decision_is_saved_changes_nothing() {
    for set in [Some(login()), None] {
        let store = GatedStore::new();
        let world = world(expired(), &store);
        let hold = world.endpoint.hold();
        let caller = tokio::spawn(get(world.client.clone()));
        world.endpoint.calls_reached(1).await;
        store.set_fault(StoreCalls::Writes, StoreFault::Fail);
        let (saved, expected) = match set {
            Some(tokens) => (world.session.set_tokens(tokens).await, Some("refresh-login")),
            None => (world.session.log_out().await, None),
        };
        saved.unwrap_err();
        // The flight is quicker than the task that saves.
        store.set_fault(StoreCalls::All, None);
        hold.release();
        world.endpoint.idle().await;
        world.session.close().await.unwrap();
        let _ = caller.await.unwrap();
        assert_eq!(world.get().await.is_ok(), expected.is_some());
        assert!(world.api.tokens().iter().all(|token| token == "login"));
        assert_eq!(refresh_token(&store).as_deref(), expected);
    }
}

// S62: a request of an earlier login is never repeated with another's token
#[tokio::test(start_paused = true)]
async fn a_refusal_from_before_a_login_or_a_log_out_is_handed_through() {
    for set in [Some(login()), None] {
        let world = World::new(live());
        world.api.refuse("seed");
        world.api.hold(true);
        let caller = tokio::spawn(get(world.client.clone()));
        world.api.arrived(1).await;
        match set {
            Some(tokens) => world.session.set_tokens(tokens).await.unwrap(),
            None => world.session.log_out().await.unwrap(),
        }
        world.api.hold(false);
        assert_eq!(caller.await.unwrap().unwrap(), StatusCode::UNAUTHORIZED);
        assert_eq!(world.api.tokens(), ["seed"]);
        assert_eq!(world.endpoint.calls(), 0);
    }
}

// S62: a request of an earlier login is never repeated with another's token
#[tokio::test(start_paused = true)]
async fn a_refused_request_that_waits_through_a_login_is_not_retried_with_its_token() {
    let world = World::new(live());
    world.api.refuse("seed");
    let hold = world.endpoint.hold();
    let caller = tokio::spawn(get(world.client.clone()));
    world.endpoint.calls_reached(1).await;
    world.session.set_tokens(login()).await.unwrap();
    hold.release();
    assert_eq!(caller.await.unwrap().unwrap(), StatusCode::UNAUTHORIZED);
    assert_eq!(world.api.tokens(), ["seed"]);
}

/// Holds the save of a rotated token, and returns when it has arrived.
async fn rotation_held(world: &World, store: &GatedStore) -> Hold {
    let hold = world.endpoint.hold();
    tokio::spawn(get(world.client.clone()));
    world.endpoint.calls_reached(1).await;
    let saves = store.calls(StoreCalls::Writes);
    let saving = store.hold(StoreCalls::Writes);
    hold.release();
    store.calls_reached(StoreCalls::Writes, saves + 1).await;
    saving
}

// S66: a log-out during a save ends in the tombstone, here and in other processes
#[tokio::test(start_paused = true)]
async fn a_clear_here_while_a_save_is_under_way_ends_in_the_tombstone() {
    for rotation_first in [true, false] {
        let store = GatedStore::new();
        let world = world(expired(), &store);
        let saving = rotation_held(&world, &store).await;
        // Released at once, or while the log-out waits.
        let saving = (!rotation_first).then_some(saving);
        let (cleared, ()) = join(world.session.log_out(), async { drop(saving) }).await;
        cleared.unwrap();
        world.session.close().await.unwrap();
        assert!(is_logged_out(&store));
        assert!(error_of(world.get().await).is_login_required());
        assert!(world.api.seen().is_empty());
    }
}

// S66: a log-out during a save ends in the tombstone, here and in other processes
#[tokio::test(start_paused = true)]
async fn a_clear_elsewhere_while_a_save_is_under_way_ends_in_the_tombstone() {
    let store = GatedStore::new();
    let (here, there) = (world(expired(), &store), world(live(), &store.other()));
    let saving = rotation_held(&here, &store).await;
    there.session.log_out().await.unwrap();
    saving.release();
    assert!(error_of(here.get().await).is_login_required());
    here.session.close().await.unwrap();
    assert!(is_logged_out(&store));
    assert!(error_of(there.get().await).is_login_required());
    assert!(here.api.seen().is_empty());
}

// S66: a log-out during a save ends in the tombstone, here and in other processes
#[tokio::test(start_paused = true)]
async fn a_clear_elsewhere_after_a_save_ends_in_the_tombstone() {
    let store = GatedStore::new();
    let (here, there) = (world(expired(), &store), world(live(), &store.other()));
    assert_eq!(here.get().await.unwrap(), StatusCode::OK);
    there.session.log_out().await.unwrap();
    here.api.refuse("access-1");
    assert_eq!(here.get().await.unwrap(), StatusCode::UNAUTHORIZED);
    assert!(error_of(here.get().await).is_login_required());
    assert!(is_logged_out(&store));
    assert_eq!(here.endpoint.calls(), 1);
}

// S66: a log-out during a save ends in the tombstone, here and in other processes
#[tokio::test(start_paused = true)]
async fn a_clear_elsewhere_outlives_a_rotation_that_could_not_be_saved() {
    let store = GatedStore::new();
    let there = world(live(), &store.other());
    let endpoint = GatedEndpoint::new();
    let builder = Session::builder(endpoint.clone()).initial_tokens(live()).store(store.clone());
    let here = World::of(endpoint, builder.min_interval(Duration::ZERO).build());
    here.session.ready().await.unwrap();
    there.session.ready().await.unwrap();
    refresh_into(StoreCalls::Writes, StoreFault::Fail, &here.session, &here.endpoint, &store).await;
    // Each has the second turn, and the next refresh here is quicker than the task that saves.
    there.session.log_out().await.unwrap();
    assert_eq!(store.record().unwrap().turn(), 2);
    store.set_fault(StoreCalls::All, None);
    here.api.refuse("access-1");
    assert_eq!(here.get().await.unwrap(), StatusCode::UNAUTHORIZED);
    assert!(error_of(here.get().await).is_login_required());
    assert!(is_logged_out(&store));
    assert_eq!(here.endpoint.calls(), 1);
}
