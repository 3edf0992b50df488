//! How fast the layer is, beside what one would have without it.
//!
//!     cargo bench --bench speed              # all of it, in about three minutes
//!     cargo bench --bench speed -- NAME…     # some of it
//!     cargo bench --bench speed -- charts    # draws what was measured last
//!
//! Each name prints a table and keeps its figures in `target/speed/NAME.json`.
//!
//! What counts is how the layer compares with what one would have without it, so both are measured
//! in one run, in rounds in which each has its turn: a busy machine is busy for both. Criterion
//! measures one after the other, a minute apart, and what takes a tenth of a second and is over,
//! such as a stampede, is not to be had in the thousands that it wants. So it is not used.

mod allocated;
mod bars;
mod charts;
mod connection;
mod end_to_end;
#[path = "../floors/mod.rs"]
mod floors;
mod hot_path;
mod paired;
mod replay;
mod report;
mod rounds;
mod stampede;
mod workers;

use std::{io, process::ExitCode};

use clap::{Parser, builder::PossibleValuesParser};

use report::Report;

/// What can be measured, by its name on the command line.
const BENCHES: [(&str, Bench); 5] = [
    ("hot_path", hot_path::run),
    ("workers", workers::run),
    ("stampede", stampede::run),
    ("replay", replay::run),
    ("end_to_end", end_to_end::run),
];

/// The name under which charts are drawn, and only drawn.
const CHARTS: &str = "charts";

type Bench = fn(Effort) -> Report;

/// How much is measured: enough to trust the figures, or as much as shows that it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    Thorough,
    Quick,
}

impl Effort {
    pub(crate) fn pick<T>(self, thorough: T, quick: T) -> T {
        match self {
            Self::Thorough => thorough,
            Self::Quick => quick,
        }
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    BENCHES.into_iter().map(|(name, _)| name).chain([CHARTS])
}

#[derive(Parser)]
struct Args {
    /// What to measure [default: everything], or `charts` to draw what was measured last
    #[arg(value_parser = PossibleValuesParser::new(names()))]
    names: Vec<String>,
    /// Measure for some seconds only, and keep no figures
    #[arg(long)]
    quick: bool,
    /// Fail if a target is missed
    #[arg(long)]
    check: bool,
    /// Given by `cargo bench`; `cargo test` does not, and wants to see it work, quickly
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> io::Result<ExitCode> {
    let args = Args::parse();
    let effort = if args.quick || !args.bench { Effort::Quick } else { Effort::Thorough };
    let mut met = true;
    for (name, run) in BENCHES {
        if args.names.is_empty() || args.names.iter().any(|wanted| wanted == name) {
            let report = run(effort);
            println!("{report}");
            if effort == Effort::Thorough {
                report.store()?;
            }
            met &= report.meets_its_targets();
        }
    }
    if args.names.iter().any(|wanted| wanted == CHARTS) {
        charts::draw()?;
    }
    Ok(if met || !args.check { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
