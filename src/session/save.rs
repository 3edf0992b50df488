//! Saving what memory holds and the store does not: it is tried until it succeeds, or until
//! something newer makes it needless.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::time::sleep;

use super::{
    backoff,
    shared::Shared,
    state::{State, Unsaved},
};
use crate::{
    error::{BoxError, Error},
    event::Event,
    store::{Record, Saved},
};

/// Starts the task that saves, unless one is running. Without a runtime the next refresh does it.
pub(super) fn spawn(shared: &Arc<Shared>) {
    let Some(runtime) = shared.runtime() else {
        return;
    };
    if shared.change(State::claim_saving) {
        shared.task_started();
        let saver = Saver { shared: shared.clone(), claimed: true };
        runtime.spawn(saver.run());
    }
}

/// Saves, as far as one or two writes do it.
pub(super) async fn once(shared: &Arc<Shared>) -> Result<(), Error> {
    let stored = shared.load().await?;
    let mut followed = None;
    let write = shared.change(|state| {
        let unsaved = state.unsaved()?;
        let expected = stored.as_ref().map(Record::version);
        match stored {
            Some(newer) if newer.version() >= state.version() => match unsaved {
                Unsaved::Decision => state.outrank(newer.version()),
                // Ours after all, though we never heard so.
                Unsaved::Rotation if newer.holds(state.tokens()) => {
                    state.saved(state.version());
                    return None;
                }
                Unsaved::Rotation => {
                    followed = Some(newer.tokens().is_some());
                    state.follow(newer, &shared.config);
                    return None;
                }
            },
            _ => {}
        }
        Some((state.record(), expected))
    });
    match followed {
        Some(true) => {
            let generation = shared.read(State::stamp).generation;
            shared.events.send(Event::Refreshed { generation, adopted: true });
        }
        Some(false) => shared.events.send(Event::Cleared),
        None => {}
    }
    let Some((record, expected)) = write else {
        return Ok(());
    };
    let version = record.version();
    let saved = shared.in_time(shared.store.save(record, expected)).await?;
    if saved == Saved::Yes && shared.change(|state| state.saved(version)) {
        shared.events.send(Event::Saved);
    }
    Ok(())
}

/// The one task that saves.
struct Saver {
    shared: Arc<Shared>,
    claimed: bool,
}

impl Saver {
    async fn run(mut self) {
        let config = &self.shared.config;
        let mut delays = backoff::delays(config.backoff);
        let mut told = false;
        while self.shared.change(State::keep_saving) {
            let Err(error) = once(&self.shared).await else {
                continue;
            };
            if !std::mem::replace(&mut told, true) {
                self.shared.events.send(Event::SaveFailed { error });
            }
            // The store still holds the old refresh token, and nobody may try it meanwhile.
            let _ = self.shared.in_time(self.lease()).await;
            sleep(delays.next().unwrap_or(config.backoff.1).min(config.lease / 3)).await;
        }
        self.claimed = false;
        if !self.shared.read(State::is_refreshing) {
            let _ = self.shared.in_time(self.shared.store.release(&self.shared.owner)).await;
        }
    }

    fn lease(&self) -> BoxFuture<'_, Result<bool, BoxError>> {
        self.shared.store.lease(&self.shared.owner, self.shared.config.lease)
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        if self.claimed {
            // The runtime is gone: the next refresh, or the next one to save, takes it on.
            self.shared.change(State::give_up_saving);
        }
        self.shared.task_ended();
    }
}
