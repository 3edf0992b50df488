//! Bringing memory and store together before a refresh.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{failure::Failure, shared::Shared, state::State, waiting::Flight};
use crate::{
    event::Event,
    store::{LoginHistory, RESTORED, Record, SaveOutcome},
    token::Tokens,
};

/// What a refresh starts from: the newest tokens there are.
pub(super) struct Base {
    pub(super) tokens: Tokens,
    /// Their version in the store; `None` if it holds nothing.
    pub(super) version: Option<u64>,
    /// What led to them.
    pub(super) decisions: LoginHistory,
}

impl Base {
    fn of(state: &State, version: Option<u64>) -> Self {
        let tokens = state.tokens().cloned().unwrap_or_default();
        Self { tokens, version, decisions: state.decisions().clone() }
    }
}

pub(super) enum Reconciled {
    /// Nothing is left to do: the store held a newer token that is live, and it is published; or
    /// the flight is of an earlier login.
    Over,
    /// Memory and store agree, a refresh is needed, and the store says that we are at it.
    Base(Base),
}

enum Step {
    Done(Reconciled),
    Write(Box<Write>),
    /// Another process is spending the token, with or without a lease. Look again soon.
    Yield,
}

/// What the store gets in place of the version that is expected there.
struct Write {
    record: Record,
    expected: Option<u64>,
    then: Then,
}

enum Then {
    /// Memory was ahead; now look again.
    Again,
    /// The store has the word that we are about to spend the token of this.
    Spend(Base),
}

/// Between looks at a store that another is at work on, give or take a half.
pub(super) const POLL: Duration = Duration::from_millis(100);

/// So many processes would have to write at once for us to lose each time.
const TRIES: usize = 8;

/// Loads the store and makes it agree with memory. The greater version wins, unless somebody set
/// tokens here; a seed goes into an empty store only.
pub(super) async fn reconcile(
    shared: &Arc<Shared>,
    flight: &Arc<Flight>,
) -> Result<Reconciled, Failure> {
    let mut tries = 0;
    let mut yielding: Option<(Option<u64>, Instant)> = None;
    while tries < TRIES {
        let writing = shared.writing.lock().await;
        let stored = match shared.load().await {
            Ok(stored) => stored,
            Err(_) if shared.goes_alone() => return Ok(alone(shared, flight)),
            Err(error) => return Err(Failure::store(error)),
        };
        let version = stored.as_ref().map(Record::version);
        // A lease is respected for its life by our own clock, however wrong the others' are.
        let (_, since) = *yielding
            .insert(yielding.filter(|(v, _)| *v == version).unwrap_or((version, Instant::now())));
        let held = since.elapsed();
        let write = match compare(shared, flight, stored, held) {
            Step::Done(reconciled) => return Ok(reconciled),
            Step::Yield => {
                drop(writing);
                shared.changed_or(POLL).await;
                continue;
            }
            Step::Write(write) => write,
        };
        let Write { record, expected, then } = *write;
        tries += 1;
        let (version, now) = (record.version(), Instant::now());
        match (shared.in_time(|store| store.save(record, expected)).await, then) {
            (Ok(SaveOutcome::Stored), Then::Spend(base)) => {
                let ours =
                    shared.change(|state| state.is_flying(flight) && state.marked(version, now));
                return Ok(match ours {
                    true => Reconciled::Base(Base { version: Some(version), ..base }),
                    false => Reconciled::Over,
                });
            }
            (Ok(SaveOutcome::Stored), Then::Again) => {
                // Whoever has logged in or out since may have the version that the seed had.
                if shared.change(|state| state.is_flying(flight) && state.saved(version)) {
                    shared.events.send(Event::Saved);
                }
            }
            // Look at what is there now.
            (Ok(SaveOutcome::Conflict), _) => {}
            (Err(_), _) if shared.goes_alone() => return Ok(alone(shared, flight)),
            (Err(error), _) => return Err(Failure::store(error)),
        }
    }
    Err(Failure::conflict())
}

/// Follows a store that is ahead of memory; `true` if that ended the flight.
pub(super) fn adopt(shared: &Arc<Shared>, flight: &Arc<Flight>, stored: Option<&Record>) -> bool {
    if let Some(stored) = stored {
        shared.follow(stored);
    }
    shared.change(|state| {
        let news = state.id().generation > flight.replaces();
        if state.is_flying(flight) && news && state.live_token(Instant::now()).is_some() {
            state.land(flight, &shared.config);
        }
        !state.is_flying(flight)
    })
}

fn compare(
    shared: &Arc<Shared>,
    flight: &Arc<Flight>,
    stored: Option<Record>,
    held: Duration,
) -> Step {
    if adopt(shared, flight, stored.as_ref()) {
        return Step::Done(Reconciled::Over);
    }
    let (owner, lease) = (&shared.owner, shared.config.lease);
    let version = stored.as_ref().map(Record::version);
    shared.change(|state| {
        if !state.is_flying(flight) {
            return Step::Done(Reconciled::Over);
        }
        let empty = stored.as_ref().is_none_or(Record::is_empty);
        if let Some(seed) = state.seed().filter(|seed| empty && !seed.is_empty()) {
            let next = version.unwrap_or_default() + 1;
            let record = state.record_of(next, Some(seed.clone()), state.decisions());
            return Step::Write(Box::new(Write { record, expected: version, then: Then::Again }));
        }
        let holds_more = |stored: &Record| {
            stored.is_empty() && state.version() > 0 && !stored.holds(state.tokens())
        };
        let outranked = |stored: &&Record| state.outranks(stored) || holds_more(stored);
        if let Some(stored) = stored.as_ref().filter(outranked) {
            state.outrank(stored);
        }
        if version.unwrap_or_default() < state.version() {
            let record = match shared.is_shared && state.is_lost(version) {
                true => state.record().with_lease(RESTORED, lease),
                false => state.record(),
            };
            return Step::Write(Box::new(Write { record, expected: version, then: Then::Again }));
        }
        state.note_stored(version);
        let base = Base::of(state, version);
        if !shared.is_shared || base.tokens.refresh_token().is_none() {
            return Step::Done(Reconciled::Base(base));
        }
        match stored.as_ref().and_then(Record::lease) {
            Some(ours)
                if ours.owner() == owner
                    && state.marked_at().is_some_and(|at| at.elapsed() < ours.life() / 2) =>
            {
                Step::Done(Reconciled::Base(base))
            }
            Some(theirs) if theirs.owner() != owner && held < theirs.life() => Step::Yield,
            _ => Step::Write(Box::new(Write {
                record: state.record().with_version(state.version() + 1).with_lease(owner, lease),
                expected: version,
                then: Then::Spend(base),
            })),
        }
    })
}

/// What memory holds, when the store does not answer and need not be waited for.
fn alone(shared: &Arc<Shared>, flight: &Arc<Flight>) -> Reconciled {
    shared.change(|state| {
        if !state.is_flying(flight) {
            return Reconciled::Over;
        }
        if let Some(seed) = state.seed().cloned() {
            state.install(seed, 1, &shared.config);
            if state.live_token(Instant::now()).is_some() {
                state.land(flight, &shared.config);
                return Reconciled::Over;
            }
        }
        let version = (state.version() > 0).then(|| state.version());
        Reconciled::Base(Base::of(state, version))
    })
}
