//! The eager mode: a timer that refreshes although no request comes.

use std::{
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::select;
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{shared::Shared, state::State};

/// It keeps no session alive: between two looks it holds a weak reference only.
pub(super) struct Timer {
    pub(super) shared: Weak<Shared>,
    pub(super) changed: Arc<Notify>,
}

/// However far off the next refresh is, this often the clocks are compared.
const TICK: Duration = Duration::from_secs(15);

impl Timer {
    pub(super) async fn run(self) {
        while self.act().is_some() {
            // Made before the look, so that no change falls between the two.
            let changed = self.changed.notified();
            let tick = Instant::now() + TICK;
            let Some(due) = self.shared.upgrade().map(|shared| shared.read(State::due)) else {
                return;
            };
            let wake_at = due.map_or(tick, |due| due.min(tick));
            select(pin!(sleep_until(wake_at)), pin!(changed)).await;
        }
    }

    /// Refreshes if it is time; `None` if it never will be again.
    fn act(&self) -> Option<()> {
        let shared = self.shared.upgrade()?;
        if shared.read(State::is_closed) {
            return None;
        }
        shared.change(State::notice_drift);
        shared.refresh_ahead(&Handle::current());
        Some(())
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.change(State::timer_died);
        }
    }
}
