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
        Self { mono: Instant::now(), wall: SystemTime::now(), chance: fastrand::f64() }
    }
}
