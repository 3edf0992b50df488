//! What happened when, in little memory however long the run is.

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

/// As many columns as a picture shows side by side.
const COLUMNS: usize = 160;
/// As many answers as can be told apart in a picture.
const FEW: usize = 2000;
const FIRST_WIDTH: Duration = Duration::from_millis(1);

pub(crate) struct Timeline {
    start: Instant,
    history: Mutex<History>,
}

pub(crate) struct History {
    /// Every answer, as long as they are few.
    pub(crate) few: Option<Vec<Answer>>,
    /// How much time a column stands for.
    pub(crate) width: Duration,
    pub(crate) columns: Vec<Column>,
}

#[derive(Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) at: Duration,
    pub(crate) latency: Duration,
}

/// What ended within a stretch of time.
pub(crate) struct Column {
    /// In µs.
    pub(crate) latency: Histogram<u64>,
    pub(crate) marks: Marks,
}

/// How often each of these happened.
#[derive(Clone, Copy, Default)]
pub(crate) struct Marks {
    pub(crate) refreshes: u64,
    pub(crate) refusals: u64,
    pub(crate) failures: u64,
}

impl Timeline {
    pub(crate) fn start() -> Self {
        let history = History { few: Some(Vec::new()), width: FIRST_WIDTH, columns: Vec::new() };
        Self { start: Instant::now(), history: Mutex::new(history) }
    }

    /// A request has an outcome: an answer after `latency`, or none at all.
    pub(crate) fn ended(&self, latency: Option<Duration>, is_ok: bool) {
        let (mut history, at) = self.now();
        let column = history.column(at);
        column.marks.failures += u64::from(!is_ok);
        if let Some(latency) = latency {
            column.latency.record(latency.as_micros() as u64).expect("it grows as needed");
            history.keep(Answer { at, latency });
        }
    }

    /// The token endpoint has sent a token.
    pub(crate) fn refreshed(&self) {
        let (mut history, at) = self.now();
        history.column(at).marks.refreshes += 1;
    }

    /// The API has answered 401, whatever became of the request then.
    pub(crate) fn refused(&self) {
        let (mut history, at) = self.now();
        history.column(at).marks.refusals += 1;
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time is read under the lock: what waits for it is not sorted in front of what did not.
    fn now(&self) -> (MutexGuard<'_, History>, Duration) {
        let history = self.history();
        (history, self.start.elapsed())
    }
}

impl History {
    pub(crate) fn is_empty(&self) -> bool {
        self.columns.iter().all(|column| column.latency.is_empty())
    }

    pub(crate) fn end(&self) -> Duration {
        self.width * self.columns.len() as u32
    }

    pub(crate) fn total(&self) -> Marks {
        self.columns.iter().fold(Marks::default(), |sum, column| sum.plus(column.marks))
    }

    /// The middle of each column, and the column.
    pub(crate) fn over_time(&self) -> impl Iterator<Item = (Duration, &Column)> {
        let middles = (0..).map(|n| self.width * n + self.width / 2);
        middles.zip(&self.columns)
    }

    fn keep(&mut self, answer: Answer) {
        match &mut self.few {
            Some(few) if few.len() < FEW => few.push(answer),
            _ => self.few = None,
        }
    }

    fn column(&mut self, at: Duration) -> &mut Column {
        let mut column = self.number(at);
        while column >= COLUMNS {
            self.halve();
            column = self.number(at);
        }
        if column >= self.columns.len() {
            self.columns.resize_with(column + 1, Column::empty);
        }
        &mut self.columns[column]
    }

    fn number(&self, at: Duration) -> usize {
        (at.as_nanos() / self.width.as_nanos()) as usize
    }

    /// Makes one column of every two.
    fn halve(&mut self) {
        self.width *= 2;
        let mut old = mem::take(&mut self.columns).into_iter();
        while let Some(mut column) = old.next() {
            if let Some(next) = old.next() {
                column.absorb(next);
            }
            self.columns.push(column);
        }
    }
}

impl Column {
    fn empty() -> Self {
        // Two digits are more than a picture shows.
        let latency = Histogram::new(2).expect("the precision is constant");
        Self { latency, marks: Marks::default() }
    }

    fn absorb(&mut self, next: Self) {
        self.latency.add(next.latency).expect("it grows as needed");
        self.marks = self.marks.plus(next.marks);
    }
}

impl Marks {
    fn plus(self, other: Self) -> Self {
        Self {
            refreshes: self.refreshes + other.refreshes,
            refusals: self.refusals + other.refusals,
            failures: self.failures + other.failures,
        }
    }
}
