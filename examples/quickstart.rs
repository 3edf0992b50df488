//! The crate at work: an auth server and an API on loopback, tokens that live two seconds, and
//! many tasks that send requests through the layer and never see a token.
//!
//!     cargo run --example quickstart
//!
//! In the middle the server revokes all access tokens, so every task meets a 401 at once.

use std::{
    fmt::Display,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use bytes::Bytes;
use console::style;
use futures::future::{join_all, join3};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use tokio::signal::ctrl_c;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_refresh::{
    BoxError, Event, RefreshLayer, Session, endpoint::JsonEndpoint, testing::AuthServer,
};

const TOKEN_LIFE: Duration = Duration::from_secs(2);
const RUN: Duration = Duration::from_secs(6);
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
        .initial_tokens(server.log_in().tokens()?)
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
    let interrupted = tokio::select! {
        () = work => false,
        _ = ctrl_c() => true,
        _ = join3(watch, show, revoke) => unreachable!("they go on"),
    };
    progress.finish_and_clear();
    // Waits for a refresh that is under way, whose new refresh token would be lost otherwise.
    tokio::select! {
        closed = session.close() => closed?,
        _ = ctrl_c() => {}
    }

    let counts = server.counts();
    let failed = tally.failed.load(Relaxed);
    let tokens = session.tokens().unwrap_or_default();
    let device = tokens.extra().get("device_id").and_then(|id| id.as_str()).unwrap_or("none");
    let never_see = format!("from {TASKS} tasks that never see a token");
    let calls = format!("one serves all tasks: {} calls to the token endpoint", counts.calls);
    let life = format!("each lasts {} s at most", TOKEN_LIFE.as_secs());
    // Ctrl-C may have come before it.
    let revoked = if counts.refused > 0 { "all from the one revocation" } else { "" };
    row("requests", HumanCount(tally.requests.load(Relaxed)), &never_see);
    row("failed", failed, "");
    row("refreshes", counts.refreshes, &calls);
    row("retries after 401", counts.refused, revoked);
    row("token lives seen", tally.refreshes.load(Relaxed) + 1, &life);
    row("refresh token reuse", counts.reuses, "each is good for one use");
    row("device_id", device, "whatever else the token endpoint sends is kept, too");
    println!();
    if interrupted {
        println!("Stopped by Ctrl-C. Requests that were under way are not counted.");
        return Ok(ExitCode::from(130));
    }
    if failed > 0 {
        println!("{}", style(format!("{failed} requests failed.")).red().bold());
        return Ok(ExitCode::FAILURE);
    }
    println!("{}", style("No request failed, and no task knew that there are tokens.").green());
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
        let answer = async { client.ready().await?.call(request).await };
        let fine = match answer.await {
            Ok(response) if response.status() == StatusCode::OK => {
                response.into_body().collect().await.is_ok()
            }
            _ => false,
        };
        tally.requests.fetch_add(1, Relaxed);
        tally.failed.fetch_add(u64::from(!fine), Relaxed);
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

fn row(name: &str, figure: impl Display, means: &str) {
    println!("{}", format!("{name:<19} {:>10}   {means}", figure.to_string()).trim_end());
}

/// Drawn on a terminal only.
fn progress_bar() -> ProgressBar {
    let style =
        ProgressStyle::with_template("{bar:30.cyan}  {msg}").expect("the template is constant");
    ProgressBar::new(RUN.as_millis() as u64).with_style(style)
}
