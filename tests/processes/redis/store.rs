//! What every store promises.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use futures::future::{FutureExt, join_all};
use tokio::time::timeout;
use tower_refresh::{
    ErrorKind,
    store::{RedisStore, SaveOutcome, TokenStore},
    testing::{Login, store_conformance},
};

use super::support::{auth_server, record};
use crate::server::{RECORD, RedisServer, Store};

async fn login() -> Login {
    auth_server().await.log_in()
}

async fn version(store: &Store) -> Option<u64> {
    store.load().await.unwrap().map(|record| record.version())
}

#[tokio::test]
async fn a_record_comes_back_as_it_was_saved() {
    let (redis, login) = (RedisServer::start().await, login().await);
    let store = redis.store();
    assert!(store.load().await.unwrap().is_none());
    let saved = record(1, Some(&login));
    assert_eq!(store.save(saved.clone(), None).await.unwrap(), SaveOutcome::Stored);

    let loaded = redis.store().load().await.unwrap().unwrap();
    assert_eq!(serde_json::to_value(&loaded).unwrap(), serde_json::to_value(&saved).unwrap());
    assert_eq!(loaded.tokens().unwrap().extra()["device_id"], "device-123");
}

#[tokio::test]
async fn the_store_in_redis_conforms() {
    let redis = RedisServer::start().await;
    let made = AtomicU32::new(0);
    let make = || {
        let name = format!("store-{}", made.fetch_add(1, Ordering::Relaxed));
        async { RedisStore::new(redis.connection().await, name).unwrap() }
    };
    store_conformance(make).await;
}

#[tokio::test]
async fn a_tombstone_stays() {
    let (redis, login) = (RedisServer::start().await, login().await);
    let store = redis.store();
    store.save(record(1, Some(&login)), None).await.unwrap();
    assert_eq!(store.save(record(2, None), Some(1)).await.unwrap(), SaveOutcome::Stored);
    let loaded = store.load().await.unwrap().unwrap();
    assert_eq!((loaded.version(), loaded.tokens().is_none()), (2, true));
    assert_eq!(redis.run::<i64>(&format!("PTTL {RECORD}")).await, -1, "it has no end");
}

#[tokio::test]
async fn who_expects_another_version_writes_nothing() {
    let redis = RedisServer::start().await;
    let store = redis.store();
    assert_eq!(store.save(record(7, None), Some(6)).await.unwrap(), SaveOutcome::Conflict);
    assert_eq!(version(&store).await, None);
    assert_eq!(store.save(record(7, None), None).await.unwrap(), SaveOutcome::Stored);
    for expected in [None, Some(0), Some(6), Some(8), Some(70), Some(u64::MAX)] {
        assert_eq!(store.save(record(9, None), expected).await.unwrap(), SaveOutcome::Conflict);
        assert_eq!(version(&store).await, Some(7));
    }
    // Versions that a floating-point number could not tell apart.
    let (great, greater) = (i64::MAX as u64 - 1, i64::MAX as u64);
    assert_eq!(store.save(record(great, None), Some(7)).await.unwrap(), SaveOutcome::Stored);
    assert_eq!(store.save(record(9, None), Some(greater)).await.unwrap(), SaveOutcome::Conflict);
    assert_eq!(version(&store).await, Some(great));
}

#[tokio::test]
async fn of_eight_who_put_at_once_one_wins() {
    let redis = RedisServer::start().await;
    for expected in [None, Some(1)] {
        let saves = (0..8).map(|_| {
            let store = redis.store();
            tokio::spawn(async move {
                let next = expected.unwrap_or(0) + 1;
                store.save(record(next, None), expected).await.unwrap()
            })
        });
        let saved = join_all(saves.collect::<Vec<_>>()).await;
        let won = saved.into_iter().filter(|saved| *saved.as_ref().unwrap() == SaveOutcome::Stored);
        assert_eq!(won.count(), 1);
    }
}

#[tokio::test]
async fn sessions_of_other_names_and_prefixes_do_not_meet() {
    let redis = RedisServer::start().await;
    let connection = redis.client().get_connection_manager().await.unwrap();
    let named = |name: &str| RedisStore::new(connection.clone(), name).unwrap();
    let other = RedisStore::with_prefix(connection.clone(), "other", "a").unwrap();
    let stores = [named("a"), named("b"), other];
    for store in &stores {
        assert!(store.load().await.unwrap().is_none());
        assert_eq!(store.save(record(1, None), None).await.unwrap(), SaveOutcome::Stored);
    }
    let mut keys: Vec<String> = redis.run("KEYS *").await;
    keys.sort();
    assert_eq!(keys, ["other:{a}:record", "tower-refresh:{a}:record", "tower-refresh:{b}:record",]);
}

/// A session gives each call a time-out, and drops what takes longer.
#[tokio::test]
async fn calls_that_are_dropped_midway_leave_the_connection_in_order() {
    let (redis, login) = (RedisServer::start().await, login().await);
    let store = redis.store();
    for version in 1..=200 {
        let previous = (version > 1).then_some(version - 1);
        let _ = store.load().now_or_never();
        let _ = timeout(Duration::from_micros(50), store.load()).await;
        let saved = store.save(record(version, Some(&login)), previous).await.unwrap();
        assert_eq!(saved, SaveOutcome::Stored);
        assert_eq!(store.load().await.unwrap().unwrap().version(), version);
    }
}

#[tokio::test]
async fn scripts_that_the_server_has_forgotten_are_sent_again() {
    let redis = RedisServer::start().await;
    let store = redis.store();
    store.save(record(1, None), None).await.unwrap();
    let _: () = redis.run("SCRIPT FLUSH").await;
    assert_eq!(store.save(record(2, None), Some(1)).await.unwrap(), SaveOutcome::Stored);
    assert_eq!(version(&store).await, Some(2));
}

#[tokio::test]
async fn what_is_no_record_is_named_and_never_quoted() {
    let redis = RedisServer::start().await;
    let store = redis.store();
    let hold = |version: &str, json: &str| format!("HSET {RECORD} version {version} record {json}");
    for (command, word) in [
        (format!("SET {RECORD} secret-token"), "another program"),
        (format!("HSET {RECORD} record secret-token"), "not all its fields"),
        (hold("1", "secret-token"), "something else"),
        (
            hold("1", r#"{"format":"tower-refresh/1","version":1,"tokens":"secret-token"}"#),
            "column",
        ),
        (
            hold("1", r#"{"format":"keyring/9","version":1,"tokens":"secret-token"}"#),
            "another program",
        ),
        (
            hold("1", r#"{"format":"tower-refresh/2","tokens":"secret-token"}"#),
            "update this program",
        ),
        (hold("1", r#"{"crit":["dpop"],"tokens":"secret-token"}"#), "requires \"dpop\""),
        (hold("2", r#"{"format":"tower-refresh/1","version":1}"#), "different"),
    ] {
        let _: i64 = redis.run(&format!("DEL {RECORD}")).await;
        let _: redis::Value = redis.run(&command).await;
        let error = store.load().await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(word) && shown.contains(RECORD), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}

#[tokio::test]
async fn a_server_that_is_gone_is_named_with_the_key_and_a_way_out() {
    let mut redis = RedisServer::start().await;
    let store = redis.store();
    store.load().await.unwrap();
    redis.kill();
    for error in [
        store.load().await.unwrap_err(),
        store.save(record(1, Some(&login().await)), None).await.unwrap_err(),
    ] {
        let error = error.downcast::<tower_refresh::Error>().unwrap();
        assert_eq!(error.kind(), ErrorKind::Store);
        assert!(error.to_string().contains("tower-refresh:{billing}:"), "{error}");
        assert!(error.to_string().contains("is the server up?"), "{error}");
    }
}

/// The rights in the documentation are enough, and without that to publish tokens are saved all
/// the same.
#[tokio::test]
async fn a_user_with_few_rights_will_do() {
    let redis = RedisServer::start().await;
    let _: () = redis
        .run(
            "ACL SETUSER billing on >password resetchannels &tower-refresh:* ~tower-refresh:* \
             +hmget +hset +publish +evalsha +script|load +subscribe +ping",
        )
        .await;
    let url = redis.url().replace("127.0.0.1", "billing:password@127.0.0.1");
    let client = redis::Client::open(url).unwrap();
    let store = crate::server::store(&redis.url().replace("redis://", "redis://billing:password@"))
        .subscribe(client);
    let changed = store.changed();
    store.save(record(1, None), None).await.unwrap();
    timeout(Duration::from_secs(5), changed).await.unwrap();
    redis.subscribers_reach(1).await;

    let _: () = redis.run("ACL SETUSER billing -publish resetchannels").await;
    assert_eq!(store.save(record(2, None), Some(1)).await.unwrap(), SaveOutcome::Stored);
    assert_eq!(version(&store).await, Some(2));

    let _: () = redis.run("ACL SETUSER billing -hset").await;
    let error = store.save(record(3, None), Some(2)).await.unwrap_err();
    assert!(error.to_string().contains("give this user the rights"), "{error:?}");
}
