//! The requests: when each is due, and what became of it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use indicatif::HumanCount;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tower::{Service, ServiceExt, timeout::error::Elapsed};
use tower_refresh::{BoxError, Error};

use crate::{
    client::{Body, Sent},
    plan::{Limit, Plan},
    report::chain,
};

/// A run by the clock does not spin while every request fails at once.
const AFTER_ERROR: Duration = Duration::from_millis(10);

const LONGEST_LATENCY_US: u64 = 24 * 60 * 60 * 1_000_000;

/// What all tasks share.
pub(crate) struct Load {
    plan: Plan,
    payload: Bytes,
    start: Instant,
    turns: AtomicU64,
    tally: Mutex<Tally>,
}

/// Requests that have an outcome: each has a status or an error, never both.
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) ok: u64,
    pub(crate) status: BTreeMap<u16, u64>,
    /// By kind: how many, and what the first of them said.
    pub(crate) errors: BTreeMap<String, (u64, String)>,
    /// Of the requests that have a status, to the end of the body, in µs.
    pub(crate) latency: Histogram<u64>,
}

impl Load {
    pub(crate) fn new(plan: Plan) -> Arc<Self> {
        let latency = Histogram::new_with_max(LONGEST_LATENCY_US, 3);
        let tally = Tally {
            requests: 0,
            ok: 0,
            status: BTreeMap::new(),
            errors: BTreeMap::new(),
            latency: latency.expect("the bounds are constant"),
        };
        Arc::new(Self {
            payload: vec![b'x'; plan.body_bytes].into(),
            plan,
            start: Instant::now(),
            turns: AtomicU64::new(0),
            tally: Mutex::new(tally),
        })
    }

    /// Starts so many tasks as there may be requests under way.
    pub(crate) fn start<S, R>(self: &Arc<Self>, client: S) -> JoinSet<()>
    where
        S: Service<Request<Body>, Response = Response<R>, Error = BoxError>,
        S: Clone + Send + 'static,
        S::Future: Send,
        R: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let task = |_| self.clone().send_requests(client.clone());
        (0..self.plan.concurrency).map(task).collect()
    }

    /// Sends one request after the other until there is none left to send.
    async fn send_requests<S, R>(self: Arc<Self>, mut client: S)
    where
        S: Service<Request<Body>, Response = Response<R>, Error = BoxError>,
        R: http_body::Body<Error: Into<BoxError>> + Unpin,
    {
        while let Some(due) = self.turn().await {
            let answer = match client.ready().await {
                Ok(ready) => ready.call(self.request()).await,
                Err(error) => Err(error),
            };
            let outcome = match answer {
                Ok(response) => self.read(response).await,
                Err(error) => Err(error),
            };
            let failed = outcome.is_err();
            self.record(outcome, due.elapsed());
            if failed && matches!(self.plan.limit, Limit::Time(_)) {
                sleep(AFTER_ERROR).await;
            }
        }
    }

    /// Waits until the next request is due, and says from when its latency counts: from when it
    /// was due if nobody was free to send it then, or a slow server would hide how slow it is.
    async fn turn(&self) -> Option<Instant> {
        let turn = self.turns.fetch_add(1, Relaxed);
        let now = Instant::now();
        let due = match self.plan.rate {
            Some(rate) => self.start + Duration::from_secs_f64(turn as f64 / rate),
            None => now,
        };
        let over = match self.plan.limit {
            Limit::Requests(requests) => turn >= requests,
            Limit::Time(time) => due.max(now) >= self.start + time,
        };
        if over {
            return None;
        }
        if due > now {
            sleep_until(due).await;
            return Some(Instant::now());
        }
        Some(due)
    }

    fn request(&self) -> Request<Body> {
        let payload = self.payload.clone();
        let body = match self.plan.stream_body {
            true => Body::streamed(payload),
            false => Body::whole(payload),
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.plan.method.clone();
        *request.uri_mut() = self.plan.target.clone();
        request.extensions_mut().insert(Sent::default());
        request
    }

    /// A response counts once its body is here: only then is its connection free again.
    async fn read<R>(&self, response: Response<R>) -> Result<StatusCode, BoxError>
    where
        R: http_body::Body<Error: Into<BoxError>> + Unpin,
    {
        let (head, mut body) = response.into_parts();
        let whole = async {
            while let Some(frame) = body.frame().await {
                frame.map_err(Into::into)?;
            }
            Ok(head.status)
        };
        timeout(self.plan.timeout, whole).await.unwrap_or_else(|_| Err(Elapsed::new().into()))
    }

    fn record(&self, outcome: Result<StatusCode, BoxError>, latency: Duration) {
        let status = outcome.as_ref().ok();
        self.plan
            .timeline
            .ended(status.map(|_| latency), status.is_some_and(|status| status.as_u16() < 400));
        let mut tally = self.tally();
        tally.requests += 1;
        match outcome {
            Ok(status) => {
                tally.ok += u64::from(status.as_u16() < 400);
                *tally.status.entry(status.as_u16()).or_default() += 1;
                tally.latency.saturating_record(latency.as_micros() as u64);
            }
            Err(error) => {
                let first = || (0, chain(&*error));
                tally.errors.entry(kind(&*error)).or_insert_with(first).0 += 1;
            }
        }
    }

    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// How much of the run is done, from 0 to 1.
    pub(crate) fn progress(&self, now: Instant) -> f64 {
        match self.plan.limit {
            Limit::Requests(requests) => self.tally().requests as f64 / requests as f64,
            Limit::Time(time) => (now - self.start).div_duration_f64(time).min(1.0),
        }
    }

    pub(crate) fn line(&self) -> String {
        let refreshes = self.plan.calls.good();
        let tally = self.tally();
        let (requests, failed) = (HumanCount(tally.requests), tally.requests - tally.ok);
        format!("{requests} requests, {failed} failed, {refreshes} refreshes")
    }
}

/// The kind of an error of the layer's, in snake case; of any other, whose it is.
fn kind(error: &(dyn std::error::Error + 'static)) -> String {
    let Some(error) = Error::find(error) else {
        let elapsed = error.downcast_ref::<Elapsed>().is_some();
        return if elapsed { "request_timeout" } else { "transport" }.to_owned();
    };
    let mut snake = String::new();
    for c in format!("{:?}", error.kind()).chars() {
        if c.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}
