use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Collected, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::{net::TcpListener, sync::watch};

use super::{
    api::{self, ApiRules},
    body::{ServerBody, whole},
    counts::Counters,
    fault::{Fault, Faults},
    gate::Gate,
    issuer::Issuer,
    ledger::{Issued, Ledger, Policy, Refused},
    protocol::{self, Protocol},
};
use crate::error::BoxError;

/// No call to a token endpoint is longer.
const LONGEST_CALL: usize = 1024 * 1024;

/// How soon after a failure the listener accepts again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

/// What does not change while a server runs.
#[derive(Clone)]
pub(super) struct Settings {
    /// The client that must show up at the OAuth 2.0 endpoint, and its secret unless it is a
    /// public one.
    pub(super) client: Option<(String, Option<String>)>,
    pub(super) send_expires_in: bool,
    pub(super) refuse_early: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { client: None, send_expires_in: true, refuse_early: false }
    }
}

/// What the server's tasks and its handle share.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) issuer: Issuer,
    pub(super) counters: Counters,
    pub(super) gate: Gate,
    ledger: Mutex<Ledger>,
    faults: Mutex<Faults>,
    api: Mutex<ApiRules>,
}

impl Shared {
    pub(super) fn new(policy: Policy, settings: Settings, issuer: Issuer) -> Self {
        Self {
            settings,
            counters: Counters::default(),
            gate: Gate::default(),
            ledger: Mutex::new(Ledger::new(policy, issuer.clone())),
            faults: Mutex::default(),
            api: Mutex::default(),
            issuer,
        }
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    pub(super) fn api(&self) -> MutexGuard<'_, ApiRules> {
        lock(&self.api)
    }

    pub(super) fn refresh(&self, refresh_token: &str) -> Result<Issued, Refused> {
        let issued = self.ledger().refresh(refresh_token)?;
        self.counters.add(|counts| {
            counts.refreshes += 1;
            counts.within_grace += u64::from(issued.within_grace);
        });
        Ok(issued)
    }

    /// Counts a call that is refused, for its refresh token or for something else. In one step, so
    /// that a test finds a re-use among the rejected.
    pub(super) fn reject(&self, refused: Option<Refused>) {
        self.counters.add(|counts| {
            counts.rejected += 1;
            counts.reuses += u64::from(refused == Some(Refused::Reused));
        });
    }

    pub(super) fn client_credentials(&self) -> Issued {
        let issued = self.ledger().client_credentials();
        self.counters.add(|counts| counts.refreshes += 1);
        issued
    }

    async fn serve(&self, request: Request<Incoming>) -> Result<Response<ServerBody>, BoxError> {
        let mut response = match request.uri().path() {
            "/v1/auth/refresh" => self.call(request, protocol::freddy).await?,
            "/oauth2/token" => self.call(request, protocol::oauth2).await?,
            "/oauth2/revoke" => {
                let (head, body) = request.into_parts();
                let body = collect(body).await?;
                protocol::revocation(self, &head, &body).map(whole)
            }
            "/.well-known/openid-configuration" => protocol::metadata(&request).map(whole),
            path if path == "/api" || path.starts_with("/api/") => {
                api::serve(self, request).await?
            }
            _ => {
                let mut response = Response::new(whole(Bytes::new()));
                *response.status_mut() = StatusCode::NOT_FOUND;
                response
            }
        };
        self.stamp(&mut response);
        Ok(response)
    }

    /// A call to a token endpoint: it arrives, waits at the gate, meets its fault.
    async fn call(
        &self,
        request: Request<Incoming>,
        protocol: Protocol,
    ) -> Result<Response<ServerBody>, BoxError> {
        let (head, body) = request.into_parts();
        let body = collect(body).await?;
        self.counters.add(|counts| counts.calls += 1);
        self.gate.pass().await;
        let carry_out = || protocol(self, &head, &body);
        // The lock is gone before the fault strikes, or no other call could be served meanwhile.
        let fault: Option<Fault> = self.faults().next();
        match fault {
            Some(fault) => fault.strike(carry_out).await,
            None => Ok(carry_out().map(whole)),
        }
    }

    /// Tells the time as this server sees it. hyper's own clock is right, so it will do for a
    /// server whose clock is.
    fn stamp(&self, response: &mut Response<ServerBody>) {
        let date = {
            let policy = &self.ledger().policy;
            policy.clock_is_wrong().then(|| policy.server_time())
        };
        if let Some(date) = date {
            let date = httpdate::fmt_http_date(date);
            let date = HeaderValue::try_from(date).expect("an HTTP date is a header value");
            response.headers_mut().entry(header::DATE).or_insert(date);
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Serves on a listener until the sender of `stopped` says stop or is gone.
pub(super) fn run(listener: TcpListener, shared: Arc<Shared>, stopped: watch::Receiver<bool>) {
    let tasks = Tasks { stopped };
    tasks.clone().spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // One connection's own fault, or a shortage of descriptors that passes.
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            };
            let _: io::Result<()> = stream.set_nodelay(true);
            let shared = shared.clone();
            let executor = tasks.clone();
            tasks.spawn(async move {
                // An `io::Error`, as rustc cannot prove the task `Send` with a boxed one.
                let service = service_fn(|request| {
                    let shared = shared.clone();
                    async move { shared.serve(request).await.map_err(io::Error::other) }
                });
                // No timer: a pooled connection that hyper closed for its idleness would be a
                // fault that was not asked for.
                let builder = auto::Builder::new(executor);
                let connection = builder.serve_connection(TokioIo::new(stream), service);
                // A connection that breaks is the client's affair, or a fault that was asked for.
                let _: Result<(), BoxError> = connection.await;
            });
        }
    });
}

/// Spawns tasks that end with the server: the listener, its connections, and the streams that
/// hyper spawns for HTTP/2.
#[derive(Clone)]
struct Tasks {
    stopped: watch::Receiver<bool>,
}

impl Tasks {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut stopped = self.stopped.clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                // An error means that the server was dropped.
                _ = stopped.wait_for(|stopped| *stopped) => {}
                () = task => {}
            }
        });
    }
}

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}

async fn collect(body: Incoming) -> Result<Bytes, BoxError> {
    let body = Limited::new(body, LONGEST_CALL).collect().await;
    body.map(Collected::to_bytes)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
