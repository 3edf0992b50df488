use std::time::SystemTime;

use tokio::time::Instant;

/// The moment of a step, and its luck: both clocks and a random number, read once at the edge.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct Now {
    pub(in crate::session) mono: Instant,
    pub(in crate::session) wall: SystemTime,
    /// In `[0, 1)`.
    pub(in crate::session) chance: f64,
}

impl Now {
    pub(in crate::session) fn read() -> Self {
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
    pub(in crate::session) static SUSPENDED: std::cell::Cell<std::time::Duration> =
        const { std::cell::Cell::new(std::time::Duration::ZERO) };
}
