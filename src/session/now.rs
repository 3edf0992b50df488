//! The moment of a step. The clocks and the random numbers of a session are read here alone.

use std::time::SystemTime;

use tokio::time::Instant;

/// The moment of a step, and its luck: both clocks and a random number, read once at the edge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) mono: Instant,
    pub(super) wall: SystemTime,
    /// In `[0, 1)`.
    pub(super) chance: f64,
}

impl Now {
    pub(super) fn read() -> Self {
        Self { mono: Instant::now(), wall: wall_clock(), chance: fastrand::f64() }
    }
}

#[cfg(not(test))]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// A wall clock that a test of this thread can set ahead, as a suspend does.
#[cfg(test)]
fn wall_clock() -> SystemTime {
    SystemTime::now() + SUSPENDED.get()
}

#[cfg(test)]
thread_local! {
    pub(super) static SUSPENDED: std::cell::Cell<std::time::Duration> =
        const { std::cell::Cell::new(std::time::Duration::ZERO) };
}
