use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Collected, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::{net::TcpListener, sync::watch};

use super::{
    api,
    body::{ServerBody, whole},
    fault::Fault,
    protocol::{self, Protocol},
    shared::Shared,
    wire::Wire,
};
use crate::error::BoxError;

/// No call to a token endpoint is longer.
const LONGEST_CALL: usize = 1024 * 1024;

/// How soon after a failure the listener accepts again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

impl Shared {
    async fn serve(
        &self,
        request: Request<Incoming>,
        wire: &Wire,
    ) -> Result<Response<ServerBody>, BoxError> {
        let mut response = match request.uri().path() {
            "/v1/auth/refresh" => self.call(request, protocol::freddy, wire).await?,
            "/oauth2/token" => self.call(request, protocol::oauth2, wire).await?,
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
        wire: &Wire,
    ) -> Result<Response<ServerBody>, BoxError> {
        let (head, body) = request.into_parts();
        let body = collect(body).await?;
        self.counters.add(|counts| counts.calls += 1);
        self.gate.pass().await;
        let carry_out = || {
            let mut answer = protocol(self, &head, &body);
            answer.headers_mut().insert(header::DATE, self.date());
            answer
        };
        // HTTP/2 has no words of its own to be put otherwise.
        let wire = Some(wire).filter(|_| head.version < Version::HTTP_2);
        // The lock is gone before the fault strikes, or no other call could be served meanwhile.
        let fault: Option<Fault> = self.faults().next();
        match fault {
            Some(fault) => fault.strike(carry_out, wire).await,
            None => match (&self.settings.dialect, wire) {
                (Some(dialect), Some(wire)) => dialect.answer(carry_out(), wire).await,
                _ => Ok(carry_out().map(whole)),
            },
        }
    }

    fn date(&self) -> HeaderValue {
        let date = httpdate::fmt_http_date(self.ledger().policy.server_time());
        HeaderValue::try_from(date).expect("an HTTP date is a header value")
    }

    /// Tells the time as this server sees it. hyper's own clock is right, so it will do for a
    /// server whose clock is.
    fn stamp(&self, response: &mut Response<ServerBody>) {
        let is_wrong = self.ledger().policy.clock_is_wrong();
        if is_wrong {
            response.headers_mut().entry(header::DATE).or_insert(self.date());
        }
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
            let wire = Wire::new(stream);
            let io = TokioIo::new(wire.clone());
            tasks.spawn(async move {
                // An `io::Error`, as rustc cannot prove the task `Send` with a boxed one.
                let service = service_fn(|request| {
                    let (shared, wire) = (shared.clone(), wire.clone());
                    async move { shared.serve(request, &wire).await.map_err(io::Error::other) }
                });
                // No timer: a pooled connection that hyper closed for its idleness would be a
                // fault that was not asked for.
                let builder = auto::Builder::new(executor);
                let connection = builder.serve_connection(io, service);
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
