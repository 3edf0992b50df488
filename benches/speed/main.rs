//! How fast the layer is, beside what one would have without it.
//!
//!     cargo bench --bench speed              # all of it, in about three minutes
//!     cargo bench --bench speed -- NAME…     # some of it
//!     cargo bench --bench speed -- charts    # draws what was measured last
//!
//! Each name prints a table and keeps its figures in `target/speed/NAME.json`.
//!
//! What counts is how the layer compares with its floor. Both are therefore measured in one run,
//! in rounds in which each has its turn, so that a busy machine is busy for both. That is why there
//! is no Criterion here: it measures one after the other, minutes apart, and its figures for a
//! ten-thousand-task stampede, which happens once, would need thousands of them.

mod allocated;
mod connection;
mod end_to_end;
mod replay;
mod report;
mod rounds;
mod stampede;

use std::{io, process::ExitCode};

use clap::{Parser, builder::PossibleValuesParser};

use report::Report;

/// What can be measured, by its name on the command line.
const BENCHES: [(&str, Bench); 3] =
    [("stampede", stampede::run), ("replay", replay::run), ("end_to_end", end_to_end::run)];

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

#[derive(Parser)]
struct Args {
    /// What to measure [default: everything]
    #[arg(value_parser = PossibleValuesParser::new(BENCHES.map(|(name, _)| name)))]
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
    Ok(if met || !args.check { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
