//! Minutes of what goes wrong in production, against real sockets. Not in the quick suite:
//!
//!     cargo test --release --all-features --test soak -- --ignored --nocapture
#![cfg(feature = "transport")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::FutureExt;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{task::JoinSet, time::sleep};
use tower::{Layer, Service, ServiceExt};
use tower_refresh::{
    BoxError, Event, Events, Refresh, RefreshLayer, Session,
    endpoint::JsonEndpoint,
    testing::{AuthServer, Fault},
};

const TASKS: usize = 64;
const TOKEN_LIFE: Duration = Duration::from_secs(2);
const BETWEEN_REQUESTS: Duration = Duration::from_millis(5);

/// Some runs of faults are to fail a refresh, and users' requests may then see that: a second call
/// that is lost before one was answered (the refresh token may be spent, so it is presented once
/// more and no further), and three calls on end that bring nothing. This seed has no such run
/// among its first 500 draws; `the_seed_is_kind_enough` holds it to that.
const SEED: u64 = 2;
const DROPPED: f64 = 0.05;
const BUSY: f64 = 0.05;
const LATE: f64 = 0.05;

/// The API forgets all access tokens every 2 to 4 s, so within 30 s there are 15 refreshes
/// at most that refusals cause; past a limit below that, refusals would go to the callers.
const REVOKED_EVERY: std::ops::Range<f64> = 2.0..4.0;
const REFUSAL_LIMIT: (u32, Duration) = (16, Duration::from_secs(30));

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute: see the top of the file"]
async fn a_bad_minute_fails_no_request_and_reuses_no_refresh_token() {
    let server = AuthServer::builder().access_life(TOKEN_LIFE).rotate(true).start().await.unwrap();
    server.faults_mixed(
        SEED,
        [
            (DROPPED, Fault::drop_connection()),
            (BUSY, Fault::status(StatusCode::SERVICE_UNAVAILABLE)),
            (LATE, Fault::late(Duration::from_millis(500))),
        ],
    );
    let (limit, window) = REFUSAL_LIMIT;
    let session = Session::builder(JsonEndpoint::new(server.refresh_url()).unwrap())
        .initial_tokens(server.log_in().tokens().unwrap())
        .refusal_limit(limit, window)
        .build();
    let load = Load::start(&server, &session);
    let (start, mut revoked) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(60) {
        let [from, to] = [REVOKED_EVERY.start, REVOKED_EVERY.end];
        sleep(Duration::from_secs_f64(from + (to - from) * fastrand::f64())).await;
        // A request is sent twice and no more. One whose second token is revoked on its way is
        // refused for good, so nothing is revoked in a refresh or just after.
        while is_unsettled(&session).await {}
        server.revoke_access_tokens();
        revoked += 1;
    }
    let tally = load.stop().await;
    session.close().await.unwrap();

    let counts = server.counts();
    println!("{tally:?}");
    println!("revocations of all access tokens: {revoked}");
    println!("{counts:?}");
    assert_eq!(tally.failures, BTreeMap::new());
    assert_eq!(tally.events.get("refresh failed"), None);
    assert!(tally.requests > 10_000);
    assert_eq!((counts.reuses, counts.rejected), (0, 0));
    // A request is sent once, and once more for each refusal.
    assert_eq!(counts.requests, tally.requests + counts.refused);
    // Nobody refreshes more often than tokens age and are revoked.
    let life = TOKEN_LIFE.mul_f64(0.75).as_secs_f64();
    assert!(counts.refreshes as f64 <= start.elapsed().as_secs_f64() / life + revoked as f64 + 1.0);
}

async fn is_unsettled(session: &Session) -> bool {
    let before = session.status();
    sleep(Duration::from_millis(50)).await;
    let now = session.status();
    now.is_refreshing() || before.is_refreshing() || now.generation() != before.generation()
}

#[test]
fn the_seed_is_kind_enough() {
    assert!(is_kind(SEED));
}

fn is_kind(seed: u64) -> bool {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut lost, mut failed) = (false, 0);
    (0..500).all(|_| {
        let draw = random.f64();
        let (drop, busy) = (draw < DROPPED, (DROPPED..DROPPED + BUSY).contains(&draw));
        let unkind = (drop && lost) || (failed == 2 && (drop || busy));
        (lost, failed) = match drop || busy {
            // A 503 says nothing of the call that was lost before it.
            true => (lost || drop, failed + 1),
            false => (false, 0),
        };
        !unkind
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute: see the top of the file"]
async fn a_server_that_is_down_is_left_in_peace_and_found_again() {
    for fault in [Fault::drop_connection(), Fault::status(StatusCode::SERVICE_UNAVAILABLE)] {
        let server = AuthServer::builder().access_life(TOKEN_LIFE).rotate(true).start();
        let server = server.await.unwrap();
        let session = Session::builder(JsonEndpoint::new(server.refresh_url()).unwrap())
            .initial_tokens(server.log_in().tokens().unwrap())
            .build();
        let load = Load::start(&server, &session);
        sleep(TOKEN_LIFE).await;
        assert_eq!(load.tally().failures, BTreeMap::new());

        let mut events = session.events();
        let before = server.counts();
        server.faults_always(fault.clone());
        sleep(Duration::from_secs(10)).await;
        server.faults_always(None);
        let (back, down) = (Instant::now(), server.counts());
        let failed = load.tally().failures;

        while !session.status().is_live() {
            assert!(back.elapsed() < Duration::from_secs(60));
            sleep(Duration::from_millis(1)).await;
        }
        let resumed = back.elapsed();
        let rounds = failures_so_far(&mut events);
        let tally = load.stop().await;
        session.close().await.unwrap();

        let calls = down.calls - before.calls;
        println!("{fault:?}: {calls} calls in {rounds} failed rounds while it was down");
        println!("service resumed {resumed:?} after its return; failed requests: {failed:?}");
        println!("{tally:?}\n{:?}\n", server.counts());
        // At least 1 s lies between two rounds, and each calls three times at most.
        assert!((1..=11).contains(&rounds) && calls <= 3 * (rounds + 1));
        // Requests failed as they should: with the layer's error, and without a wait.
        assert_eq!(failed.keys().collect::<Vec<_>>(), ["Unavailable"]);
        // A pause is 30 s at most, and 1 s at most after the first failure, doubling. One second
        // more for the call and a busy machine.
        let pause = Duration::from_secs(1 << (rounds.min(6) - 1)).min(Duration::from_secs(30));
        assert!(resumed <= pause + Duration::from_secs(1), "{resumed:?} > {pause:?}");
        assert_eq!(server.counts().reuses, 0);
    }
}

fn failures_so_far(events: &mut Events) -> u64 {
    let so_far = std::iter::from_fn(|| events.next().now_or_never().flatten());
    so_far.filter(|event| matches!(event, Event::RefreshFailed { .. })).count() as u64
}

/// Tasks that send requests through the layer until they are told to stop.
struct Load {
    tasks: JoinSet<()>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    tally: Mutex<Tally>,
}

impl Shared {
    fn record(&self, failure: Option<String>, took: Duration) {
        let mut tally = self.tally.lock().unwrap();
        tally.requests += 1;
        tally.slowest = tally.slowest.max(took);
        if let Some(failure) = failure {
            *tally.failures.entry(failure).or_default() += 1;
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Tally {
    requests: u64,
    failures: BTreeMap<String, u64>,
    events: BTreeMap<&'static str, u64>,
    slowest: Duration,
}

impl Load {
    fn start(server: &AuthServer, session: &Session) -> Self {
        let mut tasks = JoinSet::new();
        let shared = Arc::new(Shared::default());
        let client = Client::builder(TokioExecutor::new()).build_http();
        let client = RefreshLayer::new(session.clone()).layer(client);
        for _ in 0..TASKS {
            tasks.spawn(send(client.clone(), server.api_url(), shared.clone()));
        }
        tasks.spawn(watch(session.events(), shared.clone()));
        Self { tasks, shared }
    }

    fn tally(&self) -> Tally {
        self.shared.tally.lock().unwrap().clone()
    }

    /// Waits for all requests under way.
    async fn stop(mut self) -> Tally {
        self.shared.stop.store(true, Relaxed);
        for _ in 0..TASKS {
            self.tasks.join_next().await.expect("the watch never ends").unwrap();
        }
        self.tally()
    }
}

async fn send(
    mut client: Refresh<Client<HttpConnector, Full<Bytes>>>,
    url: String,
    shared: Arc<Shared>,
) {
    while !shared.stop.load(Relaxed) {
        let request = Request::post(&url).body(Full::from("{\"item\":1}")).unwrap();
        let sent = Instant::now();
        let outcome = async {
            let response = client.ready().await?.call(request).await?;
            let status = response.status();
            response.into_body().collect().await?;
            Ok::<_, BoxError>(status)
        };
        let failure = match outcome.await {
            Ok(StatusCode::OK) => None,
            Ok(status) => Some(status.to_string()),
            Err(error) => Some(match tower_refresh::Error::find(&*error) {
                Some(error) => format!("{:?}", error.kind()),
                None => error.to_string(),
            }),
        };
        shared.record(failure, sent.elapsed());
        sleep(BETWEEN_REQUESTS).await;
    }
}

async fn watch(mut events: Events, shared: Arc<Shared>) {
    while let Some(event) = events.next().await {
        let name = match event {
            Event::Refreshed { .. } => "refreshed",
            Event::RefreshFailed { .. } => "refresh failed",
            Event::Refused { .. } => "refused",
            Event::Lagged { .. } => "missed",
            _ => "other",
        };
        *shared.tally.lock().unwrap().events.entry(name).or_default() += 1;
    }
    std::future::pending().await
}
