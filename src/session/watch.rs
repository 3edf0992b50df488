//! Watching a store that others write to.
//!
//! Whoever has refreshed, logged in or logged out elsewhere is followed without a request having
//! to fail first. And a store that has lost what it held (a restart, a wipe) gets it back from
//! whoever holds the newest tokens, before anybody spends older ones.

use std::sync::Arc;

use super::{save, shared::Shared, state::State, stored::changed_or, tasks::Started};
use crate::{
    error::Error,
    store::{RESTORED, Record, TokenStore},
};

pub(super) async fn run(started: Arc<Started>, store: Arc<dyn TokenStore>) {
    loop {
        let Some(lease) = started.session().map(|shared| shared.config.lease) else {
            return;
        };
        // A store that was lost is given so much time for the newest tokens to come back: a look
        // has to fall into it, also one that is late.
        changed_or(&*store, lease.mul_f64(0.3 + 0.2 * fastrand::f64())).await;
        let Some(shared) = started.session() else {
            return;
        };
        look_at(&shared).await;
    }
}

/// Whoever saves looks for himself, and so does a call under way when it ends.
fn busy(state: &State) -> bool {
    state.is_spending() || state.unsaved().is_some() || state.seed().is_some()
}

async fn look_at(shared: &Arc<Shared>) {
    // Whoever was to save may have ended with its runtime.
    save::spawn(shared);
    if shared.read(busy) {
        return;
    }
    // A store that fails is looked at again.
    let _ = look(shared).await;
}

/// Reads the store: follows it if it is ahead of memory, and gives it back what it has lost.
pub(super) async fn look(shared: &Arc<Shared>) -> Result<(), Error> {
    let _writing = shared.writing.lock().await;
    let stored = shared.load().await?;
    if let Some(stored) = &stored {
        shared.follow(stored);
    }
    let version = stored.as_ref().map(Record::version);
    let lost = shared.read(|state| {
        let lost =
            !busy(state) && state.is_lost(version) && version.unwrap_or_default() < state.version();
        lost.then(|| state.record().with_lease(RESTORED, shared.config.lease))
    });
    if let Some(record) = lost {
        // Another may have been faster, with the same tokens or newer ones.
        let _ = shared.in_time(|store| store.save(record, version)).await;
    }
    Ok(())
}
