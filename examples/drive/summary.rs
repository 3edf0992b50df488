//! The report for people: a figure a line, with what it means.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    time::Duration,
};

use console::style;
use indicatif::HumanCount;

use crate::report::{Latency, Report};

pub(crate) struct Summary<'a> {
    pub(crate) headline: &'a str,
    pub(crate) report: &'a Report,
}

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.report;
        writeln!(f, "{}\n", style(self.headline).bold())?;

        row(f, "requests", HumanCount(report.requests), &how_long(report))?;
        row(f, "ok", HumanCount(report.ok), &outcomes(&report.status, |status| *status < 400))?;
        let failed = report.requests - report.ok;
        let mut failures = outcomes(&report.status, |status| *status >= 400);
        for (kind, count) in &report.errors {
            let comma = if failures.is_empty() { "" } else { ", " };
            failures += &format!("{comma}{kind}: {count}");
        }
        row(f, "failed", HumanCount(failed), &failures)?;
        if !report.status.is_empty() {
            let Latency { p50, p90, p99, max } = report.latency_us;
            row(f, "latency p50", time(p50), "to the end of the answer's body")?;
            row(f, "latency p90", time(p90), "")?;
            row(f, "latency p99", time(p99), "")?;
            row(f, "latency max", time(max), "")?;
        }
        let brought = "calls to the token endpoint that brought a token";
        row(f, "refreshes", HumanCount(report.refreshes), brought)?;
        if report.refresh_failures > 0 {
            let brought = "calls to the token endpoint that brought none";
            row(f, "refresh failures", HumanCount(report.refresh_failures), brought)?;
        }
        let why = "requests sent again with the next token, after a 401";
        row(f, "retries", HumanCount(report.retries), why)?;
        for (name, value) in &report.extra {
            // A server's words may hold what moves a cursor; JSON and this escape it.
            writeln!(f, "{:<16}  {value}", name.escape_debug().to_string())?;
        }

        let verdict =
            format!("{} of {} requests failed.", HumanCount(failed), HumanCount(report.requests));
        match failed {
            0 if report.requests == 0 => write!(f, "\nNo request was answered."),
            0 => write!(f, "\n{}", style("No request failed.").green()),
            _ => write!(f, "\n{}", style(verdict).red().bold()),
        }
    }
}

/// How the run went, for whoever sees the picture alone.
pub(crate) fn in_a_line(report: &Report) -> String {
    let requests = HumanCount(report.requests);
    let failed = HumanCount(report.requests - report.ok);
    format!("{requests} requests {}, {failed} failed", how_long(report))
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, figure: impl Display, means: &str) -> fmt::Result {
    let line = format!("{name:<16} {:>10}   {means}", figure.to_string());
    writeln!(f, "{}", line.trim_end())
}

fn how_long(report: &Report) -> String {
    let rate = report.requests as f64 / report.elapsed_s.max(1e-6);
    let stopped = if report.interrupted { "; stopped by Ctrl-C" } else { "" };
    format!("in {:.2} s, {rate:.0} per second{stopped}", report.elapsed_s)
}

fn outcomes(status: &BTreeMap<u16, u64>, which: impl Fn(&u16) -> bool) -> String {
    let which = status.iter().filter(|(status, _)| which(status));
    let counts: Vec<_> = which.map(|(status, count)| format!("{status}: {count}")).collect();
    counts.join(", ")
}

fn time(us: u64) -> String {
    format!("{:.2?}", Duration::from_micros(us))
}
