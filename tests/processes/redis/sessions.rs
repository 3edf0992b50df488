//! Sessions of a fleet: they share a store in Redis and a server that revokes on re-use.

use std::{collections::HashSet, time::Duration};

use futures::future::{join, join_all};
use http::{Response, StatusCode};
use tokio::time::{Instant, sleep};
use tower_refresh::{
    store::{Lease, SaveOutcome, TokenStore},
    testing::{AuthServer, Fault},
};

use super::support::{
    access_token, auth_server, builder, client, eventually, get, leased, record, session, two,
};
use crate::server::RedisServer;

// S44: a newer token in the store is adopted without a call
#[tokio::test]
async fn what_another_process_has_refreshed_is_adopted_without_a_call() {
    let (redis, server) = (RedisServer::start().await, auth_server().await);
    let (a, b) = two(&server, &redis).await;
    let old = a.token().await.unwrap();
    b.refresh().await.unwrap();
    assert_ne!(access_token(&a), access_token(&b));

    a.replace(old.id()).await.unwrap();
    assert_eq!(access_token(&a), access_token(&b));
    assert_eq!((server.counts().calls, server.counts().reuses), (1, 0));
    // It goes on from there, and not from the seed.
    a.refresh().await.unwrap();
    b.refresh().await.unwrap();
    assert_eq!((server.counts().rejected, server.counts().reuses), (0, 0));
}

// S45: `invalid_grant` because another process was faster ends no login
#[tokio::test]
async fn the_end_of_a_grant_that_another_process_has_renewed_logs_nobody_out() {
    let (redis, server) = (RedisServer::start().await, auth_server().await);
    let login = server.log_in();
    let a = session(&server, &login, redis.store());
    a.ready().await.unwrap();
    let denied = Response::builder().status(StatusCode::UNAUTHORIZED);
    server.fault(Fault::answer(denied.body(r#"{"detail":"invalid"}"#.into()).unwrap()));
    let hold = server.hold();
    let theirs = server.log_in();
    let (token, ()) = join(a.refresh(), async {
        server.calls_reached(1).await;
        let store = redis.store();
        let stored = store.load().await.unwrap().unwrap().version();
        let saved = store.save(record(stored + 1, Some(&theirs)), Some(stored)).await;
        assert_eq!(saved.unwrap(), SaveOutcome::Stored);
        hold.release();
    })
    .await;
    token.unwrap();
    assert_eq!(access_token(&a), theirs.access_token);
    assert_eq!(server.counts().calls, 1);
}

// S23: the second refusal is the answer
// S44: a newer token in the store is adopted without a call
#[tokio::test]
async fn of_eight_who_need_a_token_at_once_one_calls() {
    let (redis, server) = (RedisServer::start().await, auth_server().await);
    let login = server.log_in();
    let sessions: Vec<_> = (0..8).map(|_| session(&server, &login, redis.store())).collect();
    let tokens = join_all(sessions.iter().map(|session| session.token())).await;
    let hold = server.hold();
    let refused = sessions.iter().zip(&tokens);
    let refused = join_all(
        refused.map(|(session, token)| session.replace(token.as_ref().expect("a live token").id())),
    );
    let (refused, ()) = join(refused, async {
        server.calls_reached(1).await;
        hold.release();
    })
    .await;
    refused.into_iter().for_each(|token| drop(token.unwrap()));
    let token = access_token(&sessions[0]);
    assert!(sessions.iter().all(|session| access_token(session) == token));
    assert_eq!((server.counts().calls, server.counts().refreshes), (1, 1));
}

// S47: when the holder of the lease dies, another takes over within its life
#[tokio::test]
async fn when_the_holder_of_the_lease_is_gone_another_takes_over_when_it_ends() {
    let (redis, server) = (RedisServer::start().await, auth_server().await);
    let login = server.log_in();
    let b = session(&server, &login, redis.store());
    b.ready().await.unwrap();
    // A process that leased the record and was killed.
    let (gone, life) = (redis.store(), Duration::from_secs(2));
    let stored = gone.load().await.unwrap().unwrap();
    let (version, leased) = (stored.version(), leased(&stored, life));
    assert_eq!(gone.save(leased, Some(version)).await.unwrap(), SaveOutcome::Stored);
    drop(gone);
    let start = Instant::now();
    b.refresh().await.unwrap();
    assert!(start.elapsed() >= life, "not before it ended");
    assert!(start.elapsed() < life * 2, "soon after, and not after the life of its own lease");
    assert_eq!(server.counts().refreshes, 1);
}

// S48: the lease of a slow refresh is renewed
#[tokio::test]
async fn a_refresh_slower_than_the_lease_keeps_it() {
    let (redis, server) = (RedisServer::start().await, auth_server().await);
    let (login, life) = (server.log_in(), Duration::from_secs(1));
    let slow_session = || builder(&server, &login).store(redis.store()).lease(life).build();
    let (a, b) = (slow_session(), slow_session());
    a.ready().await.unwrap();
    let token = b.token().await.unwrap();
    let hold = server.hold();
    let slow = async {
        server.calls_reached(1).await;
        let store = redis.store();
        let (start, mut versions) = (Instant::now(), HashSet::new());
        while start.elapsed() < life * 4 {
            let stored = store.load().await.unwrap().unwrap();
            versions.insert(stored.version());
            assert_eq!(stored.lease().map(Lease::life), Some(life), "given back under way");
            assert_eq!(server.counts().calls, 1);
            sleep(Duration::from_millis(50)).await;
        }
        // At each third of its life, give or take a busy machine.
        assert!((6..=13).contains(&versions.len()), "{versions:?}");
        hold.release();
    };
    let waiting = async {
        server.calls_reached(1).await;
        b.replace(token.id()).await
    };
    let (ours, theirs, ()) = tokio::join!(a.refresh(), waiting, slow);
    ours.unwrap();
    theirs.unwrap();
    assert_eq!(access_token(&a), access_token(&b));
    assert_eq!((server.counts().calls, server.counts().reuses), (1, 0));
}

// S63: the store wins against the seed, and eight processes that seed at once agree
#[tokio::test]
async fn the_store_wins_against_the_seed_and_eight_seeds_agree() {
    let (redis, server) = (RedisServer::start().await, auth_server().await);
    let (stored, seeds) = (server.log_in(), [0; 8].map(|_| server.log_in()));
    let sessions: Vec<_> = seeds.iter().map(|seed| session(&server, seed, redis.store())).collect();
    join_all(sessions.iter().map(|session| session.token())).await;
    let first = access_token(&sessions[0]);
    assert!(sessions.iter().all(|session| access_token(session) == first));
    assert!(seeds.iter().any(|seed| seed.access_token == first));

    let late = session(&server, &stored, redis.store());
    late.ready().await.unwrap();
    assert_eq!(access_token(&late), first);
    assert_eq!(server.counts().calls, 0);
}

// S66: a log-out during a save ends in the tombstone, here and in other processes
#[tokio::test]
async fn a_log_out_elsewhere_outlasts_a_refresh_under_way() {
    let (redis, server) = (RedisServer::start().await, auth_server().await);
    let (a, b) = two(&server, &redis).await;
    let hold = server.hold();
    let (refreshed, ()) = join(a.refresh(), async {
        server.calls_reached(1).await;
        b.log_out().await.unwrap();
        hold.release();
    })
    .await;
    assert!(refreshed.unwrap_err().is_login_required());
    let stored = redis.store().load().await.unwrap().unwrap();
    assert!(stored.tokens().is_none(), "nobody is logged in again");
    assert!(a.token().await.unwrap_err().is_login_required());
}

// S66: a log-out during a save ends in the tombstone, here and in other processes
#[tokio::test]
async fn a_log_out_during_a_save_outlasts_it() {
    for here in [true, false] {
        let (redis, server) = (RedisServer::start().await, auth_server().await);
        let (a, b) = two(&server, &redis).await;
        let hold = server.hold();
        let who = if here { &a } else { &b };
        let (_, cleared) = join(a.refresh(), async {
            server.calls_reached(1).await;
            // The save arrives, and is carried out only after the log-out was asked for.
            let _: () = redis.run("CLIENT PAUSE 400 WRITE").await;
            hold.release();
            server.reached(|counts| counts.refreshes == 1).await;
            sleep(Duration::from_millis(100)).await;
            who.log_out().await
        })
        .await;
        // If the save won, the log-out is on its way all the same.
        drop(cleared);
        eventually(async || {
            let stored = redis.store().load().await.unwrap().unwrap();
            if stored.tokens().is_none() { Ok(()) } else { Err("somebody is logged in") }
        })
        .await;
        assert!(who.token().await.unwrap_err().is_login_required(), "here: {here}");
    }
}

#[tokio::test]
async fn requests_of_a_fleet_outlive_their_tokens() {
    let redis = RedisServer::start().await;
    let server = AuthServer::builder().rotate(true).access_life(Duration::from_millis(1500));
    let server = server.start().await.unwrap();
    let (login, api) = (server.log_in(), server.api_url());
    let clients: Vec<_> =
        (0..4).map(|_| client(&session(&server, &login, redis.store()))).collect();
    let end = Instant::now() + Duration::from_secs(4);
    let work = clients.iter().map(|client| async {
        while Instant::now() < end {
            assert_eq!(get(client, &api).await.unwrap(), StatusCode::OK);
            sleep(Duration::from_millis(10)).await;
        }
    });
    join_all(work).await;
    let counts = server.counts();
    assert_eq!((counts.reuses, counts.rejected), (0, 0), "{counts:?}");
    assert!((2..=6).contains(&counts.refreshes), "{counts:?}");
}
