//! The login endpoint: when it is called, by whom, and when it is not.

use std::time::Duration;

use futures::{FutureExt, future::join_all};
use http::StatusCode;
use tokio::time::sleep;
use tower_refresh::{
    ErrorKind, Event, Session, SessionBuilder, Tokens,
    endpoint::{EndpointError, TokenResponse},
    store::Record,
    testing::{Answer, GatedEndpoint, GatedStore, StoreCalls, StoreFault},
};

use crate::{
    stored::{is_logged_out, record, refresh_token, tombstone},
    support::{World, error_of, expired, live, settle},
};

fn over() -> EndpointError {
    EndpointError::invalid_grant("over").with_code("invalid_grant")
}

/// A token endpoint whose grant is over, and a login endpoint.
struct Robot {
    refresh: GatedEndpoint,
    login: GatedEndpoint,
    store: GatedStore,
}

impl Robot {
    fn new(store: GatedStore) -> Self {
        let robot = Self { refresh: GatedEndpoint::new(), login: GatedEndpoint::new(), store };
        robot.refresh.answer_always(|| over().into());
        robot.login.answer_always({
            let mut logins = 0;
            move || {
                logins += 1;
                let response = TokenResponse::new(format!("login-{logins}")).unwrap();
                let response = response.with_refresh_token(format!("refresh-login-{logins}"));
                response.unwrap().with_expires_in(Duration::from_secs(3600)).into()
            }
        });
        robot
    }

    /// One whose password is wrong.
    fn refused(store: GatedStore) -> Self {
        let robot = Self::new(store);
        robot.login.answer_always(|| over().into());
        robot
    }

    fn builder(&self) -> SessionBuilder {
        let builder = Session::builder(self.refresh.clone()).login_with(self.login.clone());
        builder.store(self.store.other())
    }

    fn process(&self) -> World {
        World::of(self.refresh.clone(), self.builder().build())
    }

    fn calls(&self) -> (usize, usize) {
        (self.refresh.calls(), self.login.calls())
    }
}

fn dead() -> GatedStore {
    GatedStore::holding(Record::from(Tokens::from_refresh_token("dead").unwrap()))
}

// S140: one login follows the end of the grant, for all callers and processes, saved first
#[tokio::test(start_paused = true)]
async fn without_any_tokens_there_is_one_login_and_no_refresh() {
    let robot = Robot::new(GatedStore::new());
    let worlds: Vec<_> = (0..8).map(|_| robot.process()).collect();
    for outcome in join_all(worlds.iter().map(World::get)).await {
        assert_eq!(outcome.unwrap(), StatusCode::OK);
    }
    assert_eq!(robot.calls(), (0, 1));
    assert_eq!(robot.login.presented(), [None]);
    assert_eq!(refresh_token(&robot.store).unwrap(), "refresh-login-1");

    // Without a store as well.
    let robot = Robot::new(GatedStore::new());
    let session = Session::builder(robot.refresh.clone()).login_with(robot.login.clone()).build();
    assert_eq!(session.token().await.unwrap().expose(), "login-1");
    assert_eq!(robot.calls(), (0, 1));
}

// S140: one login follows the end of the grant, for all callers and processes, saved first
#[tokio::test(start_paused = true)]
async fn eight_sessions_whose_grant_is_over_log_in_once_and_save_before_they_publish() {
    let robot = Robot::new(dead());
    let worlds: Vec<_> = (0..8).map(|_| robot.process()).collect();
    let hold = robot.login.hold();
    let mut events = worlds[0].session.events();
    let login = worlds[0].session.status();
    let requests: Vec<_> = worlds.iter().map(World::start).collect();
    robot.login.calls_reached(1).await;
    let lease = robot.store.record().unwrap();
    assert!(lease.lease().is_some(), "the login is made under the lease");
    hold.release();
    for request in requests {
        assert_eq!(request.await.unwrap().unwrap(), StatusCode::OK);
    }
    assert_eq!(robot.calls(), (1, 1));
    assert_eq!(refresh_token(&robot.store).unwrap(), "refresh-login-1");
    for world in &worlds {
        assert_eq!(world.api.tokens(), ["login-1"]);
    }
    assert_eq!(login.generation(), 0);
    let mut seen = Vec::new();
    while let Some(Some(event)) = events.next().now_or_never() {
        seen.push(event);
    }
    match &seen[..] {
        [Event::LoggedIn, Event::Refreshed { adopted: false, .. }] => {}
        // Another one of the eight was the first.
        [Event::Refreshed { adopted: true, .. }] => {}
        _ => panic!("{seen:?}"),
    }
}

// S140: one login follows the end of the grant, for all callers and processes, saved first
#[tokio::test(start_paused = true)]
async fn nobody_sees_a_token_of_a_login_that_is_not_in_the_store_yet() {
    let robot = Robot::new(dead());
    let session = Session::builder(robot.refresh.clone())
        .login_with(robot.login.clone())
        .store(robot.store.clone())
        .build();
    let mut events = session.events();
    let hold = robot.login.hold();
    let token = tokio::spawn({
        let session = session.clone();
        async move { session.token().await }
    });
    robot.login.calls_reached(1).await;
    let saving = robot.store.hold(StoreCalls::Writes);
    hold.release();
    settle().await;
    assert!(!session.status().is_live());
    saving.release();
    assert_eq!(token.await.unwrap().unwrap().expose(), "login-1");
    assert!(matches!(events.next().await, Some(Event::LoggedIn)));
    assert!(matches!(events.next().await, Some(Event::Refreshed { adopted: false, .. })));
}

// S140: one login follows the end of the grant, for all callers and processes, saved first
#[tokio::test(start_paused = true)]
async fn the_store_is_read_before_a_login_and_a_seed_comes_before_it() {
    let robot = Robot::new(dead());
    let world = robot.process();
    let hold = robot.refresh.hold();
    let request = world.start();
    robot.refresh.calls_reached(1).await;
    robot.store.put(record(1 << 40, "theirs", "refresh-theirs"));
    hold.release();
    assert_eq!(request.await.unwrap().unwrap(), StatusCode::OK);
    assert_eq!(robot.calls(), (1, 0), "another process has rotated");

    let robot = Robot::new(dead());
    robot.refresh.answer(over());
    robot.refresh.answer(Answer::Next);
    let seed = Tokens::from_refresh_token("new").unwrap();
    let world = World::of(robot.refresh.clone(), robot.builder().initial_tokens(seed).build());
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(robot.calls(), (2, 0));
}

// S83: the end of a grant is in the store with its date, and is no call for an hour
// S140: one login follows the end of the grant, for all callers and processes, saved first
#[tokio::test(start_paused = true)]
async fn a_refused_password_is_sent_once_per_store_and_hour() {
    for store in [GatedStore::new(), dead()] {
        let robot = Robot::refused(store);
        let worlds: Vec<_> = (0..8).map(|_| robot.process()).collect();
        for outcome in join_all(worlds.iter().map(World::get)).await {
            assert!(error_of(outcome).is_login_required());
        }
        for _ in 0..20 {
            // Restarted now and then.
            let restarted = robot.process();
            let error = error_of(restarted.get().await);
            assert!(error.is_login_required());
            assert!(error.to_string().contains("log_in"), "{error}");
            assert!(error_of(worlds[0].get().await).is_login_required());
            sleep(Duration::from_secs(60)).await;
        }
        assert_eq!(robot.login.calls(), 1);
        assert!(robot.refresh.calls() <= 1);

        // By hand, once the password is mended.
        robot.login.answer_always(|| Answer::Next);
        assert_eq!(worlds[1].session.log_in().await.unwrap().expose(), "access-1");
        assert_eq!(worlds[0].session.refresh().await.unwrap().expose(), "access-1");
    }
}

// S140: one login follows the end of the grant, for all callers and processes, saved first
#[tokio::test(start_paused = true)]
async fn a_login_that_is_not_refused_but_fails_is_tried_as_a_refresh_is() {
    let robot = Robot::new(dead());
    for _ in 0..2 {
        robot.login.answer(EndpointError::transient("busy"));
    }
    let world = robot.process();
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(robot.calls(), (1, 3));

    // After a whole round without one the dead refresh token is not presented again.
    let robot = Robot::new(dead());
    for _ in 0..3 {
        robot.login.answer(EndpointError::transient("busy"));
    }
    let world = robot.process();
    assert!(error_of(world.get().await).is_transient());
    sleep(Duration::from_secs(2)).await;
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(robot.calls(), (1, 4));

    // A fault of configuration has its own pace.
    let robot = Robot::new(dead());
    robot.login.answer_always(|| EndpointError::misconfigured("who?").into());
    let world = robot.process();
    for _ in 0..10 {
        assert_eq!(error_of(world.get().await).kind(), ErrorKind::Misconfigured);
        sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(robot.calls(), (1, 1));
}

// S140: one login follows the end of the grant, for all callers and processes, saved first
#[tokio::test(start_paused = true)]
async fn a_session_that_is_given_a_login_endpoint_after_the_end_logs_in_at_once() {
    let robot = Robot::new(dead());
    let without = Session::builder(robot.refresh.clone()).store(robot.store.other()).build();
    assert!(without.token().await.unwrap_err().is_login_required());
    let world = robot.process();
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(robot.calls(), (1, 1), "the dead refresh token was presented once");
}

// S140: one login follows the end of the grant, for all callers and processes, saved first
#[tokio::test(start_paused = true)]
async fn while_the_store_is_gone_nobody_logs_in_behind_the_others_back() {
    let robot = Robot::new(GatedStore::new());
    let store = robot.store.other();
    let session = Session::builder(robot.refresh.clone())
        .login_with(robot.login.clone())
        .store(store.clone())
        .build();
    store.set_fault(StoreCalls::All, StoreFault::Fail);
    assert_eq!(session.token().await.unwrap_err().kind(), ErrorKind::Store);
    assert_eq!(robot.calls(), (0, 0));
}

// S84: after a log-out `log_in` alone brings a machine user back, over the tombstone
#[tokio::test(start_paused = true)]
async fn after_a_log_out_only_a_login_by_hand_brings_a_robot_back_over_the_tombstone() {
    let robot = Robot::new(GatedStore::holding(record(3, "first", "refresh-first")));
    let (here, there) = (robot.process(), robot.process());
    assert_eq!(here.get().await.unwrap(), StatusCode::OK);
    assert_eq!(there.get().await.unwrap(), StatusCode::OK);
    here.session.log_out().await.unwrap();
    sleep(Duration::from_secs(3)).await;
    let restarted = robot.process();
    for world in [&here, &restarted] {
        assert!(error_of(world.get().await).is_login_required());
        assert!(world.session.refresh().await.unwrap_err().is_login_required());
    }
    assert!(is_logged_out(&robot.store));
    assert_eq!(robot.calls(), (0, 0), "nothing does so by itself");

    assert_eq!(restarted.session.log_in().await.unwrap().expose(), "login-1");
    assert_eq!(refresh_token(&robot.store).unwrap(), "refresh-login-1");
    sleep(Duration::from_secs(3)).await;
    for world in [&here, &restarted] {
        assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    }
    let _ = there.get().await;
    settle().await;
    assert_eq!(there.get().await.unwrap(), StatusCode::OK);
    assert_eq!(robot.calls(), (0, 1));
}

// S84: after a log-out `log_in` alone brings a machine user back, over the tombstone
#[tokio::test(start_paused = true)]
async fn a_login_by_hand_that_is_refused_leaves_the_log_out_and_is_sent_once() {
    let robot = Robot::refused(GatedStore::holding(tombstone(3)));
    let world = robot.process();
    let error = world.session.log_in().await.unwrap_err();
    assert!(error.is_login_required());
    assert_eq!(robot.calls(), (0, 1));
    assert!(is_logged_out(&robot.store));
    assert!(error_of(world.get().await).is_login_required());
    assert!(robot.process().session.token().await.unwrap_err().is_login_required());
    assert_eq!(robot.calls(), (0, 1));
}

// S84: after a log-out `log_in` alone brings a machine user back, over the tombstone
#[tokio::test(start_paused = true)]
async fn eight_logins_by_hand_at_once_are_one() {
    let robot = Robot::new(GatedStore::holding(tombstone(3)));
    let worlds: Vec<_> = (0..8).map(|_| robot.process()).collect();
    for token in join_all(worlds.iter().map(|world| world.session.log_in())).await {
        assert_eq!(token.unwrap().expose(), "login-1");
    }
    assert_eq!(robot.calls(), (0, 1));
}

// S84: after a log-out `log_in` alone brings a machine user back, over the tombstone
#[tokio::test(start_paused = true)]
async fn a_log_out_during_a_login_wins() {
    for elsewhere in [false, true] {
        let robot = Robot::new(GatedStore::holding(tombstone(3)));
        let (world, other) = (robot.process(), robot.process());
        let hold = robot.login.hold();
        let login = tokio::spawn({
            let session = world.session.clone();
            async move { session.log_in().await }
        });
        robot.login.calls_reached(1).await;
        let leaving = if elsewhere { other.session.clone() } else { world.session.clone() };
        leaving.log_out().await.unwrap();
        hold.release();
        assert!(login.await.unwrap().unwrap_err().is_login_required(), "{elsewhere}");
        settle().await;
        assert!(is_logged_out(&robot.store), "{elsewhere}");
        assert!(error_of(world.get().await).is_login_required());
        assert_eq!(robot.login.calls(), 1, "{elsewhere}");
    }
}

// S84: after a log-out `log_in` alone brings a machine user back, over the tombstone
#[tokio::test(start_paused = true)]
async fn a_login_by_hand_waits_for_the_refresh_under_way_and_is_an_error_without_an_endpoint() {
    let robot = Robot::new(GatedStore::holding(record(3, "first", "refresh-first")));
    robot.refresh.answer_always(|| Answer::Next);
    let world = robot.process();
    world.session.ready().await.unwrap();
    let hold = robot.refresh.hold();
    let refresh = tokio::spawn({
        let session = world.session.clone();
        async move { session.refresh().await }
    });
    robot.refresh.calls_reached(1).await;
    let login = tokio::spawn({
        let session = world.session.clone();
        async move { session.log_in().await }
    });
    settle().await;
    assert_eq!(robot.login.calls(), 0, "one call at a time");
    hold.release();
    assert_eq!(refresh.await.unwrap().unwrap().expose(), "access-1");
    assert_eq!(login.await.unwrap().unwrap().expose(), "login-1");

    let world = World::new(live());
    assert_eq!(world.session.log_in().await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(world.endpoint.calls(), 0);
}

// S140: one login follows the end of the grant, for all callers and processes, saved first
#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_anywhere_in_a_login_leaves_it_finished_and_saved() {
    let robot = Robot::new(dead());
    let world = robot.process();
    let hold = robot.login.hold();
    let request = world.start();
    robot.login.calls_reached(1).await;
    request.abort();
    hold.release();
    settle().await;
    sleep(Duration::from_millis(10)).await;
    assert_eq!(refresh_token(&robot.store).unwrap(), "refresh-login-1");
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(robot.calls(), (1, 1));
}

// S140: one login follows the end of the grant, for all callers and processes, saved first
#[tokio::test(start_paused = true)]
async fn a_lost_rotation_is_told_before_the_login_that_it_leads_to() {
    let robot = Robot::new(GatedStore::new());
    robot.refresh.answer(Answer::fail("connection reset"));
    let builder = robot.builder().initial_tokens(expired());
    let world = World::of(robot.refresh.clone(), builder.build());
    let mut events = world.session.events();
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(robot.calls(), (3, 1));
    let mut seen = Vec::new();
    while let Some(Some(event)) = events.next().now_or_never() {
        seen.push(event);
    }
    assert!(
        matches!(seen[..], [.., Event::RotationLost, Event::LoggedIn, Event::Refreshed { .. }]),
        "{seen:?}"
    );
}
