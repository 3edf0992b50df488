//! Everybody comes on an expired token at once, and its refresh takes 50 ms.
//!
//! The floor is as many tasks that merely await a `watch` channel which fires after those 50 ms:
//! to spawn and to wake them costs what it costs.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use futures::{FutureExt, poll};
use http::{Request, Response, Uri};
use http_body_util::Full;
use tokio::{runtime, sync::watch, time::sleep};
use tower::{Layer, ServiceExt, service_fn, util::ServiceFn};
use tower_refresh::{
    Refresh, RefreshLayer, Session, Tokens,
    endpoint::{EndpointError, Spent},
    testing::{Answer, GatedEndpoint},
};

use crate::{
    Effort,
    allocated::Allocated,
    report::Report,
    rounds::{interleaved, median},
};

const REFRESH: Duration = Duration::from_millis(50);

pub(crate) fn run(effort: Effort) -> Report {
    let columns = ["requests", "contender", "last answered (ms)", "bytes each"];
    let title = "A stampede: all come on an expired token, and its refresh takes 50 ms";
    let mut report = Report::new("stampede", title, columns);
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = &runtime.expect("two threads can be had");

    for (requests, rounds) in [(10_000, effort.pick(41, 5)), (100_000, effort.pick(11, 1))] {
        let times = interleaved(
            rounds,
            &mut [
                &mut || runtime.block_on(awaiting_a_watch(requests)),
                &mut || runtime.block_on(through_the_layer(requests, Outcome::Token)),
                &mut || runtime.block_on(through_the_layer(requests, Outcome::Failure)),
            ],
        );
        let ms =
            times.into_iter().map(|times| median(times.iter().map(Duration::as_secs_f64)) * 1e3);
        let [floor, refreshed, failed] = ms.collect::<Vec<_>>()[..] else {
            unreachable!("three contenders")
        };
        let bytes = [
            runtime.block_on(bytes_of_awaiting_a_watch(requests)),
            runtime.block_on(bytes_through_the_layer(requests)),
        ];
        report.row([requests.into(), "await a watch".into(), floor.into(), bytes[0].into()]);
        report.row([requests.into(), "RefreshLayer".into(), refreshed.into(), bytes[1].into()]);
        report.row([
            requests.into(),
            "RefreshLayer, it fails".into(),
            failed.into(),
            bytes[1].into(),
        ]);
        if requests == 10_000 {
            let most = floor * 1.2 + 20.0;
            let what = format!("the last of {requests} has its answer within {most:.0} ms");
            report.target(what, refreshed.max(failed) <= most);
        }
    }
    report.note("each stampede made one call to the token endpoint");
    report
}

/// How long it takes from the start until the last task is done.
async fn last_done<F>(tasks: usize, task: impl Fn() -> F) -> Duration
where
    F: Future<Output: Send> + Send + 'static,
{
    let start = Instant::now();
    let spawn = |_| tokio::spawn(task().map(move |_| start.elapsed()));
    let tasks: Vec<_> = (0..tasks).map(spawn).collect();
    let mut last = Duration::ZERO;
    // One after the other, so that whoever looks on is not woken by each.
    for task in tasks {
        last = last.max(task.await.expect("no task panics"));
    }
    last
}

/// How much memory a task takes while it waits, until `release` lets all of them go.
async fn bytes_each<F>(tasks: usize, task: impl Fn() -> F, release: impl FnOnce()) -> f64
where
    F: Future<Output: Send> + Send + 'static,
{
    let waiting = Arc::new(AtomicUsize::new(0));
    let mut spawned = Vec::with_capacity(tasks);
    let allocated = Allocated::from_now_on();
    for _ in 0..tasks {
        // Boxed, as a future that is moved into another may take its room twice.
        let (mut work, waiting) = (Box::pin(task()), waiting.clone());
        spawned.push(tokio::spawn(async move {
            assert!(poll!(&mut work).is_pending(), "nobody is let go yet");
            waiting.fetch_add(1, Relaxed);
            work.await;
        }));
    }
    while waiting.load(Relaxed) < tasks {
        sleep(Duration::from_millis(1)).await;
    }
    let live = allocated.live();
    drop(allocated);
    release();
    for task in spawned {
        task.await.expect("no task panics");
    }
    live / tasks as f64
}

async fn awaiting_a_watch(tasks: usize) -> Duration {
    let (fire, fired) = watch::channel(false);
    tokio::spawn(sleep(REFRESH).map(move |()| fire.send(true)));
    last_done(tasks, || has_fired(fired.clone())).await
}

async fn bytes_of_awaiting_a_watch(tasks: usize) -> f64 {
    let (fire, fired) = watch::channel(false);
    let release = || fire.send(true).expect("all are waiting");
    bytes_each(tasks, || has_fired(fired.clone()), release).await
}

async fn has_fired(mut fired: watch::Receiver<bool>) {
    fired.wait_for(|fired| *fired).await.expect("it fires");
}

#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Token,
    Failure,
}

async fn through_the_layer(requests: usize, outcome: Outcome) -> Duration {
    let endpoint = GatedEndpoint::new();
    let answer = match outcome {
        Outcome::Token => Answer::Next,
        // Who comes after it has failed gets the same error for as long.
        Outcome::Failure => EndpointError::transient("503 Service Unavailable")
            .with_spent(Spent::No)
            .with_retry_after(Duration::from_secs(60))
            .into(),
    };
    endpoint.answer(answer.after(REFRESH));
    let client = client(&endpoint);
    let send = || {
        let answer = client.clone().oneshot(request());
        answer.map(move |answer| assert_eq!(answer.is_ok(), outcome == Outcome::Token))
    };
    let took = last_done(requests, send).await;
    assert_eq!(endpoint.calls(), 1, "one call for all");
    took
}

async fn bytes_through_the_layer(requests: usize) -> f64 {
    let endpoint = GatedEndpoint::new();
    let hold = endpoint.hold();
    let client = client(&endpoint);
    bytes_each(requests, || client.clone().oneshot(request()), || hold.release()).await
}

/// An API that answers at once, and a session with an expired token.
fn client(endpoint: &GatedEndpoint) -> Refresh<ServiceFn<Api>> {
    let expired = Tokens::new("expired").and_then(|tokens| tokens.with_refresh_token("refresh-0"));
    let expired = expired.expect("visible ASCII").with_expires_at(SystemTime::UNIX_EPOCH);
    let session = Session::builder(endpoint.clone()).initial_tokens(expired).attempts(1).build();
    RefreshLayer::new(session).layer(service_fn(|_| ready(Ok(Response::new(())))))
}

type Api = fn(Request<Full<Bytes>>) -> Ready<Result<Response<()>, Infallible>>;

fn request() -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = Uri::from_static("https://api.example.com/orders");
    request
}
