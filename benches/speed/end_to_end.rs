//! Real requests: hyper's client and a server of hyper's, over HTTP/1.1 on loopback.
//!
//! The server knows how long a token lives, so a layer that let one go out too late would be seen
//! to fail.

use std::{
    net::Ipv4Addr,
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::join_all;
use hdrhistogram::Histogram;
use http::{HeaderMap, Request, Response, StatusCode, Uri, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::{net::TcpListener, runtime};
use tower::{Layer, Service, ServiceExt};
use tower_http::auth::AddAuthorizationLayer;
use tower_refresh::{
    BoxError, RefreshLayer, Session, Tokens, endpoint::TokenResponse, testing::GatedEndpoint,
};

use crate::{
    Effort,
    report::Report,
    rounds::{interleaved, median, worked},
};

const TASKS: usize = 16;
const SHORT_LIFE: Duration = Duration::from_secs(2);

pub(crate) fn run(effort: Effort) -> Report {
    let columns = ["contender", "requests/s", "ratio", "p50 (µs)", "p99 (µs)", "client's CPU (µs)"];
    let title = format!("End to end: {TASKS} tasks, HTTP/1.1 on loopback");
    let mut report = Report::new("end_to_end", &title, columns);
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = &runtime.expect("the system has what a runtime needs");
    let server = start_server();
    let turn = effort.pick(Duration::from_millis(500), Duration::from_millis(200));

    let no_layer = AddAuthorizationLayer::bearer(&token(FOR_EVER)).layer(hyper_client());
    let long_lived = RefreshLayer::new(long_lived_session()).layer(hyper_client());
    let endpoint = short_lived_tokens();
    let short_lived =
        RefreshLayer::new(Session::builder(endpoint.clone()).build()).layer(hyper_client());
    let turns = interleaved(
        effort.pick(25, 5),
        &mut [
            &mut || runtime.block_on(send_for(turn, &no_layer, &server)),
            &mut || runtime.block_on(send_for(turn, &long_lived, &server)),
            &mut || runtime.block_on(send_for(turn, &short_lived, &server)),
        ],
    );

    let names = ["hyper, a static header", "RefreshLayer", "RefreshLayer, tokens that live 2 s"];
    for (name, own) in names.into_iter().zip(&turns) {
        let mut latencies = nothing_yet();
        own.iter().for_each(|turn| latencies += &turn.latencies);
        let ratios = own.iter().zip(&turns[0]).map(|(own, bare)| own.rate() / bare.rate());
        report.row([
            name.into(),
            median(own.iter().map(Turn::rate)).round().into(),
            median(ratios).into(),
            (latencies.value_at_quantile(0.5) as f64 / 1e3).into(),
            (latencies.value_at_quantile(0.99) as f64 / 1e3).into(),
            (median(own.iter().map(Turn::cpu)) * 1e6).into(),
        ]);
    }
    let failed: u64 = turns.iter().flatten().map(|turn| turn.failed).sum();
    let sent: u64 = turns.iter().flatten().map(Turn::sent).sum();
    let refreshes = endpoint.calls();
    let what = format!("{refreshes} refreshes, and {failed} of {sent} requests failed");
    report.target(what, failed == 0 && refreshes > 1);
    report.note("client's CPU: of one request, whatever else the machine does");
    report
}

/// What came of sending requests for a while.
struct Turn {
    latencies: Histogram<u64>,
    failed: u64,
    took: Duration,
    worked: Duration,
}

impl Turn {
    fn sent(&self) -> u64 {
        self.latencies.len()
    }

    fn rate(&self) -> f64 {
        self.sent() as f64 / self.took.as_secs_f64()
    }

    /// Seconds of CPU for one request.
    fn cpu(&self) -> f64 {
        self.worked.as_secs_f64() / self.sent() as f64
    }
}

async fn send_for<S>(time: Duration, client: &S, server: &Uri) -> Turn
where
    S: Service<Request<Full<Bytes>>, Response = Response<Incoming>, Error: Into<BoxError>> + Clone,
{
    let (start, started_at) = (Instant::now(), worked());
    let tasks = join_all((0..TASKS).map(|_| async {
        let (mut client, mut latencies, mut failed) = (client.clone(), nothing_yet(), 0);
        while start.elapsed() < time {
            let sent = Instant::now();
            failed += u64::from(!is_answered(&mut client, server).await);
            latencies += sent.elapsed().as_nanos() as u64;
        }
        (latencies, failed)
    }));
    let mut turn =
        Turn { latencies: nothing_yet(), failed: 0, took: Duration::ZERO, worked: Duration::ZERO };
    for (latencies, failed) in tasks.await {
        turn.latencies += latencies;
        turn.failed += failed;
    }
    Turn { took: start.elapsed(), worked: worked() - started_at, ..turn }
}

fn nothing_yet() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are not too many")
}

async fn is_answered<S>(client: &mut S, server: &Uri) -> bool
where
    S: Service<Request<Full<Bytes>>, Response = Response<Incoming>, Error: Into<BoxError>>,
{
    let mut request = Request::new(Full::from("{\"item\":1}"));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = server.clone();
    let answer = async {
        let response = client.ready().await.map_err(Into::into)?.call(request).await;
        let (head, body) = response.map_err(Into::into)?.into_parts();
        body.collect().await?;
        Ok::<_, BoxError>(head.status == StatusCode::OK)
    };
    answer.await.unwrap_or(false)
}

fn hyper_client() -> Client<HttpConnector, Full<Bytes>> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

fn long_lived_session() -> Session {
    let tokens = Tokens::new(token(FOR_EVER)).expect("visible ASCII");
    Session::builder(GatedEndpoint::new()).initial_tokens(tokens).build()
}

fn short_lived_tokens() -> GatedEndpoint {
    let endpoint = GatedEndpoint::new();
    endpoint.answer_always(|| {
        let response = TokenResponse::new(token(START.elapsed() + SHORT_LIFE));
        response.expect("visible ASCII").with_expires_in(SHORT_LIFE).into()
    });
    endpoint
}

/// When the server's clock began.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

const FOR_EVER: Duration = Duration::from_secs(60 * 60 * 24);

/// A token that says when it ends by the server's clock. It is as long as a JWT.
fn token(end: Duration) -> String {
    format!("{:0>400}", end.as_nanos())
}

fn is_live(headers: &HeaderMap) -> bool {
    let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = value.and_then(|value| value.strip_prefix("Bearer "));
    let end = token.and_then(|token| token.parse::<u128>().ok());
    end.is_some_and(|end| START.elapsed().as_nanos() < end)
}

/// A server on a thread of its own, for as long as the program runs.
fn start_server() -> Uri {
    let listener =
        std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port can be had");
    listener.set_nonblocking(true).expect("a socket can");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("the system has what a runtime needs").block_on(async {
            let listener = TcpListener::from_std(listener).expect("it is non-blocking");
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).expect("a socket can");
                let answer = service_fn(answer);
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
    });
    format!("http://{address}/orders").parse().expect("an address makes a URI")
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let live = is_live(request.headers());
    request.into_body().collect().await?;
    let mut response = Response::new(Full::from("{\"ordered\":true}"));
    *response.status_mut() = if live { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
    Ok(response)
}
