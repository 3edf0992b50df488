use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Where calls wait while a test holds them.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The gate is shut while any hold is alive.
    holds: usize,
    /// How many calls may pass all the same.
    passes: usize,
}

impl Gate {
    pub(super) fn hold(&self) -> Hold {
        self.0.state().holds += 1;
        Hold { gate: self.clone() }
    }

    /// Waits until the gate is open, or a pass is left to take.
    pub(super) async fn pass(&self) {
        let mut changed = std::pin::pin!(self.0.changed.notified());
        loop {
            // Listen before looking, or a release between the two would be missed.
            changed.as_mut().enable();
            if self.0.state().admits() {
                return;
            }
            changed.as_mut().await;
            changed.set(self.0.changed.notified());
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn admits(&mut self) -> bool {
        if self.holds == 0 {
            return true;
        }
        let admitted = self.passes > 0;
        self.passes -= usize::from(admitted);
        admitted
    }
}

/// Holds the calls to a token endpoint or a store until it is released or dropped.
///
/// Calls that arrive while any hold is alive have arrived (they are counted) and wait.
#[derive(Debug)]
#[must_use = "the calls go on when the hold is dropped"]
pub struct Hold {
    gate: Gate,
}

impl Hold {
    /// Lets this many calls through, waiting ones or later ones, and goes on holding the rest.
    pub fn let_through(&self, calls: usize) {
        self.gate.0.state().passes += calls;
        self.gate.0.changed.notify_waiters();
    }

    /// Opens the gate, unless another hold keeps it shut. Dropping does the same.
    pub fn release(self) {}
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.gate.0.state();
        state.holds -= 1;
        if state.holds == 0 {
            state.passes = 0;
        }
        drop(state);
        self.gate.0.changed.notify_waiters();
    }
}
