//! The eager mode: refreshes that no request has to ask for.

use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep};
use tower_refresh::{
    Session, Tokens,
    endpoint::{EndpointError, Spent},
    testing::{Answer, GatedEndpoint, GatedStore},
};

use crate::support::{World, expired, live, settle};

const LIFE: Duration = Duration::from_secs(3600);

/// A session that keeps its token fresh.
fn eager(tokens: Tokens) -> World {
    let endpoint = GatedEndpoint::new();
    let builder = Session::builder(endpoint.clone()).initial_tokens(tokens);
    World::of(endpoint, builder.keep_fresh(true).build())
}

// S20: a token near its end goes on serving while its successor is fetched
#[tokio::test(start_paused = true)]
async fn after_the_first_use_no_request_has_to_ask_for_a_refresh() {
    let world = eager(live());
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    for life in 1..=5 {
        let start = Instant::now();
        world.endpoint.calls_reached(life).await;
        let took = start.elapsed();
        // A minute before the token expires, less a random part of up to a half.
        assert!(took >= LIFE - Duration::from_secs(65) && took < LIFE, "{took:?}");
        world.endpoint.idle().await;
        settle().await;
        assert_eq!(world.session.token().await.unwrap().generation(), 1 + life as u64);
    }
    assert_eq!(world.endpoint.max_in_flight(), 1);
}

#[tokio::test(start_paused = true)]
async fn at_no_time_is_there_no_live_token() {
    let world = eager(expired());
    world.endpoint.set_life(Duration::from_secs(20));
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    for _ in 0..1000 {
        sleep(Duration::from_millis(100)).await;
        assert!(world.session.status().is_live());
    }
    let calls = world.endpoint.calls();
    assert!((5..=7).contains(&calls), "{calls} in 100 s");
}

#[tokio::test(start_paused = true)]
async fn before_the_first_use_nothing_starts() {
    for tokens in [live(), expired(), Tokens::default()] {
        let world = eager(tokens);
        sleep(LIFE * 3).await;
        assert_eq!(world.endpoint.calls(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn unless_asked_for_nobody_refreshes_between_requests() {
    let world = World::new(live());
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    sleep(LIFE * 3).await;
    assert_eq!(world.endpoint.calls(), 0);
}

// S5: an opaque token without a stated end serves until it is refused
#[tokio::test(start_paused = true)]
async fn a_token_of_which_nothing_says_when_it_expires_is_left_alone() {
    let world = eager(Tokens::new("opaque").unwrap().with_refresh_token("refresh-0").unwrap());
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    sleep(LIFE * 100).await;
    assert_eq!(world.endpoint.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn keep_fresh_ends_with_the_last_clone_of_the_session() {
    let world = eager(live());
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    let clone = world.session.clone();
    let endpoint = world.endpoint.clone();
    drop(world);
    endpoint.calls_reached(1).await;
    endpoint.idle().await;
    settle().await;
    drop(clone);
    sleep(LIFE * 3).await;
    assert_eq!(endpoint.calls(), 1);
}

// S61: `close` waits for the refresh and for what is unsaved; afterwards nothing starts
#[tokio::test(start_paused = true)]
async fn keep_fresh_ends_when_the_session_is_closed() {
    let world = eager(live());
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    world.session.close().await.unwrap();
    sleep(LIFE * 3).await;
    assert_eq!(world.endpoint.calls(), 0);
}

// S36: a transient failure takes no live token away
#[tokio::test(start_paused = true)]
async fn keep_fresh_goes_on_after_failures_and_keeps_the_pauses() {
    let world = eager(live());
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    let down = || Answer::from(EndpointError::transient("down").with_spent(Spent::No));
    world.endpoint.answer_always(down);
    sleep(LIFE + Duration::from_secs(600)).await;
    let calls = world.endpoint.calls();
    // Three attempts a round, and pauses of up to half a minute with full jitter.
    assert!((3 * 15..3 * 100).contains(&calls), "{calls} in about 11 minutes");
    assert!(!world.session.status().is_live());
    world.endpoint.answer_always(|| Answer::Next);
    sleep(Duration::from_secs(40)).await;
    assert!(world.session.status().is_live());
}

// S34: when the grant is over there are no calls until tokens are set, and a live token serves on
#[tokio::test(start_paused = true)]
async fn after_the_end_of_the_grant_it_waits_for_a_login() {
    let world = eager(live());
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    world.endpoint.answer(EndpointError::invalid_grant("over").with_code("invalid_grant"));
    sleep(LIFE * 3).await;
    assert_eq!(world.endpoint.calls(), 1);
    world.session.set_tokens(live()).await.unwrap();
    sleep(LIFE).await;
    assert_eq!(world.endpoint.calls(), 2);
    assert!(world.session.status().is_live());
}

// S40: what is set or cleared during a refresh wins
#[tokio::test(start_paused = true)]
async fn after_a_log_out_it_waits_for_a_login() {
    let world = eager(live());
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    world.session.log_out().await.unwrap();
    sleep(LIFE * 3).await;
    assert_eq!(world.endpoint.calls(), 0);
    world.session.set_tokens(live()).await.unwrap();
    sleep(LIFE).await;
    assert_eq!(world.endpoint.calls(), 1);
}

// S46: processes share one rotating refresh token without a re-use: the lease is in the record
#[tokio::test(start_paused = true)]
async fn of_several_over_one_store_one_refreshes_for_all() {
    let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
    let sessions: Vec<_> = (0..4)
        .map(|_| {
            let builder = Session::builder(endpoint.clone()).initial_tokens(live());
            builder.store(store.other()).keep_fresh(true).build()
        })
        .collect();
    for session in &sessions {
        session.ready().await.unwrap();
    }
    sleep(LIFE * 3).await;
    let calls = endpoint.calls();
    assert!(calls == 3, "{calls} in three lives");
    assert!(sessions.iter().all(|session| session.status().is_live()));
}
