//! The end of a grant: it is in the record with its date, and what may still be tried after it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::sleep;
use tower_refresh::{
    ErrorKind, Event, Session, Tokens,
    endpoint::EndpointError,
    store::Record,
    testing::{Answer, GatedEndpoint, GatedStore, StoreCalls, StoreFault},
};

use crate::{
    stored::{refresh_token, tombstone},
    support::{World, error_of, expired, live},
};

fn over() -> EndpointError {
    EndpointError::invalid_grant("over").with_code("invalid_grant")
}

fn seed(refresh_token: &str) -> Tokens {
    Tokens::from_refresh_token(refresh_token).unwrap()
}

/// One process on this store.
fn process(endpoint: &GatedEndpoint, store: &GatedStore, seed: Tokens) -> World {
    let builder = Session::builder(endpoint.clone()).initial_tokens(seed);
    World::of(endpoint.clone(), builder.store(store.other()).build())
}

fn presented(endpoint: &GatedEndpoint) -> Vec<String> {
    let presented = endpoint.presented().into_iter();
    presented.map(|token| token.map_or("-".to_owned(), |token| token.expose().to_owned())).collect()
}

fn stored(store: &GatedStore) -> Value {
    serde_json::to_value(store.record().unwrap()).unwrap()
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// A store whose grant ended so long ago (before now, or after).
fn ended(ago: Duration, ahead: bool) -> GatedStore {
    let now = SystemTime::now();
    let at = if ahead { now + ago } else { now - ago };
    let record: Record = serde_json::from_value(json!({
        "format": "tower-refresh/1",
        "version": 7,
        "turn": 3,
        "tokens": { "refresh_token": "dead" },
        "ended": { "at": millis(at), "code": "invalid_grant" },
    }))
    .unwrap();
    GatedStore::holding(record)
}

// S83: the end of a grant is in the store with its date, and is no call for an hour
#[tokio::test(start_paused = true)]
async fn the_end_of_a_grant_is_in_the_record_with_its_date_and_no_other_process_calls() {
    let (endpoint, store) = (GatedEndpoint::new(), GatedStore::new());
    endpoint.answer_always(|| over().into());
    let before = SystemTime::now();
    let here = process(&endpoint, &store, expired());
    assert!(error_of(here.get().await).is_login_required());
    let end = stored(&store)["ended"].clone();
    assert_eq!(end["code"], "invalid_grant");
    let at = end["at"].as_u64().unwrap();
    assert!((millis(before)..=millis(SystemTime::now())).contains(&at), "{end}");
    assert!(store.record().unwrap().lease().is_none(), "nothing is called any more");

    // Eight others, and this one restarted: with the same seed and without any.
    let others: Vec<_> = (0..8).map(|_| process(&endpoint, &store, expired())).collect();
    for outcome in join_all(others.iter().map(World::get)).await {
        let error = error_of(outcome);
        assert!(error.is_login_required());
        assert!(error.to_string().contains("invalid_grant"), "{error}");
    }
    let restarted = process(&endpoint, &store, Tokens::default());
    for _ in 0..20 {
        assert!(error_of(restarted.get().await).is_login_required());
        sleep(Duration::from_secs(60)).await;
    }
    assert_eq!(endpoint.calls(), 1);
}

// S83: the end of a grant is in the store with its date, and is no call for an hour
#[tokio::test(start_paused = true)]
async fn an_hour_after_the_end_the_first_load_tries_once_and_renews_the_date() {
    for (ago, ahead, calls) in [
        (Duration::from_secs(3590), false, 0),
        (Duration::from_secs(3610), false, 1),
        (Duration::from_secs(3500), true, 0),
        // The clock of who wrote it was wrong: it does not count for years.
        (Duration::from_secs(86_400 * 3650), true, 1),
    ] {
        let (endpoint, store) = (GatedEndpoint::new(), ended(ago, ahead));
        endpoint.answer_always(|| over().into());
        for _ in 0..3 {
            let world = process(&endpoint, &store, Tokens::default());
            assert!(error_of(world.get().await).is_login_required());
            sleep(Duration::from_secs(10)).await;
            assert!(error_of(world.get().await).is_login_required());
        }
        assert_eq!(endpoint.calls(), calls, "{ago:?} {ahead}");
        let at = stored(&store)["ended"]["at"].as_u64().unwrap();
        let age = millis(SystemTime::now()).abs_diff(at);
        assert_eq!(age < 100_000, calls == 1, "{age} ms: the date is that of the last verdict");
    }
}

// S83: the end of a grant is in the store with its date, and is no call for an hour
// S77: after *login required* a refresh by hand makes one call, and its verdict counts
#[tokio::test(start_paused = true)]
async fn by_hand_and_with_new_tokens_it_goes_on_within_the_hour() {
    let (endpoint, store) = (GatedEndpoint::new(), ended(Duration::from_secs(60), false));
    let here = process(&endpoint, &store, Tokens::default());
    assert!(error_of(here.get().await).is_login_required());
    assert_eq!(endpoint.calls(), 0);
    endpoint.answer(over());
    assert!(here.session.refresh().await.unwrap_err().is_login_required());
    assert_eq!(endpoint.calls(), 1);
    let renewed = stored(&store)["ended"]["at"].as_u64().unwrap();
    assert!(millis(SystemTime::now()) - renewed < 50_000, "{renewed}");
    // A call that fails otherwise takes the end from nobody.
    endpoint.answer(EndpointError::misconfigured("who?"));
    assert_eq!(here.session.refresh().await.unwrap_err().kind(), ErrorKind::Misconfigured);
    assert!(stored(&store)["ended"].is_object());
    assert_eq!(here.session.refresh().await.unwrap().expose(), "access-1");
    assert!(stored(&store)["ended"].is_null(), "{}", stored(&store));
    assert!(!here.session.status().is_login_required());
    assert_eq!(here.get().await.unwrap(), StatusCode::OK);

    let (endpoint, store) = (GatedEndpoint::new(), ended(Duration::from_secs(60), false));
    let here = process(&endpoint, &store, Tokens::default());
    let there = process(&endpoint, &store, Tokens::default());
    assert!(error_of(there.get().await).is_login_required());
    here.session.set_tokens(live()).await.unwrap();
    assert!(stored(&store)["ended"].is_null());
    sleep(Duration::from_secs(3)).await;
    assert_eq!(there.get().await.unwrap(), StatusCode::OK);
    assert_eq!(endpoint.calls(), 0);
}

// S83: the end of a grant is in the store with its date, and is no call for an hour
#[tokio::test(start_paused = true)]
async fn an_end_that_the_store_does_not_take_is_saved_later() {
    let (endpoint, store) = (GatedEndpoint::new(), GatedStore::new());
    let session = Session::builder(endpoint.clone()).initial_tokens(expired());
    let here = World::of(endpoint.clone(), session.store(store.clone()).build());
    endpoint.answer_always(|| over().into());
    let hold = endpoint.hold();
    let request = here.start();
    endpoint.calls_reached(1).await;
    store.set_fault(StoreCalls::Writes, StoreFault::Fail);
    hold.release();
    assert!(error_of(request.await.unwrap()).is_login_required());
    assert!(stored(&store)["ended"].is_null());
    assert!(!here.session.status().is_unsaved(), "no token is at stake");
    store.set_fault(StoreCalls::All, None);
    here.session.close().await.unwrap();
    assert_eq!(stored(&store)["ended"]["code"], "invalid_grant");
    assert_eq!(endpoint.calls(), 1);
}

// S83: the end of a grant is in the store with its date, and is no call for an hour
#[tokio::test(start_paused = true)]
async fn a_token_that_the_api_refuses_is_not_sent_again_after_an_end_that_was_read() {
    let (endpoint, store) = (GatedEndpoint::new(), GatedStore::new());
    endpoint.answer_always(|| over().into());
    let (here, there) = (process(&endpoint, &store, live()), process(&endpoint, &store, live()));
    for world in [&here, &there] {
        world.api.refuse("seed");
        assert_eq!(world.get().await.unwrap(), StatusCode::UNAUTHORIZED);
        assert!(error_of(world.get().await).is_login_required());
    }
    assert_eq!((endpoint.calls(), there.api.seen().len()), (1, 1));
}

// S83: the end of a grant is in the store with its date, and is no call for an hour
#[tokio::test(start_paused = true)]
async fn the_status_says_since_when_a_login_is_required_and_why() {
    let (endpoint, store) = (GatedEndpoint::new(), ended(Duration::from_secs(600), false));
    let here = process(&endpoint, &store, Tokens::default());
    let mut events = here.session.events();
    assert_eq!(here.session.status().login_required_since(), None);
    // To look is no call.
    let status = here.session.load().await.unwrap();
    assert!(status.is_login_required() && !status.is_live());
    let since = status.login_required_since().unwrap();
    assert!(since.elapsed().unwrap() >= Duration::from_secs(600));
    assert!(status.error().unwrap().to_string().contains("invalid_grant"));
    let Some(Event::RefreshFailed { error, .. }) = events.next().await else { panic!("untold") };
    assert!(error.is_login_required());
    assert_eq!(endpoint.calls(), 0);

    let world = World::new(expired());
    let before = SystemTime::now();
    world.endpoint.answer_always(|| EndpointError::misconfigured("who?").into());
    assert!(world.get().await.is_err());
    let first = world.session.status().failing_since().unwrap();
    assert!(first >= before);
    sleep(Duration::from_secs(31)).await;
    assert!(world.get().await.is_err());
    let status = world.session.status();
    assert_eq!(status.failing_since(), Some(first), "since the first in a row");
    assert_eq!(status.error().unwrap().kind(), ErrorKind::Misconfigured);
    assert!(!status.is_login_required());
    world.endpoint.answer_always(|| Answer::Next);
    world.session.refresh().await.unwrap();
    let status = world.session.status();
    assert!(status.failing_since().is_none() && status.error().is_none());
}

// S78: a seed that the store has not seen is tried once the stored grant is over, and no other
// S83: the end of a grant is in the store with its date, and is no call for an hour
#[tokio::test(start_paused = true)]
async fn a_seed_that_the_store_has_not_seen_is_tried_once_the_stored_grant_is_over() {
    // The end was found out before the restart, or is found out now.
    for (store, expected) in [
        (ended(Duration::from_secs(60), false), vec!["new"]),
        (ended(Duration::from_secs(7200), false), vec!["new"]),
        (GatedStore::holding(Record::from(seed("dead"))), vec!["dead", "new"]),
    ] {
        let endpoint = GatedEndpoint::new();
        if expected.len() == 2 {
            endpoint.answer(over());
        }
        let worlds: Vec<_> = (0..8).map(|_| process(&endpoint, &store, seed("new"))).collect();
        for outcome in join_all(worlds.iter().map(World::get)).await {
            assert_eq!(outcome.unwrap(), StatusCode::OK);
        }
        assert_eq!(presented(&endpoint), expected);
        assert_eq!(refresh_token(&store).unwrap(), "refresh-1");
        assert_eq!(stored(&store)["seeds"], json!(["new"]));
        assert!(stored(&store)["ended"].is_null());
    }
}

// S78: a seed that the store has not seen is tried once the stored grant is over, and no other
#[tokio::test(start_paused = true)]
async fn a_look_at_the_store_before_the_first_request_keeps_the_seed() {
    let (endpoint, store) = (GatedEndpoint::new(), ended(Duration::from_secs(60), false));
    let world = process(&endpoint, &store, seed("new"));
    let status = world.session.load().await.unwrap();
    assert!(!status.is_login_required(), "there is something to try");
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(presented(&endpoint), ["new"]);
}

// S78: a seed that the store has not seen is tried once the stored grant is over, and no other
#[tokio::test(start_paused = true)]
async fn a_seed_that_the_store_has_seen_is_not_presented_again_and_the_error_says_so() {
    let (endpoint, store) = (GatedEndpoint::new(), GatedStore::new());
    let first = process(&endpoint, &store, seed("seed-0"));
    assert_eq!(first.get().await.unwrap(), StatusCode::OK);
    endpoint.answer_always(|| over().into());
    let second = process(&endpoint, &store, seed("seed-0"));
    second.session.ready().await.unwrap();
    let error = second.session.refresh().await.unwrap_err();
    assert!(error.is_login_required());
    for hint in ["initial tokens were not used", "set_tokens"] {
        assert!(error.to_string().contains(hint), "{error}");
    }
    assert_eq!(presented(&endpoint), ["seed-0", "refresh-1"]);
    // Nor by who finds the end in the record.
    let third = process(&endpoint, &store, seed("seed-0"));
    let status = third.session.load().await.unwrap();
    let error = status.error().unwrap();
    assert!(error.to_string().contains("initial tokens were not used"), "{error}");
    assert_eq!(endpoint.calls(), 2);
}

// S78: a seed that the store has not seen is tried once the stored grant is over, and no other
#[tokio::test(start_paused = true)]
async fn a_seed_that_is_what_is_stored_counts_as_seen_although_it_was_stored_by_other_means() {
    let (endpoint, store) =
        (GatedEndpoint::new(), GatedStore::holding(Record::from(seed("column"))));
    let first = process(&endpoint, &store, seed("column"));
    assert_eq!(first.get().await.unwrap(), StatusCode::OK);
    endpoint.answer_always(|| over().into());
    let second = process(&endpoint, &store, seed("column"));
    second.session.ready().await.unwrap();
    assert!(second.session.refresh().await.unwrap_err().is_login_required());
    assert_eq!(presented(&endpoint), ["column", "refresh-1"]);
}

// S78: a seed that the store has not seen is tried once the stored grant is over, and no other
#[tokio::test(start_paused = true)]
async fn the_last_four_seeds_are_remembered() {
    let (endpoint, store) = (GatedEndpoint::new(), GatedStore::new());
    for number in 0..6 {
        // Each is tried after the one before has died.
        if number > 0 {
            endpoint.answer(over());
        }
        let world = process(&endpoint, &store, seed(&format!("seed-{number}")));
        world.session.load().await.unwrap();
        world.session.refresh().await.unwrap();
    }
    assert_eq!(stored(&store)["seeds"], json!(["seed-2", "seed-3", "seed-4", "seed-5"]));
}

// S78: a seed that the store has not seen is tried once the stored grant is over, and no other
#[tokio::test(start_paused = true)]
async fn no_seed_is_used_over_a_log_out() {
    let (endpoint, store) = (GatedEndpoint::new(), GatedStore::holding(tombstone(4)));
    let world = process(&endpoint, &store, seed("new"));
    let error = error_of(world.get().await);
    assert!(error.is_login_required());
    assert!(error.to_string().contains("set_tokens"), "{error}");
    assert!(error.to_string().contains("initial tokens"), "{error}");
    assert!(world.session.refresh().await.unwrap_err().is_login_required());

    // One that waits in memory goes with the log-out, for other processes too.
    let store = GatedStore::holding(Record::from(seed("stored")));
    let world = process(&endpoint, &store, seed("new"));
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    world.session.log_out().await.unwrap();
    world.session.set_tokens(seed("by-hand")).await.unwrap();
    let other = process(&endpoint, &store, seed("new"));
    endpoint.answer_always(|| over().into());
    assert!(error_of(world.get().await).is_login_required());
    assert!(error_of(other.get().await).is_login_required());
    assert_eq!(presented(&endpoint), ["stored", "by-hand"]);
}

// S83: the end of a grant is in the store with its date, and is no call for an hour
// S77: after *login required* a refresh by hand makes one call, and its verdict counts
#[tokio::test(start_paused = true)]
async fn the_very_tokens_that_ended_can_be_set_again() {
    for lost in [false, true] {
        let (endpoint, store) = (GatedEndpoint::new(), GatedStore::new());
        let (here, there) =
            (process(&endpoint, &store, expired()), process(&endpoint, &store, expired()));
        if lost {
            endpoint.answer(Answer::fail("connection reset"));
            endpoint.answer(over());
        }
        endpoint.answer(over());
        assert!(error_of(here.get().await).is_login_required());
        assert!(error_of(there.get().await).is_login_required());
        here.session.set_tokens(live()).await.unwrap();
        assert!(stored(&store)["ended"].is_null(), "{}", stored(&store));
        assert_eq!(here.get().await.unwrap(), StatusCode::OK);
        sleep(Duration::from_secs(3)).await;
        assert_eq!(there.get().await.unwrap(), StatusCode::OK);
    }
}
