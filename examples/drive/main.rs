//! Load through the layer against a server of your own: the crate, tried before a line is written.
//!
//!     cargo run --release --example drive --all-features -- --help
//!
//! The token endpoint can speak plain JSON or OAuth 2.0. What is printed at the end tells how the
//! requests went, how often the token was refreshed and how many requests were sent twice; `--plot`
//! draws it. Several processes can share one identity, through a file or Redis.

mod advice;
mod args;
mod client;
mod interrupt;
mod load;
mod plan;
mod plot;
mod progress;
mod report;
mod session;
mod store;
mod summary;
mod timeline;

use std::{io, pin::pin, process::ExitCode};

use tower::ServiceBuilder;
use tower_refresh::{BoxError, ErrorKind, RefreshLayer};
use tracing_subscriber::EnvFilter;

use self::{
    client::CountRetries,
    interrupt::{INTERRUPTED, interrupted},
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
    let told = async {
        let report = drive(&plan).await?;
        report.print(&format!("{}, {plan}", plan.request_line()), json);
        plot(&plan, &report)?;
        Ok::<_, BoxError>(report)
    };
    match told.await {
        Ok(report) if report.interrupted => INTERRUPTED.into(),
        Ok(report) if report.is_fine() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {}", report::chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn drive(plan: &Plan) -> Result<Report, BoxError> {
    let mut stop = pin!(interrupted());
    // Opening the store may refresh already, so from here on nothing ends the program unasked.
    let mut stopped = tokio::select! {
        opened = open_store(plan) => opened.map(|()| false)?,
        () = &mut stop => true,
    };
    let retries = CountRetries::default();
    // This is the stack that a program of yours would have, and two counters in it.
    let client = ServiceBuilder::new()
        .layer(RefreshLayer::new(plan.session.clone()))
        .layer(retries.clone())
        .map_response(client::note_refusals(plan.timeline.clone()))
        .timeout(plan.timeout)
        .service(client::https_or_http(plan.target.scheme())?);

    let load = Load::new(plan.clone());
    if !stopped {
        let mut tasks = load.start(client);
        let work = async {
            while let Some(ended) = tasks.join_next().await {
                ended.expect("a task sends requests to the end");
            }
        };
        stopped = tokio::select! {
            () = work => false,
            () = &mut stop => true,
            never = progress::show(&load) => match never {},
        };
        // What is under way after a Ctrl-C has no outcome, and counts for nothing.
        tasks.shutdown().await;
    }
    let elapsed = load.elapsed();
    if stopped {
        interrupt::end_at_the_next();
    }
    // Without this, a refresh under way would be cut off when `main` returns, and a rotated token
    // with it.
    if let Err(error) = plan.session.close().await {
        eprintln!("{}", report::chain(&error));
    }
    Ok(Report::new(plan, &load, retries.count(), elapsed, stopped))
}

/// Reads the store, so that one that cannot be used ends the run before it begins. What else goes
/// wrong here will show in the requests.
async fn open_store(plan: &Plan) -> Result<(), BoxError> {
    if !plan.is_durable {
        return Ok(());
    }
    match plan.session.ready().await {
        Err(error) if error.is_login_required() && plan.session.tokens().is_none() => {
            Err(format!("the store holds no tokens: {SET_TOKENS}").into())
        }
        Err(error) if error.kind() == ErrorKind::Store => Err(error.into()),
        _ => Ok(()),
    }
}

fn plot(plan: &Plan, report: &Report) -> Result<(), BoxError> {
    let Some(file) = &plan.plot else { return Ok(()) };
    let subtitle = format!("{plan}: {}", summary::in_a_line(report));
    let svg = plot::draw(&plan.request_line(), &subtitle, &plan.timeline.history());
    file.write(&svg).map_err(|error| format!("--plot {file} cannot be written: {error}"))?;
    Ok(())
}
