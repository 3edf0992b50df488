//! How many commands the server sees.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::sleep;

use super::support::{auth_server, session};
use crate::server::RedisServer;

/// How often the server has carried out each command of a client since it started. What a script
/// calls is counted as the script.
async fn seen(redis: &RedisServer) -> BTreeMap<String, u64> {
    let stats: String = redis.run("INFO commandstats").await;
    let line = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let calls = rest.split(',').next()?.parse().ok()?;
        // What the scripts call, and what this question costs.
        let others =
            ["hmget", "hset", "publish", "info", "config|resetstat", "client|setinfo", "hello"];
        (!others.contains(&name)).then(|| (name.to_owned(), calls))
    };
    stats.lines().filter_map(line).collect()
}

#[tokio::test]
async fn a_refresh_costs_three_commands_and_an_idle_session_none() {
    for subscribe in [false, true] {
        let (redis, server) = (RedisServer::start().await, auth_server().await);
        let store = if subscribe { redis.store() } else { redis.store_without_subscription() };
        let session = session(&server, &server.log_in(), store);
        session.ready().await.unwrap();
        // The first one sends the scripts themselves.
        session.refresh().await.unwrap();
        if subscribe {
            redis.subscribers_reach(1).await;
        }
        sleep(Duration::from_secs(1)).await;

        let before = seen(&redis).await;
        for _ in 0..5 {
            session.refresh().await.unwrap();
            sleep(Duration::from_millis(50)).await;
        }
        // The message of a save of its own may come so late that the session looks once more.
        let looks = if subscribe { 5 } else { 0 };
        sleep(Duration::from_millis(500)).await;
        let mut refreshed = seen(&redis).await;
        let calls = refreshed["evalsha"] - before["evalsha"];
        assert!((15..=15 + looks).contains(&calls), "subscribed: {subscribe}: {calls}");
        let after = refreshed.clone();
        refreshed.insert("evalsha".to_owned(), before["evalsha"]);
        assert_eq!(refreshed, before, "subscribed: {subscribe}");

        // Longer than a used session goes without a look.
        sleep(Duration::from_secs(6)).await;
        assert_eq!(seen(&redis).await, after, "subscribed: {subscribe}");
        assert_eq!(server.counts().refreshes, 6);
    }
}
