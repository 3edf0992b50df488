//! What leaves the memory of a set, and what does not.

use std::time::Duration;

use tokio::time::sleep;
use tower_refresh::{
    Sessions,
    endpoint::{EndpointError, Spent},
    testing::Answer,
};

use crate::support::{Counted, Endpoints, login, secs, settle, users};

const IDLE: Duration = Duration::from_secs(60);

/// Longer than a session may be idle, and the sweep that comes after.
const LONG: Duration = Duration::from_secs(120);

/// Ann, logged in and with a token.
async fn ann(sessions: &Sessions<String>) {
    let ann = sessions.get(&"ann".to_owned());
    ann.set_tokens(login("ann")).await.unwrap();
    ann.token().await.unwrap();
    settle().await;
}

// S220: an idle session is forgotten, and its next use reads the store
#[tokio::test(start_paused = true)]
async fn an_idle_session_is_forgotten_and_its_next_use_reads_the_store() {
    let (endpoints, store) = (Endpoints::default(), Counted::new());
    let sessions = endpoints.sessions().store(store.clone()).idle(IDLE).build();
    ann(&sessions).await;
    for _ in 0..10 {
        sleep(IDLE / 2).await;
        sessions.get(&"ann".to_owned());
    }
    assert_eq!(users(&sessions), ["ann"], "it was used");
    sleep(LONG).await;
    assert!(sessions.is_empty());

    let token = sessions.get(&"ann".to_owned()).token().await.unwrap();
    assert_eq!((token.expose(), endpoints.calls()), ("ann.access-1", 1));
}

// S221: what is held, under way or not over is not forgotten
#[tokio::test(start_paused = true)]
async fn what_is_held_or_under_way_is_not_forgotten() {
    let (endpoints, store) = (Endpoints::default(), Counted::new());
    let sessions = endpoints.sessions().store(store.clone()).idle(IDLE).build();
    let user = |name: &str| sessions.get(&name.to_owned());

    // Held by a variable.
    ann(&sessions).await;
    let held = user("ann");
    sleep(LONG).await;
    assert_eq!(users(&sessions), ["ann"]);
    drop(held);
    sleep(LONG).await;
    assert!(sessions.is_empty());

    // In flight, with no caller left.
    let hold = endpoints.at("ben").hold();
    user("ben").set_tokens(login("ben")).await.unwrap();
    let ben = user("ben");
    let caller = tokio::spawn(async move { ben.token().await });
    endpoints.at("ben").calls_reached(1).await;
    caller.abort();
    sleep(secs(30)).await;
    drop(hold);
    settle().await;
    assert_eq!(user("ben").token().await.unwrap().expose(), "ben.access-1");
    assert_eq!(endpoints.at("ben").calls(), 1);
    sleep(LONG).await;
    assert!(sessions.is_empty());

    // Not saved.
    store.fail(true);
    user("cleo").set_tokens(login("cleo")).await.unwrap_err();
    sleep(LONG).await;
    assert_eq!((users(&sessions), sessions.status().unsaved()), (vec!["cleo".to_owned()], 1));
    store.fail(false);
    sleep(LONG).await;
    assert_eq!((users(&sessions), sessions.status().unsaved()), (vec![], 0));
    assert_eq!(user("cleo").token().await.unwrap().expose(), "cleo.access-1");
    sleep(LONG).await;
    assert!(sessions.is_empty());
}

// S221: what is held, under way or not over is not forgotten
#[tokio::test(start_paused = true)]
async fn a_pause_and_a_doubt_are_not_forgotten() {
    let (endpoints, store) = (Endpoints::default(), Counted::new());
    let sessions = endpoints.sessions().store(store.clone()).idle(IDLE).build();
    let user = |name: &str| sessions.get(&name.to_owned());

    // A server that wants to be left alone for five minutes.
    let asked = EndpointError::transient("busy").with_spent(Spent::No);
    let asked = asked.with_retry_after(secs(300));
    endpoints.at("ann").answer(asked);
    user("ann").set_tokens(login("ann")).await.unwrap();
    user("ann").token().await.unwrap_err();
    sleep(LONG).await;
    user("ann").token().await.unwrap_err();
    assert_eq!((users(&sessions), endpoints.calls()), (vec!["ann".to_owned()], 1));
    sleep(secs(300)).await;
    assert!(sessions.is_empty());

    // A call whose answer was lost: an `invalid_grant` is confirmed before it counts.
    endpoints.at("ben").answer(Answer::fail("lost"));
    let lost = EndpointError::transient("lost").with_retry_after(secs(20));
    endpoints.at("ben").answer(lost);
    user("ben").set_tokens(login("ben")).await.unwrap();
    user("ben").token().await.unwrap_err();
    sleep(LONG).await;
    assert_eq!(users(&sessions), ["ben"]);
}

// S222: without a store, what exists nowhere else stays
#[tokio::test(start_paused = true)]
async fn without_a_store_what_exists_nowhere_else_stays() {
    let endpoints = Endpoints::default();
    let sessions = endpoints
        .sessions()
        .idle(IDLE)
        .initial_tokens(|user| async move { Ok(Some(login(&user))) });
    let sessions = sessions.build();
    // Its server keeps the refresh token: it is still the one that was given.
    endpoints.at("kept").answer_always(|| {
        let response = tower_refresh::endpoint::TokenResponse::new("kept.access").unwrap();
        Answer::Tokens(response.with_expires_in(secs(30)))
    });
    for user in ["kept", "rotated", "out"] {
        sessions.get(&user.to_owned()).token().await.unwrap();
    }
    sessions.get(&"out".to_owned()).log_out().await.unwrap();
    sleep(LONG).await;
    assert_eq!(users(&sessions), ["out", "rotated"]);
    let error = sessions.get(&"out".to_owned()).token().await.unwrap_err();
    assert!(error.is_login_required(), "the log-out stands");
    sleep(secs(2 * 3600)).await;
    assert_eq!(users(&sessions), ["out", "rotated"], "nor when its token has expired");
    sessions.get(&"kept".to_owned()).token().await.unwrap();
}

// S222: without a store, what exists nowhere else stays
#[tokio::test(start_paused = true)]
async fn without_a_store_a_live_token_is_not_thrown_away() {
    let endpoints = Endpoints::default();
    endpoints.at("ann").answer_always(|| {
        let response = tower_refresh::endpoint::TokenResponse::new("token").unwrap();
        Answer::Tokens(response.with_expires_in(secs(600)))
    });
    let sessions = endpoints.sessions().idle(IDLE).build();
    sessions.get(&"ann".to_owned()).token().await.unwrap();
    sleep(secs(500)).await;
    assert_eq!(users(&sessions), ["ann"]);
    sleep(secs(200)).await;
    assert!(sessions.is_empty());
}

// S223: a set keeps to its capacity, and keeps the sessions that are used
#[tokio::test(start_paused = true)]
async fn ten_thousand_users_pass_through_a_set_of_a_hundred() {
    let (endpoints, store) = (Endpoints::default(), Counted::new());
    let sessions = endpoints.sessions().store(store.clone()).capacity(100).build();
    let hot: Vec<_> = (0..10).map(|user| format!("hot-{user}")).collect();
    for user in &hot {
        sessions.get(user).set_tokens(login(user)).await.unwrap();
        sessions.get(user).token().await.unwrap();
    }
    let calls = endpoints.calls();
    // No pause and no `min_interval` is to keep them.
    sleep(secs(2)).await;
    for number in 0..10_000 {
        sessions.get(&format!("user-{number}"));
        for user in &hot {
            sessions.get(user);
        }
        assert!(sessions.len() <= 100, "{}", sessions.len());
    }
    let resident = users(&sessions);
    assert!(hot.iter().all(|user| resident.contains(user)), "{resident:?}");
    assert_eq!(endpoints.calls(), calls);
}

// S224: a set whose sessions are all held grows, and shrinks again
#[tokio::test(start_paused = true)]
async fn a_set_whose_sessions_are_all_held_grows_and_shrinks_again() {
    let store = Counted::new();
    let sessions = Endpoints::default().sessions().store(store).capacity(64).build();
    let held: Vec<_> = (0..200).map(|user| sessions.get(&format!("held-{user}"))).collect();
    assert_eq!(sessions.len(), 200);
    drop(held);
    for user in 0..64 {
        sessions.get(&format!("user-{user}"));
    }
    assert!(sessions.len() <= 64, "{}", sessions.len());
}

// S227: sessions outlive their set, and its task does not
#[tokio::test(start_paused = true)]
async fn sessions_outlive_the_set_that_they_came_from() {
    let (endpoints, store) = (Endpoints::default(), Counted::new());
    let sessions = endpoints.sessions().store(store.clone()).build();
    let ann = sessions.get(&"ann".to_owned());
    ann.set_tokens(login("ann")).await.unwrap();
    settle().await;
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(tasks, 1, "the sweep");
    drop(sessions);
    settle().await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);

    // What it gets is saved, also if it is dropped before.
    let hold = endpoints.at("ann").hold();
    let caller = tokio::spawn({
        let ann = ann.clone();
        async move { ann.token().await }
    });
    endpoints.at("ann").calls_reached(1).await;
    store.fail(true);
    drop(ann);
    drop(hold);
    assert_eq!(caller.await.unwrap().unwrap().expose(), "ann.access-1");
    sleep(secs(30)).await;
    store.fail(false);
    sleep(secs(30)).await;
    let again = endpoints.sessions().store(store.clone()).build();
    assert_eq!(again.get(&"ann".to_owned()).token().await.unwrap().expose(), "ann.access-1");
    assert_eq!(endpoints.calls(), 1);
}
