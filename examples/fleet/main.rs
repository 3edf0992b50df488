//! A fleet that shares one identity: eight processes, one rotating refresh token in Redis, an auth
//! server that revokes everything if it sees a spent one, and access tokens that live two seconds.
//!
//!     cargo run --example fleet --features redis
//!
//! Every few seconds one process is killed where it stands and another takes its place. The exit
//! code is 0 if no request of any other process failed and no refresh token was used twice.
//!
//! A process that is killed in the few milliseconds between the auth server's answer and the save
//! takes the only good refresh token with it, and the run fails. That is rare, and no client can help
//! it; a server with a grace period can.

mod fleet;
mod interrupt;
mod member;
mod redis_server;
mod table;

use std::{pin::pin, process::ExitCode, time::Duration};

use clap::Parser;
use tower_refresh::BoxError;

use self::{
    fleet::Fleet,
    interrupt::{INTERRUPTED, interrupted},
    member::Orders,
    redis_server::RedisServer,
};

/// Runs a fleet of processes on one rotating refresh token, and kills one every few seconds.
#[derive(Debug, Parser)]
#[command(name = "fleet")]
struct Args {
    /// For how long
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
}

fn main() -> ExitCode {
    // The members are this program too.
    let (outcome, runtime) = match Orders::from_env() {
        Some(orders) => {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().expect("a runtime");
            (runtime.block_on(member::run(orders)), runtime)
        }
        None => {
            let args = Args::parse();
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            (runtime.block_on(run(&args)), runtime)
        }
    };
    // A member's reader of stdin may still be waiting.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::from(2)
    })
}

async fn run(args: &Args) -> Result<ExitCode, BoxError> {
    // It listens before there is a process that would be left behind.
    let mut stop = pin!(interrupted());
    let (redis, mut fleet) = tokio::select! {
        biased;
        () = &mut stop => return Ok(ExitCode::from(INTERRUPTED)),
        started = start() => started?,
    };
    println!(
        "{} processes share one refresh token, through Redis on port {}, for {} s.\n",
        fleet::SIZE,
        redis.port(),
        args.seconds
    );
    fleet.run(Duration::from_secs(args.seconds.into()), stop).await?;
    let summary = fleet.stop().await;
    print!("{}", summary.text);
    Ok(if summary.is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn start() -> Result<(RedisServer, Fleet), BoxError> {
    let redis = RedisServer::start().await?;
    let fleet = Fleet::start(redis.url()).await?;
    Ok((redis, fleet))
}
