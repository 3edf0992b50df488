//! Load through the layer against a server of your own: the crate, tried before a line is written.
//!
//!     cargo run --release --example drive --all-features -- --help
//!
//! The token endpoint can speak plain JSON or OAuth 2.0. What is printed at the end tells how the
//! requests went, how often the token was refreshed and how many requests were sent twice.
//! Several processes can share one identity, through a file or Redis.

mod args;
mod client;
mod load;
mod plan;
mod report;
mod store;

use std::{env, io, process::ExitCode, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::{signal::ctrl_c, time::Instant};
use tower::ServiceBuilder;
use tower_refresh::{BoxError, ErrorKind, RefreshLayer};
use tracing_subscriber::EnvFilter;

use self::{
    client::CountRetries,
    load::Load,
    plan::{Plan, SET_TOKENS},
    report::Report,
};

#[tokio::main]
async fn main() -> ExitCode {
    // Nobody asked for logs who did not set `RUST_LOG`.
    let logs = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(logs).with_writer(io::stderr).init();
    let args = args::parse();
    let json = args.json;
    let plan = Plan::new(args).unwrap_or_else(|error| args::bad_usage(&error));
    match drive(plan).await {
        Ok(report) => {
            report.print(json);
            if report.is_fine() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {}", report::chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn drive(plan: Plan) -> Result<Report, BoxError> {
    if plan.is_durable {
        load(&plan).await?;
    }
    let retries = CountRetries::default();
    // This is the stack that a program of yours would have, and a counter in it.
    let client = ServiceBuilder::new()
        .layer(RefreshLayer::new(plan.session.clone()))
        .layer(retries.clone())
        .timeout(plan.timeout)
        .service(client::https_or_http(plan.target.scheme())?);

    let load = Load::new(plan.clone());
    let mut tasks = load.start(client);
    let work = async {
        while let Some(ended) = tasks.join_next().await {
            ended.expect("a task sends requests to the end");
        }
    };
    tokio::select! {
        () = work => {}
        _ = ctrl_c() => {}
        () = show(&load) => {}
    }
    let elapsed = load.elapsed();
    // What is under way after a Ctrl-C has no outcome, and counts for nothing.
    tasks.shutdown().await;

    // Without this, a refresh under way would be cut off when `main` returns, and a rotated token
    // with it.
    tokio::select! {
        closed = plan.session.close() => {
            if let Err(error) = closed {
                eprintln!("{}", report::chain(&error));
            }
        }
        _ = ctrl_c() => eprintln!("not waiting for the refresh under way: its token may be lost"),
    }
    Ok(Report::new(&plan, &load, retries.count(), elapsed))
}

/// Reads the store, so that one that cannot be used ends the run before it begins. What else goes
/// wrong here will show in the requests.
async fn load(plan: &Plan) -> Result<(), BoxError> {
    match plan.session.load().await {
        Err(error) if error.is_login_required() && plan.session.tokens().is_none() => {
            Err(format!("the store holds no tokens: {SET_TOKENS}").into())
        }
        Err(error) if error.kind() == ErrorKind::Store => Err(error.into()),
        _ => Ok(()),
    }
}

/// Draws how far it has come, on a terminal only, and not between the lines of a log.
async fn show(load: &Load) {
    if env::var_os("RUST_LOG").is_some() {
        std::future::pending::<()>().await;
    }
    let style = ProgressStyle::with_template("{bar:30} {msg}").expect("the template is constant");
    let bar = Cleared(ProgressBar::new(1000).with_style(style));
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        bar.0.set_position((load.progress(Instant::now()) * 1000.0) as u64);
        bar.0.set_message(load.line());
    }
}

/// The summary takes the place of the bar, however the run ended.
struct Cleared(ProgressBar);

impl Drop for Cleared {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
