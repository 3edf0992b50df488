//! tower-refresh beside yup-oauth2, google-cloud-auth and azure_core: what a request costs, and
//! what happens when many want a token at once. The README beside says how to read the tables.

mod allocations;
mod contenders;
mod endpoint;
mod experiments;
mod table;
mod versions;

use std::{env, time::Duration};

use clap::Parser;

use self::experiments::{contention, failure, recovery, stampede, steady};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Compares tower-refresh with yup-oauth2, google-cloud-auth and azure_core, and prints one
/// Markdown table per experiment. All of it happens on loopback.
#[derive(Parser)]
struct Arguments {
    /// Fewer rounds, fewer callers and less patience, to see that everything still works. The
    /// numbers are worth little then.
    #[arg(long)]
    quick: bool,
}

fn main() -> Result<(), BoxError> {
    let Arguments { quick } = Arguments::parse();
    let scale = if quick { Scale::QUICK } else { Scale::FULL };
    bypass_proxies();
    allow_many_sockets()?;

    println!("{}", versions::table());
    println!("{}", contenders::table());
    println!("{}", steady::run(&scale)?);
    println!("{}", contention::run(&scale)?);
    println!("{}", stampede::run(&scale)?);
    println!("{}", failure::run(&scale)?);
    println!("{}", recovery::run(&scale)?);
    Ok(())
}

/// How long everything takes.
struct Scale {
    /// How often each contender has its turn where speed is measured. Turns are short, so that
    /// most of them are over before the machine turns to something else.
    rounds: usize,
    /// The callers of the large stampede; the small one has [`FEW`].
    many: usize,
    /// When an experiment is given up, since some retry for minutes.
    patience: Duration,
}

/// The callers of a small stampede.
const FEW: usize = 20;

impl Scale {
    const FULL: Self = Self { rounds: 501, many: 10_000, patience: Duration::from_secs(20) };
    const QUICK: Self = Self { rounds: 50, many: 500, patience: Duration::from_secs(1) };
}

/// Some of the HTTP clients here ask the environment for a proxy, which none of them has to ask
/// for a loopback address.
fn bypass_proxies() {
    // SAFETY: no other thread is running yet that could read the environment.
    unsafe { env::set_var("NO_PROXY", "127.0.0.1") };
}

/// A library that calls the endpoint for each of its callers needs a socket for each, and one more
/// is at the endpoint's end.
fn allow_many_sockets() -> Result<(), BoxError> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit)?;
    }
    Ok(())
}
