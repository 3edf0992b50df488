//! Bringing memory and store together before a refresh.

use std::sync::Arc;

use tokio::time::Instant;

use super::{failure::Failure, shared::Shared, state::Unsaved, waiting::Flight};
use crate::{
    event::Event,
    store::{Record, Saved},
    token::Tokens,
};

/// What a refresh starts from: the newest tokens there are.
pub(super) struct Base {
    pub(super) tokens: Tokens,
    /// Their version in the store; `None` if it holds nothing.
    pub(super) version: Option<u64>,
    /// The store could not be asked, and the version is what it ought to hold.
    pub(super) alone: bool,
}

pub(super) enum Reconciled {
    /// The store held a newer token that is live: it is published, and the flight is over.
    Landed,
    /// The flight is of an earlier epoch: nothing that it does counts any more.
    Superseded,
    /// Memory and store agree, and a refresh is needed.
    Base(Base),
}

enum Step {
    Done(Reconciled),
    /// Memory is ahead: the store gets this in place of the version named.
    Put(Record, Option<u64>),
}

/// So many processes would have to write at once for us to lose each time.
const TRIES: usize = 8;

/// Loads the store and makes it agree with memory. The greater version wins, unless somebody set
/// tokens here; a seed goes into an empty store only.
pub(super) async fn reconcile(
    shared: &Arc<Shared>,
    flight: &Arc<Flight>,
) -> Result<Reconciled, Failure> {
    for _ in 0..TRIES {
        let stored = match shared.load().await {
            Ok(stored) => stored,
            Err(_) if shared.goes_alone() => return Ok(alone(shared, flight)),
            Err(error) => return Err(Failure::store(error)),
        };
        let (record, expected) = match compare(shared, flight, stored) {
            Step::Done(reconciled) => return Ok(reconciled),
            Step::Put(record, expected) => (record, expected),
        };
        let version = record.version();
        match shared.in_time(shared.store.save(record, expected)).await {
            Ok(Saved::Yes) if shared.change(|state| state.saved(version)) => {
                shared.events.send(Event::Saved);
            }
            // Look at what is there now.
            Ok(_) => {}
            Err(_) if shared.goes_alone() => return Ok(alone(shared, flight)),
            Err(error) => return Err(Failure::store(error)),
        }
    }
    Err(Failure::conflict())
}

fn compare(shared: &Arc<Shared>, flight: &Arc<Flight>, stored: Option<Record>) -> Step {
    let mut adopted = None;
    let step = shared.change(|state| {
        if !state.is_flying(flight) {
            return Step::Done(Reconciled::Superseded);
        }
        let version = stored.as_ref().map(Record::version);
        match stored {
            Some(other)
                if state.unsaved() == Some(Unsaved::Decision) && state.is_behind(&other) =>
            {
                state.outrank(other.version());
                return Step::Put(state.record(), version);
            }
            Some(newer) if state.is_behind(&newer) => {
                let before = state.stamp();
                state.follow(newer, &shared.config);
                adopted = Some((state.stamp(), state.ended().is_none()));
                let news = state.stamp() != before && state.live_token(Instant::now()).is_some();
                if state.is_flying(flight) && news {
                    state.land(flight, &shared.config);
                    return Step::Done(Reconciled::Landed);
                }
                if !state.is_flying(flight) {
                    return Step::Done(Reconciled::Superseded);
                }
            }
            None => {
                if let Some(seed) = state.seed().filter(|seed| !seed.is_empty()) {
                    return Step::Put(Record::from(seed.clone()), None);
                }
                if state.version() > 0 {
                    return Step::Put(state.record(), None);
                }
            }
            Some(older) if older.version() < state.version() => {
                return Step::Put(state.record(), version);
            }
            Some(_same) => {}
        }
        let tokens = state.tokens().cloned().unwrap_or_default();
        Step::Done(Reconciled::Base(Base { tokens, version, alone: false }))
    });
    match adopted {
        Some((stamp, true)) => {
            shared.events.send(Event::Refreshed { generation: stamp.generation, adopted: true });
        }
        Some((_, false)) => shared.events.send(Event::Cleared),
        None => {}
    }
    step
}

/// What memory holds, when the store does not answer and need not be waited for.
fn alone(shared: &Arc<Shared>, flight: &Arc<Flight>) -> Reconciled {
    shared.change(|state| {
        if !state.is_flying(flight) {
            return Reconciled::Superseded;
        }
        if let Some(seed) = state.seed().cloned() {
            state.install(seed, 1, &shared.config);
            if state.live_token(Instant::now()).is_some() {
                state.land(flight, &shared.config);
                return Reconciled::Landed;
            }
        }
        let tokens = state.tokens().cloned().unwrap_or_default();
        let version = (state.version() > 0).then(|| state.version());
        Reconciled::Base(Base { tokens, version, alone: true })
    })
}
