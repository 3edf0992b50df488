//! Who waits for another's refresh goes on within milliseconds of the save.

use std::time::Duration;

use futures::FutureExt;
use tokio::time::{Instant, sleep, timeout};
use tower_refresh::{TokenStore, store::Saved};

use crate::{
    server::{RedisServer, Store},
    support::record,
};

const SOON: Duration = Duration::from_secs(10);

async fn save(store: &Store, version: u64) {
    let expected = (version > 1).then(|| version - 1);
    assert_eq!(store.save(record(version, None), expected).await.unwrap(), Saved::Yes);
}

/// A store with a subscription that stands, and nothing to be told.
async fn subscribed(redis: &RedisServer) -> Store {
    let store = redis.store();
    let _ = store.changed().now_or_never();
    redis.subscribers_reach(1).await;
    // The subscription's own first word.
    let _ = timeout(Duration::from_millis(200), store.changed()).await;
    store
}

/// How long after each of some saves a waiting store knew, in order of size.
async fn delays(ours: &Store, theirs: &Store) -> Vec<Duration> {
    ours.load().await.unwrap();
    let mut delays = Vec::new();
    for version in 1..=9 {
        let changed = ours.changed();
        let saved = async {
            // Long enough for a store that looks to be at its slowest.
            sleep(Duration::from_millis(300)).await;
            save(theirs, version).await;
            Instant::now()
        };
        let heard = async {
            timeout(SOON, changed).await.unwrap();
            Instant::now()
        };
        let (saved, heard) = tokio::join!(saved, heard);
        delays.push(heard.saturating_duration_since(saved));
        ours.load().await.unwrap();
    }
    delays.sort();
    delays
}

#[tokio::test]
async fn a_subscriber_knows_within_milliseconds() {
    let redis = RedisServer::start().await;
    let (ours, theirs) = (subscribed(&redis).await, redis.store_without_subscription());
    let delays = delays(&ours, &theirs).await;
    assert!(delays[4] < Duration::from_millis(10), "{delays:?}");
}

#[tokio::test]
async fn who_cannot_subscribe_looks() {
    let redis = RedisServer::start().await;
    let (ours, theirs) = (redis.store_without_subscription(), redis.store());
    let delays = delays(&ours, &theirs).await;
    assert!(delays[8] < Duration::from_millis(400), "{delays:?}");
    assert_eq!(redis.subscribers().await, 0);
}

#[tokio::test]
async fn a_change_before_the_wait_begins_is_heard_too() {
    let redis = RedisServer::start().await;
    let theirs = redis.store();
    for ours in [subscribed(&redis).await, redis.store_without_subscription()] {
        let version = ours.load().await.unwrap().map_or(1, |record| record.version() + 1);
        let changed = ours.changed();
        save(&theirs, version).await;
        timeout(SOON, changed).await.unwrap();
    }
}

#[tokio::test]
async fn without_a_change_there_is_no_news() {
    let redis = RedisServer::start().await;
    save(&redis.store(), 1).await;
    for ours in [subscribed(&redis).await, redis.store_without_subscription()] {
        ours.load().await.unwrap();
        assert!(timeout(Duration::from_millis(600), ours.changed()).await.is_err());
    }
}

#[tokio::test]
async fn while_a_subscription_stands_nobody_looks() {
    let redis = RedisServer::start().await;
    let ours = subscribed(&redis).await;
    let _: () = redis.run("CONFIG RESETSTAT").await;
    assert!(timeout(Duration::from_millis(600), ours.changed()).await.is_err());
    let stats: String = redis.run("INFO commandstats").await;
    assert!(!stats.contains("cmdstat_evalsha"), "{stats}");
}

#[tokio::test]
async fn a_lease_that_is_given_back_wakes_those_who_wait_for_it() {
    let redis = RedisServer::start().await;
    let (ours, theirs) = (subscribed(&redis).await, redis.store());
    assert!(theirs.lease("theirs", Duration::from_secs(60)).await.unwrap());
    let changed = ours.changed();
    theirs.release("theirs").await.unwrap();
    timeout(SOON, changed).await.unwrap();
}

#[tokio::test]
async fn a_subscription_that_is_lost_is_made_again_and_meanwhile_looked() {
    let redis = RedisServer::start().await;
    let (ours, theirs) = (subscribed(&redis).await, redis.store_without_subscription());
    for version in 1..=3 {
        let changed = ours.changed();
        let _: i64 = redis.run("CLIENT KILL TYPE pubsub").await;
        save(&theirs, version).await;
        timeout(SOON, changed).await.unwrap();
        redis.subscribers_reach(1).await;
    }
    let delays = {
        let changed = ours.changed();
        save(&theirs, 4).await;
        timeout(SOON, changed).await
    };
    assert!(delays.is_ok());
}

#[tokio::test]
async fn a_subscription_survives_a_restart_of_the_server() {
    let mut redis = RedisServer::start().await;
    let ours = subscribed(&redis).await;
    redis.kill();
    let changed = ours.changed();
    sleep(Duration::from_millis(300)).await;
    redis.up().await;
    timeout(SOON, changed).await.expect("something may have changed");
    redis.subscribers_reach(1).await;
}

#[tokio::test]
async fn the_subscription_ends_with_the_store() {
    let redis = RedisServer::start().await;
    let ours = subscribed(&redis).await;
    drop(ours);
    redis.subscribers_reach(0).await;
}

#[test]
fn a_subscription_that_died_with_its_runtime_is_made_again() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    };
    let outer = runtime();
    let redis = outer.block_on(RedisServer::start());
    // The connection lives on the outer runtime.
    let ours = outer.block_on(async { redis.store() });
    outer.block_on(async { ours.load().await.unwrap() });
    let inner = runtime();
    inner.block_on(async {
        let _ = ours.changed().now_or_never();
        redis.subscribers_reach(1).await;
    });
    drop(inner);
    outer.block_on(async {
        redis.subscribers_reach(0).await;
        let _ = ours.changed().now_or_never();
        redis.subscribers_reach(1).await;
    });
}
