//! Real processes that share one rotating refresh token, and a server that revokes the whole
//! family if it sees one twice.
//!
//! The processes are this very test binary, started anew with [`worker`] as its only test. The
//! kind of store goes to them as a URL, so that the same fleet can run on another.

use std::{
    env,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use http::StatusCode;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
    time::{sleep, timeout},
};
use tower_refresh::{
    Session, Tokens,
    endpoint::JsonEndpoint,
    store::TokenStore,
    testing::{AuthServer, Counts},
};

use super::support::{client, get};
use crate::server::{self, RedisServer};

const LIFE: Duration = Duration::from_secs(2);

/// The store that a URL names.
fn open(url: &str) -> Arc<dyn TokenStore> {
    match url.split_once("://") {
        Some(("redis", _)) => {
            let client = redis::Client::open(url).unwrap();
            Arc::new(server::store(url).subscribe(client))
        }
        #[cfg(feature = "file")]
        Some(("file", path)) => Arc::new(tower_refresh::store::FileStore::new(path).unwrap()),
        _ => panic!("no store is known for {url}"),
    }
}

/// What a process needs to know.
struct Fleet {
    store: String,
    server: AuthServer,
    refresh_token: String,
}

impl Fleet {
    async fn new(store: String, grace: Duration) -> Self {
        let server = AuthServer::builder().rotate(true).access_life(LIFE).grace(grace);
        let server = server.start().await.unwrap();
        let refresh_token = server.log_in().refresh_token;
        Self { store, server, refresh_token }
    }

    fn worker(&self) -> Worker {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["redis::fleet::worker", "--exact", "--ignored", "--nocapture"])
            .env("FLEET_STORE", &self.store)
            .env("FLEET_ENDPOINT", self.server.refresh_url())
            .env("FLEET_API", self.server.api_url())
            .env("FLEET_REFRESH_TOKEN", &self.refresh_token)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let report = BufReader::new(process.stdout.take().unwrap()).lines();
        let report = tokio::spawn(read(report));
        Worker { process, report }
    }

    /// Waits until the server has seen this much; if a worker has failed, it never will.
    async fn reached(&self, enough: impl FnMut(&Counts) -> bool) -> Counts {
        let reached = timeout(Duration::from_secs(45), self.server.reached(enough)).await;
        reached.unwrap_or_else(|_| panic!("the fleet stands still: {:?}", self.server.counts()))
    }

    /// Sends requests from eight processes at once.
    async fn works_for(&self, duration: Duration) {
        let workers: Vec<_> = (0..8).map(|_| self.worker()).collect();
        self.reached(|counts| counts.requests > 0).await;
        let start = Instant::now();
        sleep(duration).await;
        let sent = join_all(workers.into_iter().map(Worker::finish)).await;
        let (lives, counts) = (start.elapsed().div_duration_f64(LIFE), self.server.counts());
        let (fewest, most) = (lives as u64, (lives * 1.4) as u64 + 2);
        assert!(sent.iter().all(|&sent| sent > 10), "{sent:?}");
        assert_eq!((counts.reuses, counts.rejected), (0, 0), "{counts:?}");
        assert!((fewest..=most).contains(&counts.refreshes), "{fewest} to {most}: {counts:?}");
    }
}

struct Worker {
    process: Child,
    report: tokio::task::JoinHandle<Option<u64>>,
}

impl Worker {
    /// Lets it end, and returns how many requests it sent; not one of them may have failed.
    async fn finish(mut self) -> u64 {
        let _ = self.process.stdin.take().unwrap().write_all(b"stop\n").await;
        assert!(self.process.wait().await.unwrap().success(), "a worker failed");
        self.report.await.unwrap().expect("a report")
    }

    async fn kill(mut self) {
        self.process.kill().await.unwrap();
    }
}

const REPORT: &str = "requests sent: ";

async fn read(mut lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>) -> Option<u64> {
    let mut sent = None;
    while let Ok(Some(line)) = lines.next_line().await {
        // The harness may have begun the line.
        sent = line.split_once(REPORT).map(|(_, sent)| sent.parse().unwrap()).or(sent);
    }
    sent
}

/// One process of the fleet: it sends requests until it is told to stop.
#[tokio::test]
#[ignore = "run by the other tests, in processes of their own"]
async fn worker() {
    let (Ok(url), Ok(endpoint)) = (env::var("FLEET_STORE"), env::var("FLEET_ENDPOINT")) else {
        return;
    };
    let (api, seed) = (env::var("FLEET_API").unwrap(), env::var("FLEET_REFRESH_TOKEN").unwrap());
    let session = Session::builder(JsonEndpoint::new(endpoint).unwrap())
        .initial_tokens(Tokens::from_refresh_token(seed).unwrap())
        .store(open(&url))
        .build();
    let client = client(&session);
    let mut stop = BufReader::new(tokio::io::stdin()).lines();
    let mut stopped = std::pin::pin!(stop.next_line());
    let mut sent = 0;
    loop {
        let status = get(&client, &api).await;
        assert_eq!(status.expect("an answer"), StatusCode::OK, "after {sent} requests");
        sent += 1;
        tokio::select! {
            _ = &mut stopped => break,
            () = sleep(Duration::from_millis(20)) => {}
        }
    }
    session.close().await.unwrap();
    println!("{REPORT}{sent}");
}

// S46: processes share one rotating refresh token without a re-use: the lease is in the record
#[tokio::test]
async fn eight_processes_share_one_rotating_refresh_token() {
    let redis = RedisServer::start().await;
    Fleet::new(redis.url(), Duration::ZERO).await.works_for(Duration::from_secs(15)).await;
}

// S46: processes share one rotating refresh token without a re-use: the lease is in the record
#[cfg(feature = "file")]
#[tokio::test]
async fn eight_processes_share_one_rotating_refresh_token_through_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("file://{}", folder.path().join("tokens").display());
    Fleet::new(store, Duration::ZERO).await.works_for(Duration::from_secs(15)).await;
}

// S46: processes share one rotating refresh token without a re-use: the lease is in the record
#[tokio::test]
#[ignore = "takes a minute"]
async fn eight_processes_share_one_rotating_refresh_token_for_a_minute() {
    let redis = RedisServer::start().await;
    Fleet::new(redis.url(), Duration::ZERO).await.works_for(Duration::from_secs(60)).await;
}

// S47: killed while its call is under way, and its answer is nobody's. The call was never carried
// out, so that a strict server has no complaint.
#[tokio::test]
async fn a_process_killed_during_its_refresh_is_followed_by_another() {
    let redis = RedisServer::start().await;
    let fleet = Fleet::new(redis.url(), Duration::ZERO).await;
    let hold = fleet.server.hold();
    let killed = fleet.worker();
    fleet.reached(|counts| counts.calls == 1).await;
    let follower = fleet.worker();
    killed.kill().await;
    hold.release();
    fleet.reached(|counts| counts.requests > 20).await;
    assert!(follower.finish().await > 20);
    let counts = fleet.server.counts();
    assert_eq!((counts.reuses, counts.rejected), (0, 0), "{counts:?}");
}

// S47: killed at any time. Between the server's answer and the save the token is in that process
// alone, and only a server with a grace period can help.
#[tokio::test]
async fn processes_may_be_killed_at_any_time() {
    let redis = RedisServer::start().await;
    let fleet = Fleet::new(redis.url(), Duration::from_secs(60)).await;
    let witnesses: Vec<_> = (0..2).map(|_| fleet.worker()).collect();
    for kill in 0..12 {
        let victim = fleet.worker();
        let requests = fleet.server.counts().requests;
        fleet.reached(|counts| counts.requests > requests).await;
        sleep(Duration::from_millis(137 * (kill % 7))).await;
        victim.kill().await;
    }
    for witness in witnesses {
        assert!(witness.finish().await > 20);
    }
    let counts = fleet.server.counts();
    assert_eq!((counts.reuses, counts.rejected), (0, 0), "{counts:?}");
}

// The newest holder is alive, so everything comes back.
#[tokio::test]
async fn a_wiped_database_disturbs_no_process() {
    let redis = RedisServer::start().await;
    let fleet = Fleet::new(redis.url(), Duration::ZERO).await;
    let workers: Vec<_> = (0..4).map(|_| fleet.worker()).collect();
    for refreshes in [2, 4, 6] {
        fleet.reached(|counts| counts.refreshes >= refreshes).await;
        let _: () = redis.run("FLUSHALL").await;
    }
    fleet.reached(|counts| counts.refreshes >= 8).await;
    join_all(workers.into_iter().map(Worker::finish)).await;
    let counts = fleet.server.counts();
    assert_eq!((counts.reuses, counts.rejected), (0, 0), "{counts:?}");
}
