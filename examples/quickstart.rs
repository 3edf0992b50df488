//! The crate at work: an auth server and an API on loopback, tokens that live two seconds, and
//! many tasks that send requests through the layer and never see a token.
//!
//!     cargo run --example quickstart
//!
//! In the middle the server revokes all access tokens, so every task meets a 401 at once.

use std::{
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt, future::join_all};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use indicatif::{ProgressBar, ProgressStyle};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_refresh::{
    BoxError, Event, RefreshLayer, Session, endpoint::JsonEndpoint, testing::AuthServer,
};

const TOKEN_LIFE: Duration = Duration::from_secs(2);
const RUN: Duration = Duration::from_secs(10);
const TASKS: usize = 32;
const BETWEEN_REQUESTS: Duration = Duration::from_millis(20);

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    let server = AuthServer::builder().access_life(TOKEN_LIFE).rotate(true).start().await?;
    println!("An auth server and an API listen on {}.", server.url());
    println!(
        "{TASKS} tasks send requests for {} s. Access tokens live {} s, refresh tokens are good \
         for one use,\nand after {} s all access tokens are revoked.\n",
        RUN.as_secs(),
        TOKEN_LIFE.as_secs(),
        RUN.as_secs() / 2,
    );

    // These lines are all that a program needs.
    let session = Session::builder(JsonEndpoint::new(server.refresh_url())?)
        .tokens(server.log_in().tokens()?)
        .build();
    let client = ServiceBuilder::new()
        .layer(RefreshLayer::new(session.clone()))
        .service(Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>());

    let tally = &Tally::default();
    let progress = &progress_bar();
    let mut events = session.events();
    let work = async {
        let tasks = (0..TASKS).map(|_| send_requests(client.clone(), server.api_url(), tally));
        join_all(tasks).await;
    };
    let watch = async {
        while let Some(event) = events.next().await {
            if let Event::Refreshed { .. } = event {
                tally.refreshes.fetch_add(1, Relaxed);
            }
        }
    };
    let show = async {
        let start = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            progress.set_position(start.elapsed().as_millis() as u64);
            progress.set_message(tally.line());
        }
    };
    let revoke = async {
        tokio::time::sleep(RUN / 2).await;
        server.revoke_access_tokens();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = work => {}
        () = watch => {}
        () = show => {}
        () = revoke => {}
    }
    session.close().await?;
    progress.finish_and_clear();

    let counts = server.counts();
    let tokens = session.tokens().unwrap_or_default();
    let device = tokens.extra().get("device_id").and_then(|id| id.as_str()).unwrap_or("none");
    let failed = tally.failed.load(Relaxed);
    println!("requests            {:>8}", tally.requests.load(Relaxed));
    println!("failed              {failed:>8}");
    println!(
        "refreshes           {:>8}   calls to the token endpoint: {}",
        counts.refreshes, counts.calls
    );
    println!("retries after 401   {:>8}   all from the one revocation", counts.refused);
    println!("token lives seen    {:>8}", tally.refreshes.load(Relaxed) + 1);
    println!("refresh token reuse {:>8}", counts.reuses);
    println!("device_id           {device:>8}");
    println!();
    if failed > 0 {
        println!("{failed} requests failed.");
        return Ok(ExitCode::FAILURE);
    }
    println!("No request failed, and no task knew that there are tokens.");
    Ok(ExitCode::SUCCESS)
}

/// What a microservice does: requests, one after the other, through whatever client it was given.
async fn send_requests<S, R>(mut client: S, url: String, tally: &Tally)
where
    S: Service<Request<Full<Bytes>>, Response = http::Response<R>, Error = BoxError>,
    R: http_body::Body,
{
    let end = Instant::now() + RUN;
    while Instant::now() < end {
        let request = Request::post(format!("{url}/orders"))
            .body(Full::from("{\"item\":1}"))
            .expect("the URL is the server's own");
        tally.requests.fetch_add(1, Relaxed);
        let answer = async { client.ready().await?.call(request).await };
        let fine = match answer.await {
            Ok(response) if response.status() == StatusCode::OK => {
                response.into_body().collect().await.is_ok()
            }
            _ => false,
        };
        if !fine {
            tally.failed.fetch_add(1, Relaxed);
        }
        tokio::time::sleep(BETWEEN_REQUESTS).await;
    }
}

#[derive(Default)]
struct Tally {
    requests: AtomicU64,
    failed: AtomicU64,
    refreshes: AtomicU64,
}

impl Tally {
    fn line(&self) -> String {
        let [requests, failed, refreshes] =
            [&self.requests, &self.failed, &self.refreshes].map(|count| count.load(Relaxed));
        format!("{requests} requests, {failed} failed, {refreshes} refreshes")
    }
}

/// Drawn on a terminal only.
fn progress_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {msg}").expect("the template is constant");
    ProgressBar::new(RUN.as_millis() as u64).with_style(style)
}
