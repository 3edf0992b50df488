//! Bringing memory and store together before a call.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use super::{
    cell::Cell,
    failure::Failure,
    round::Refresh,
    single_flight::Stage,
    state::{Base, Plan, Seen, Write},
};
use crate::{
    error::{Error, ErrorKind},
    store::{Record, SaveOutcome},
};

/// Between looks at a record that another process has leased: at first, and at most.
const POLL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Compare-and-swap attempts before giving up: losing this many in a row means constant contention.
const TRIES: usize = 8;

/// Calls to a store that fails before it counts as down.
const LOADS: u32 = 3;

/// Loads the store and makes it agree with memory. `None` if that ended the refresh.
pub(super) async fn reconcile(refresh: &Refresh<'_>) -> Result<Option<Base>, Failure> {
    let (cell, ticket) = (refresh.cell, refresh.ticket);
    let (backend, config) = (&cell.backend, cell.backend.config());
    let alone = || Ok(cell.apply(|state, now| state.go_alone(ticket, config, now)));
    if !backend.is_stored() {
        initial_tokens(refresh, None).await?;
        return alone();
    }
    let (mut seen, mut poll, began) = (Seen::default(), POLL.0, Instant::now());
    let mut tries = 0;
    while tries < TRIES {
        let stored = match load(cell).await {
            Ok(stored) => stored,
            Err(error) if error.kind() == ErrorKind::ForeignRecord => {
                return Err(Failure::foreign(error));
            }
            Err(_) if cell.read(|state| state.goes_alone(config)) => {
                initial_tokens(refresh, None).await?;
                return alone();
            }
            Err(error) => return Err(Failure::store(error)),
        };
        initial_tokens(refresh, stored.as_ref()).await?;
        let plan = cell.apply(|state, now| {
            state.on_loaded(ticket, stored, (backend.owner(), &mut seen), (config, now))
        });
        match plan {
            Plan::Done => return Ok(None),
            Plan::Go(base) => return Ok(Some(base)),
            Plan::Refuse(error) => return Err(Failure::foreign(error)),
            Plan::Yield => {
                refresh.set_stage(Stage::AnotherProcess);
                if began.elapsed() >= config.attempt_timeout {
                    refresh.set_overdue();
                }
                let jitter = 0.5 + fastrand::f64();
                // Either way it is time to look.
                let _ = timeout(poll.mul_f64(jitter), backend.changed()).await;
                poll = (poll * 2).min(POLL.1);
            }
            Plan::Write(write) => {
                tries += 1;
                match put(cell, write).await {
                    Ok(_) => {}
                    Err(_) if cell.read(|state| state.goes_alone(config)) => return alone(),
                    Err(error) if tries >= LOADS as usize => return Err(Failure::store(error)),
                    Err(_) => sleep(POLL.0.mul_f64(fastrand::f64())).await,
                }
            }
        }
    }
    Err(Failure::conflict())
}

/// Asks for first tokens if there are none, neither here nor in the store.
async fn initial_tokens(refresh: &Refresh<'_>, stored: Option<&Record>) -> Result<(), Failure> {
    let cell = refresh.cell;
    if !cell.read(|state| state.asks_initial_tokens(stored)) {
        return Ok(());
    }
    match cell.backend.initial_tokens().await.map_err(Failure::store)? {
        Some(tokens) if !tokens.is_empty() => {
            cell.apply(|state, _| state.set_seed(refresh.ticket, tokens));
            Ok(())
        }
        _ => Err(Failure::no_tokens()),
    }
}

/// Reads the store, and once more after a failure.
pub(super) async fn load(cell: &Arc<Cell>) -> Result<Option<Record>, Error> {
    let config = cell.backend.config();
    let mut failures = 0;
    loop {
        let error = match cell.backend.load().await {
            Ok(stored) => return Ok(stored),
            Err(error) if error.kind() == ErrorKind::ForeignRecord => return Err(error),
            Err(error) => error,
        };
        cell.apply(|state, now| state.note_outage(config, now));
        failures += 1;
        if failures >= LOADS {
            return Err(error);
        }
        sleep(POLL.0.mul_f64(fastrand::f64())).await;
    }
}

/// Writes what the state wants the store to hold.
pub(super) async fn put(cell: &Arc<Cell>, write: Write) -> Result<SaveOutcome, Error> {
    let (turn, login) = (write.record.turn(), write.login);
    let outcome = cell.backend.save(write.record, write.expected).await;
    match outcome {
        Ok(SaveOutcome::Stored) => cell.apply(|state, _| state.on_stored(turn, login)),
        Ok(SaveOutcome::Conflict) => {}
        Err(_) => {
            let config = cell.backend.config();
            cell.apply(|state, now| state.note_outage(config, now));
        }
    }
    outcome
}
