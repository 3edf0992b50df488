//! Redis is down, hangs, and comes back.

use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep, timeout};
use tower_refresh::{ErrorKind, Event, Session, store::TokenStore, testing::AuthServer};

use super::support::{access_token, auth_server, builder, client, eventually, get, session};
use crate::server::{RECORD, RedisServer, store};

async fn short_lived() -> AuthServer {
    let server = AuthServer::builder().rotate(true).access_life(Duration::from_secs(3));
    server.start().await.unwrap()
}

/// The session works for as long as its token lives, then fails by the store's fault, and comes
/// back with the store.
async fn endures(server: &AuthServer, session: &Session, back: impl AsyncFnOnce()) {
    let (client, api) = (client(session), server.api_url());
    let before = server.counts().calls;
    let expires_at = session.tokens().unwrap().expires_at().unwrap();
    let margin = Duration::from_millis(500);
    while expires_at.duration_since(std::time::SystemTime::now()).is_ok_and(|left| left > margin) {
        let asked = Instant::now();
        assert_eq!(get(&client, &api).await.unwrap(), StatusCode::OK);
        assert!(asked.elapsed() < margin, "the store held a request up");
        sleep(Duration::from_millis(20)).await;
    }
    sleep(margin * 2).await;
    let error = session.token().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    assert!(error.is_transient());
    assert_eq!(server.counts().calls, before, "no refresh behind the others' back");

    back().await;
    let status = eventually(async || get(&client, &api).await).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((server.counts().reuses, server.counts().rejected), (0, 0));
}

// S49: while the store is gone a live token serves, and an expired one is not refreshed
#[tokio::test]
async fn a_frozen_server_costs_nothing_while_the_token_lives() {
    let (redis, server) = (RedisServer::start().await, short_lived().await);
    let session = session(&server, &server.log_in(), redis.store());
    session.refresh().await.unwrap();
    redis.freeze();
    endures(&server, &session, async || redis.thaw()).await;
}

// S49: while the store is gone a live token serves, and an expired one is not refreshed
#[tokio::test]
async fn a_paused_server_costs_nothing_while_the_token_lives() {
    let (redis, server) = (RedisServer::start().await, short_lived().await);
    let session = session(&server, &server.log_in(), redis.store());
    session.refresh().await.unwrap();
    let _: () = redis.run("CLIENT PAUSE 5000").await;
    endures(&server, &session, async || {}).await;
}

// S49: while the store is gone a live token serves, and an expired one is not refreshed
#[tokio::test]
async fn a_killed_server_costs_nothing_while_the_token_lives() {
    let (mut redis, server) = (RedisServer::durable().await, short_lived().await);
    let session = session(&server, &server.log_in(), redis.store());
    session.refresh().await.unwrap();
    redis.kill();
    endures(&server, &session, async || redis.up().await).await;
}

// S49: while the store is gone a live token serves, and an expired one is not refreshed
#[tokio::test]
async fn a_program_that_asks_for_it_refreshes_without_redis_and_saves_later() {
    let (mut redis, server) = (RedisServer::durable().await, short_lived().await);
    let login = server.log_in();
    let session = builder(&server, &login).store(redis.store()).refresh_without_store(true).build();
    session.refresh().await.unwrap();
    redis.kill();
    session.refresh().await.unwrap();
    assert!(session.status().is_unsaved());
    redis.up().await;
    session.close().await.unwrap();
    let stored = redis.store().load().await.unwrap().unwrap();
    assert_eq!(stored.tokens().unwrap().access_token().unwrap().expose(), access_token(&session));
}

// S43: tokens that cannot be saved are used, and saved later
#[tokio::test]
async fn a_save_that_finds_no_server_is_made_up_for() {
    let (mut redis, server) = (RedisServer::durable().await, auth_server().await);
    let session = session(&server, &server.log_in(), redis.store());
    session.ready().await.unwrap();
    let mut events = session.events();
    let hold = server.hold();
    let (refreshed, ()) = futures::future::join(session.refresh(), async {
        server.calls_reached(1).await;
        redis.kill();
        hold.release();
    })
    .await;
    refreshed.unwrap();
    assert!(session.status().is_unsaved());
    redis.up().await;
    let saved = async { while !matches!(events.next().await.unwrap(), Event::Saved) {} };
    timeout(Duration::from_secs(20), saved).await.unwrap();
    let stored = redis.store().load().await.unwrap().unwrap();
    assert_eq!(stored.tokens().unwrap().access_token().unwrap().expose(), access_token(&session));
}

// S49: while the store is gone a live token serves, and an expired one is not refreshed
#[tokio::test]
async fn a_start_without_redis_fails_early_and_recovers() {
    let (mut redis, server) = (RedisServer::start().await, auth_server().await);
    redis.kill();
    let session = session(&server, &server.log_in(), redis.store());
    assert_eq!(session.ready().await.unwrap_err().kind(), ErrorKind::Store);
    redis.up().await;
    eventually(async || session.ready().await).await;
    assert_eq!(server.counts().calls, 0);
}

#[tokio::test]
async fn what_is_wrong_with_redis_is_said_with_what_to_do() {
    let (redis, server) = (RedisServer::start().await, auth_server().await);
    let login = server.log_in();
    let complaint = async |store| {
        let error = session(&server, &login, store).ready().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Store);
        let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
        assert!(text.contains("the token store cannot be used"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        text
    };
    let _: () = redis.run(&format!("SET {RECORD} nonsense")).await;
    let taken = complaint(redis.store()).await;
    assert!(taken.contains(RECORD) && taken.contains("another name or prefix"), "{taken}");
    let _: () = redis.run(&format!("DEL {RECORD}")).await;

    let _: () = redis.run("ACL SETUSER billing on >password ~* &* +@all -hmget").await;
    let url = |user: &str| redis.url().replace("redis://", &format!("redis://{user}@"));
    let rights = complaint(store(&url("billing:password"))).await;
    assert!(rights.contains("the rights that the documentation of `RedisStore` lists"), "{rights}");

    let gone = redis.url();
    drop(redis);
    let gone = complaint(store(&gone)).await;
    assert!(gone.contains(" up?"), "{gone}");
}
