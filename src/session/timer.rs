//! The eager mode: a timer that refreshes although no request comes.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::future::select;
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{state::State, tasks::Started};

/// However far off the next refresh is, this often the clocks are compared.
const TICK: Duration = Duration::from_secs(15);

pub(super) async fn run(started: Arc<Started>, changed: Arc<Notify>) {
    while act(&started).is_some() {
        // Made before the look, so that no change falls between the two.
        let changed = changed.notified();
        let tick = Instant::now() + TICK;
        let Some(due) = started.session().map(|shared| shared.read(State::due)) else {
            return;
        };
        let wake_at = due.map_or(tick, |due| due.min(tick));
        select(pin!(sleep_until(wake_at)), pin!(changed)).await;
    }
}

/// Refreshes if it is time; `None` if it never will be again.
fn act(started: &Started) -> Option<()> {
    let shared = started.session()?;
    shared.change(State::notice_drift);
    shared.refresh_ahead(&Handle::current());
    Some(())
}
