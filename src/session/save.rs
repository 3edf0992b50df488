//! Saving what memory holds and the store does not: it is tried until it succeeds, or until
//! something newer makes it needless.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    backoff,
    lease::Lease,
    reconcile::Base,
    shared::Shared,
    state::{State, Unsaved},
    waiting::Flight,
};
use crate::{
    error::{Error, ErrorKind},
    event::Event,
    store::{Record, SaveOutcome},
    token::Tokens,
};

/// Starts the task that saves, if there is something to save and nobody does.
pub(super) fn spawn(shared: &Arc<Shared>) {
    if shared.change(State::claim_saving) {
        Saver::new(shared, false).start();
    }
}

/// Writes what memory holds, once; `false` if somebody else wrote at the same time.
pub(super) async fn once(shared: &Arc<Shared>) -> Result<bool, Error> {
    let _writing = shared.writing.lock().await;
    let stored = shared.load().await?;
    if let Some(stored) = &stored {
        shared.follow(stored);
    }
    let expected = stored.as_ref().map(Record::version);
    let (write, settled) = shared.change(|state| {
        let unsaved = state.unsaved().is_some();
        match stored.filter(|stored| stored.version() >= state.version()) {
            _ if !unsaved => return (None, false),
            Some(stored) if stored.holds(state.tokens()) => {
                // Saved after all, though we never heard so.
                state.settle_at(stored.version());
                return (None, state.saved(stored.version()));
            }
            Some(stored) => state.outrank(&stored),
            None => {}
        }
        (Some(state.record()), false)
    });
    let saved = match write {
        Some(record) => {
            let version = record.version();
            if shared.in_time(|store| store.save(record, expected)).await? == SaveOutcome::Conflict
            {
                return Ok(false);
            }
            shared.change(|state| state.saved(version))
        }
        None => settled,
    };
    if saved {
        shared.events.send(Event::Saved);
    }
    Ok(true)
}

/// Saves what a call has brought by compare-and-swap, and says as which version; `false` if somebody
/// else was faster.
///
/// If the store could not be read before the call it may hold less than memory did, and it may
/// hold the same under another version. Neither is anybody's work that we would overwrite, and
/// to drop what the call has brought would be to go on with a refresh token that is spent.
pub(super) async fn rotated(
    shared: &Shared,
    flight: &Arc<Flight>,
    base: &Base,
    tokens: &Tokens,
) -> (u64, Result<bool, Error>) {
    let mut expected = base.version;
    loop {
        let version = expected.max(base.version).unwrap_or(0) + 1;
        let record =
            shared.read(|state| state.record_of(version, Some(tokens.clone()), &base.decisions));
        match shared.in_time(|store| store.save(record, expected)).await {
            Ok(SaveOutcome::Stored) => return (version, Ok(true)),
            Ok(SaveOutcome::Conflict) => {}
            Err(error) => return (version, Err(error)),
        }
        let stored = match shared.load().await {
            Ok(stored) => stored,
            Err(error) => return (version, Err(error)),
        };
        let found = stored.as_ref().map(Record::version);
        let stored = stored.filter(|stored| !stored.is_empty());
        if found == expected {
            let message = "the token store contradicts itself: it has the version that it \
                           refuses to replace";
            return (version, Err(Error::new(ErrorKind::Store, message)));
        }
        let ours = stored.is_none_or(|stored| stored.holds(Some(&base.tokens)));
        if found > base.version && !ours || !shared.read(|s| s.is_flying(flight)) {
            return (version, Ok(false));
        }
        expected = found;
    }
}

/// The one task that saves, from the claim on. If it is dropped before it is done (there is no
/// runtime, or that has ended), whoever comes by with another takes it on.
pub(super) struct Saver {
    shared: Arc<Shared>,
    claimed: bool,
    /// Operators know already that it is needed.
    told: bool,
}

impl Saver {
    /// For whoever has made the claim.
    pub(super) fn new(shared: &Arc<Shared>, told: bool) -> Self {
        shared.task_started();
        Self { shared: shared.clone(), claimed: true, told }
    }

    pub(super) fn start(self) {
        if let Some(runtime) = self.shared.runtime() {
            runtime.spawn(self.run());
        }
    }

    async fn run(mut self) {
        let shared = self.shared.clone();
        let lease = Lease::of(&shared);
        // After a refresh the store still holds the old refresh token, and nobody may try it
        // meanwhile. The lease is ours, and who knows for how much longer.
        let first = match shared.read(State::unsaved) {
            Some(Unsaved::Rotation) => Duration::ZERO,
            _ => lease.third(),
        };
        lease.renewed_during(first, self.save()).await;
        self.claimed = false;
        // A refresh whose turn it is uses the lease, which is the whole session's.
        if let Ok(_turn) = shared.turn.try_lock() {
            lease.release().await;
        }
    }

    async fn save(&mut self) {
        let config = &self.shared.config;
        let mut delays = backoff::delays(config.backoff);
        while self.shared.change(State::keep_saving) {
            match once(&self.shared).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) if !std::mem::replace(&mut self.told, true) => {
                    self.shared.events.send(Event::SaveFailed { error });
                }
                Err(_) => {}
            }
            let most = config.backoff.1.min(config.lease / 3);
            sleep(delays.next().unwrap_or(most).min(most)).await;
        }
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        if self.claimed {
            self.shared.change(State::give_up_saving);
        }
        self.shared.task_ended();
    }
}
