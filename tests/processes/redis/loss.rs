//! What is lost in Redis is put back by whoever has it. No refresh token is spent twice for as
//! long as the newest holder and the store do not die together.

use std::time::Duration;

use futures::future::join;
use tokio::time::{sleep, timeout};
use tower_refresh::{
    Session,
    store::{SaveOutcome, TokenStore},
    testing::AuthServer,
};

use super::support::{access_token, auth_server, eventually, two, without_lease};
use crate::server::RedisServer;

/// Two sessions, of which the second has not heard of what the first got last.
async fn ahead_and_behind(server: &AuthServer, redis: &RedisServer) -> (Session, Session) {
    let (ahead, behind) = two(server, redis).await;
    ahead.refresh().await.unwrap();
    ahead.refresh().await.unwrap();
    (ahead, behind)
}

/// Both go on, whoever comes first, without a person and without a token that is spent twice.
async fn both_recover(server: &AuthServer, redis: &RedisServer, ahead: &Session, behind: &Session) {
    let (a, b) = join(
        eventually(async || ahead.refresh().await),
        eventually(async || behind.refresh().await),
    )
    .await;
    drop((a, b));
    for session in [ahead, behind] {
        eventually(async || session.refresh().await).await;
        let stored = redis.store().load().await.unwrap().unwrap();
        let stored = stored.tokens().unwrap().access_token().unwrap().expose().to_owned();
        assert_eq!(stored, access_token(session));
    }
    let counts = server.counts();
    assert_eq!((counts.reuses, counts.rejected), (0, 0), "{counts:?}");
}

#[tokio::test]
async fn a_server_that_comes_back_with_its_data_is_gone_on_with() {
    let (mut redis, server) = (RedisServer::durable().await, auth_server().await);
    let (ahead, behind) = ahead_and_behind(&server, &redis).await;
    redis.kill();
    redis.up().await;
    both_recover(&server, &redis, &ahead, &behind).await;
}

#[tokio::test]
async fn a_server_that_comes_back_empty_is_filled_again() {
    let (mut redis, server) = (RedisServer::start().await, auth_server().await);
    let (ahead, behind) = ahead_and_behind(&server, &redis).await;
    redis.kill();
    redis.up().await;
    both_recover(&server, &redis, &ahead, &behind).await;
}

#[tokio::test]
async fn a_database_that_was_wiped_is_filled_again() {
    let (redis, server) = (RedisServer::start().await, auth_server().await);
    let (ahead, behind) = ahead_and_behind(&server, &redis).await;
    let _: () = redis.run("FLUSHALL").await;
    both_recover(&server, &redis, &ahead, &behind).await;
}

#[tokio::test]
async fn of_a_wiped_database_the_one_behind_does_not_use_what_it_has_at_once() {
    let (redis, server) = (RedisServer::start().await, auth_server().await);
    let (ahead, behind) = ahead_and_behind(&server, &redis).await;
    let _: () = redis.run("FLUSHALL").await;
    let (late, first) = join(
        async {
            sleep(Duration::from_secs(1)).await;
            eventually(async || ahead.refresh().await).await
        },
        eventually(async || behind.refresh().await),
    )
    .await;
    drop((late, first));
    both_recover(&server, &redis, &ahead, &behind).await;
}

#[tokio::test]
async fn a_database_wiped_during_a_refresh_gets_what_it_brings() {
    let (redis, server) = (RedisServer::start().await, auth_server().await);
    let (ahead, behind) = ahead_and_behind(&server, &redis).await;
    let token = behind.token().await.unwrap();
    let calls = server.counts().calls;
    let hold = server.hold();
    let (refreshed, (), waited) = tokio::join!(
        ahead.refresh(),
        async {
            server.calls_reached(calls + 1).await;
            let _: () = redis.run("FLUSHALL").await;
            // Time enough for the other to find the store empty.
            sleep(Duration::from_secs(1)).await;
            hold.release();
        },
        async {
            server.calls_reached(calls + 1).await;
            eventually(async || behind.replace(token.id()).await).await
        },
    );
    drop((refreshed, waited));
    both_recover(&server, &redis, &ahead, &behind).await;
}

#[tokio::test]
async fn a_record_whose_lease_was_lost_is_leased_again_by_the_renewal() {
    let (redis, server) = (RedisServer::start().await, auth_server().await);
    let (a, b) = two(&server, &redis).await;
    let token = b.token().await.unwrap();
    let hold = server.hold();
    let (ours, theirs, ()) = tokio::join!(
        a.refresh(),
        async {
            server.calls_reached(1).await;
            // A failover has lost the last write. The other does not ask at this moment.
            let store = redis.store();
            let stored = store.load().await.unwrap().unwrap();
            let (version, free) = (stored.version(), without_lease(&stored));
            assert_eq!(store.save(free, Some(version)).await.unwrap(), SaveOutcome::Stored);
            while store.load().await.unwrap().unwrap().lease().is_none() {
                sleep(Duration::from_millis(10)).await;
            }
            b.replace(token.id()).await
        },
        async {
            server.calls_reached(1).await;
            // Time enough for the other to call, if it were to.
            let _ = timeout(Duration::from_secs(4), server.calls_reached(2)).await;
            hold.release();
        }
    );
    ours.unwrap();
    theirs.unwrap();
    assert_eq!(access_token(&a), access_token(&b));
    assert_eq!((server.counts().calls, server.counts().reuses), (1, 0));
}
