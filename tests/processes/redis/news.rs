//! A subscriber hears of a save within milliseconds, and who is not told looks now and then.

use std::time::Duration;

use futures::FutureExt;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};
use tower_refresh::store::{Encrypted, EncryptionKey, Record, SaveOutcome, TokenStore};

use super::support::{auth_server, record, two};
use crate::server::{RedisServer, Store};

const SOON: Duration = Duration::from_secs(10);

async fn save(store: &Store, version: u64) {
    let expected = (version > 1).then(|| version - 1);
    assert_eq!(store.save(record(version, None), expected).await.unwrap(), SaveOutcome::Stored);
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
            sleep(Duration::from_millis(20)).await;
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
async fn a_change_before_the_wait_begins_is_heard_too() {
    let redis = RedisServer::start().await;
    let (ours, theirs) = (subscribed(&redis).await, redis.store());
    let changed = ours.changed();
    save(&theirs, 1).await;
    timeout(SOON, changed).await.unwrap();
}

#[tokio::test]
async fn without_a_change_or_without_a_subscription_there_is_no_news() {
    let redis = RedisServer::start().await;
    save(&redis.store(), 1).await;
    let (subscribed, unsubscribed) = (subscribed(&redis).await, redis.store_without_subscription());
    unsubscribed.load().await.unwrap();
    let news = unsubscribed.changed();
    assert!(timeout(Duration::from_millis(600), subscribed.changed()).await.is_err());
    save(&subscribed, 2).await;
    assert!(timeout(Duration::from_millis(600), news).await.is_err());
}

/// How often the server has carried out these commands since its statistics were reset.
async fn calls<const N: usize>(redis: &RedisServer, commands: [&str; N]) -> [u64; N] {
    let stats: String = redis.run("INFO commandstats").await;
    commands.map(|command| {
        let line = stats.split(&format!("cmdstat_{command}:calls=")).nth(1);
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    })
}

#[tokio::test]
async fn an_idle_session_hears_of_a_log_out_elsewhere() {
    let (redis, server) = (RedisServer::start().await, auth_server().await);
    let (idle, other) = two(&server, &redis).await;
    // Both subscribe, and hear of what the other does.
    redis.subscribers_reach(2).await;
    other.log_out().await.unwrap();
    let heard = async {
        while !idle.status().is_login_required() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, heard).await.expect("it is told");
}

/// A record as a session writes it while it refreshes.
fn leased(version: u64, turn: u64, tokens: &str, owner: Option<&str>) -> Record {
    let mut record = json!({
        "format": "tower-refresh/1",
        "version": version,
        "turn": turn,
        "tokens": { "access_token": tokens },
    });
    if let Some(owner) = owner {
        record["lease"] = json!({ "owner": owner, "life": 5000 });
    }
    serde_json::from_value(record).unwrap()
}

#[tokio::test]
async fn what_is_told_is_a_change_or_a_lease_given_back_and_no_renewal() {
    let redis = RedisServer::start().await;
    let (ours, theirs) = (subscribed(&redis).await, redis.store_without_subscription());
    let told = async |record: Record, expected: Option<u64>| {
        let mut changed = ours.changed();
        let saved = theirs.save(record, expected).await.unwrap();
        assert_eq!(saved, SaveOutcome::Stored);
        timeout(Duration::from_millis(200), &mut changed).await.is_ok()
    };
    assert!(told(leased(1, 1, "a", None), None).await, "the first tokens");
    assert!(!told(leased(2, 1, "a", Some("them")), Some(1)).await, "a lease is taken");
    assert!(!told(leased(3, 1, "a", Some("them")), Some(2)).await, "it is renewed");
    assert!(!told(leased(4, 1, "a", Some("us")), Some(3)).await, "it is taken over");
    assert!(told(leased(5, 1, "a", None), Some(4)).await, "it is given back");
    assert!(!told(leased(6, 1, "a", None), Some(5)).await, "nothing has changed");
    assert!(told(leased(7, 2, "a", None), Some(6)).await, "the next turn");
    assert!(told(leased(8, 2, "b", None), Some(7)).await, "other tokens");
    assert!(told(record(9, None), Some(8)).await, "a log-out");
    let mut log_out = serde_json::to_value(record(10, None)).unwrap();
    log_out["turn"] = 9.into();
    log_out.as_object_mut().unwrap().remove("logged_out");
    assert!(told(serde_json::from_value(log_out).unwrap(), Some(9)).await, "no log-out any more");

    // Sealed, the tokens cannot be compared, and the turn can.
    let key = EncryptionKey::new([1; 32]);
    let theirs = Encrypted::new(redis.store_without_subscription(), "billing", key);
    let told = async |record: Record, expected: u64| {
        let mut changed = ours.changed();
        let saved = theirs.save(record, Some(expected)).await.unwrap();
        assert_eq!(saved, SaveOutcome::Stored);
        timeout(Duration::from_millis(200), &mut changed).await.is_ok()
    };
    assert!(told(leased(11, 11, "a", Some("us")), 10).await);
    assert!(!told(leased(12, 11, "a", Some("us")), 11).await);
    assert!(told(leased(13, 11, "a", None), 12).await);
    assert!(told(leased(14, 14, "b", None), 13).await);
}

#[tokio::test]
async fn a_subscription_that_is_lost_is_made_again() {
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
async fn a_server_that_ends_each_subscription_at_once_is_asked_less_and_less_often() {
    let redis = RedisServer::start().await;
    let ours = redis.store();
    let start = Instant::now();
    let _ = ours.changed().now_or_never();
    while calls(&redis, ["subscribe"]).await < [6] {
        let _: i64 = redis.run("CLIENT KILL TYPE pubsub").await;
    }
    // After 50 ms, and twice as long each time; a random half of which may be left out.
    let least = Duration::from_millis((50 + 100 + 200 + 400 + 800) / 2);
    assert!(start.elapsed() >= least, "{:?}", start.elapsed());
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
