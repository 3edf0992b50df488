//! What is shown: the living while they work, and everything at the end.

use std::{
    fmt::{self, Display, Write as _},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use tower_refresh::testing::Counts;

/// What is known of a member.
pub(crate) struct Row {
    pub(crate) number: usize,
    pub(crate) pid: u32,
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    pub(crate) refreshes: u64,
    pub(crate) error: Option<String>,
    pub(crate) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum State {
    Running,
    /// By the fleet, after so long.
    Killed(Duration),
    /// In order, when it was asked to.
    Ended,
    /// By itself, which none should.
    Died,
}

pub(crate) struct Totals {
    pub(crate) elapsed: Duration,
    pub(crate) token_life: Duration,
    pub(crate) kills: usize,
    pub(crate) counts: Counts,
}

/// Drawn on a terminal only, and wiped at the end.
pub(crate) struct Live(ProgressBar);

impl Live {
    pub(crate) fn new() -> Self {
        let style = ProgressStyle::with_template("{msg}").expect("the template is constant");
        Self(ProgressBar::new_spinner().with_style(style))
    }

    pub(crate) fn draw(&self, rows: &[Row], totals: &Totals) {
        if !self.0.is_hidden() {
            self.0.set_message(format!("{}\n{totals}", table(rows)));
            self.0.tick();
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// The end of it.
pub(crate) struct Summary {
    pub(crate) text: String,
    pub(crate) is_fine: bool,
}

impl Summary {
    pub(crate) fn new(rows: &[Row], totals: &Totals) -> Self {
        let mut text = format!("{}\n{totals}\n\n", table(rows));
        let survivors: Vec<_> =
            rows.iter().filter(|row| !matches!(row.state, State::Killed(_))).collect();
        let failed: u64 = survivors.iter().map(|row| row.failures).sum();
        let died = survivors.iter().filter(|row| row.state != State::Ended).count();
        let reuses = totals.counts.reuses;
        for row in rows.iter().filter(|row| row.failures > 0) {
            let error = row.error.as_deref().unwrap_or("unknown");
            let _ = writeln!(text, "first failure of process {}: {error}", row.number);
        }
        let sent = rows.iter().any(|row| row.requests > 0);
        let is_fine = sent && (failed, died, reuses) == (0, 0, 0);
        let _ = match is_fine {
            true => writeln!(
                text,
                "No request of a process that lived failed, and no refresh token was used twice."
            ),
            false => writeln!(
                text,
                "Of the processes that were not killed, {failed} requests failed and {died} \
                 processes did not end in order; {reuses} refresh tokens were used twice."
            ),
        };
        Self { text, is_fine }
    }
}

fn table(rows: &[Row]) -> String {
    let mut table = "process      pid  requests  failures  refreshes\n".to_owned();
    for row in rows {
        let Row { number, pid, requests, failures, refreshes, .. } = row;
        let line = format!("{number:>7} {pid:>8} {requests:>9} {failures:>9} {refreshes:>10}");
        let _ = writeln!(table, "{line}{}", row.state);
    }
    table
}

impl Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running | Self::Ended => Ok(()),
            Self::Killed(after) => write!(f, "  killed after {:.1} s", after.as_secs_f64()),
            Self::Died => f.write_str("  did not end in order"),
        }
    }
}

impl Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { requests, refused, calls, refreshes, reuses, .. } = self.counts;
        let lives = self.elapsed.div_duration_f64(self.token_life);
        let (elapsed, life) = (self.elapsed.as_secs_f64(), self.token_life.as_secs_f64());
        let per_life = refreshes as f64 / lives;
        writeln!(f, "time                 {elapsed:.1} s, {lives:.1} token lives of {life} s")?;
        writeln!(f, "kills                {}", self.kills)?;
        writeln!(f, "requests             {requests}, {refused} of them met a 401")?;
        writeln!(
            f,
            "refreshes            {refreshes}, {per_life:.2} per token life, in {calls} calls"
        )?;
        write!(f, "refresh token reuse  {reuses}")
    }
}
