//! The task that does what no caller waits for: looks at the store, saves what is unsaved, and the
//! timer of `keep_fresh`. One at a time, and none while there is nothing to do.
//!
//! It keeps no session alive while it waits, unless something is unsaved. When its runtime ends, the
//! next caller inside another starts it anew.

use std::{
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::{Either, pending, select};
use tokio::{
    runtime::Handle,
    time::{sleep_until, timeout},
};

use super::{
    cell::Cell,
    reconcile::put,
    state::{Owed, Started, State, Write},
};
use crate::{error::Error, store::SaveOutcome};

/// How a refresh is started. The worker is told, as a refresh that ends starts the worker in turn.
pub(super) type StartRefresh = fn(&Arc<Cell>, Started, &Handle);

/// Starts the worker, if it has something to do and does not run.
pub(super) fn start_if_owed(cell: &Arc<Cell>, runtime: &Handle, start_refresh: StartRefresh) {
    if cell.read(State::is_worker_owed) && cell.apply(|state, _| state.claim_worker()) {
        start(cell, runtime, start_refresh);
    }
}

/// Keeps the session until the worker knows of what is unsaved, and saves it here where the worker
/// is on a runtime that stands still.
pub(super) async fn hand_over(cell: &Arc<Cell>, start_refresh: StartRefresh) {
    let runtime = cell.backend.runtime().cloned().unwrap_or_else(Handle::current);
    while cell.read(|state| state.is_unsaved() && !state.is_saving_noticed()) {
        start_if_owed(cell, &runtime, start_refresh);
        let noticed = cell.wait_until(|cell| {
            cell.read(|state| state.is_saving_noticed() || state.is_worker_owed())
        });
        if timeout(PATIENCE, noticed).await.is_err() {
            save(cell).await;
        }
    }
}

/// How long a worker may take to notice.
const PATIENCE: Duration = Duration::from_millis(100);

/// Starts the worker, for the caller that has the claim.
pub(super) fn start(cell: &Arc<Cell>, runtime: &Handle, start_refresh: StartRefresh) {
    let claim = Claim(Some(Arc::downgrade(cell)));
    runtime.spawn(run(claim, start_refresh));
}

/// The claim to be the worker.
struct Claim(Option<Weak<Cell>>);

impl Claim {
    fn session(&self) -> Option<Arc<Cell>> {
        self.0.as_ref()?.upgrade()
    }

    /// There was nothing left to do, and by now another may be the worker.
    fn give_up(mut self) {
        self.0 = None;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(cell) = self.session() {
            let config = cell.backend.config();
            cell.apply(|state, _| state.worker_ended(config));
        }
    }
}

async fn run(claim: Claim, start_refresh: StartRefresh) {
    // The session, while it must not end.
    let mut kept: Option<Arc<Cell>> = None;
    loop {
        let Some(cell) = kept.take().or_else(|| claim.session()) else { return };
        let config = cell.backend.config();
        let (owed, version) = cell.apply_as(|state, now| state.owed(config, now));
        let (until, news, unsaved) = match owed {
            Owed::Save => {
                // A session has one writer: what is left to a refresh that begins is given up here.
                let left = cell.wait_until(|cell| cell.read(State::is_left_to_refresh));
                select(pin!(left), pin!(save(&cell))).await;
                kept = Some(cell);
                continue;
            }
            Owed::Look => {
                // A store that fails is looked at again.
                let _ = look(&cell).await;
                continue;
            }
            Owed::Refresh(started) => {
                start_refresh(&cell, started, &Handle::current());
                continue;
            }
            Owed::Wait { until, news, unsaved } => (until, news, unsaved),
            Owed::Nothing => return claim.give_up(),
        };
        let changes = cell.changes();
        let mut changed = pin!(changes.notified());
        changed.as_mut().enable();
        if cell.version() != version {
            continue;
        }
        let told = news.then(|| cell.backend.changed());
        kept = unsaved.then_some(cell);
        let told = async {
            match told {
                Some(told) => told.await,
                None => pending().await,
            }
        };
        let timer = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => pending().await,
            }
        };
        let (timer, told) = (pin!(timer), pin!(told));
        let woken = select(changed, select(timer, told)).await;
        if let Either::Right((Either::Right(_), _)) = woken
            && let Some(cell) = claim.session()
        {
            cell.apply(|state, _| state.look_soon());
        }
    }
}

/// Reads the store: follows it if it is ahead of memory, and gives it back what it has lost.
pub(super) async fn look(cell: &Arc<Cell>) -> Result<(), Error> {
    if !cell.backend.is_stored() {
        return Ok(());
    }
    let config = cell.backend.config();
    let stored = match cell.backend.load().await {
        Ok(stored) => stored,
        Err(error) => {
            cell.apply(|state, now| state.note_outage(config, now));
            return Err(error);
        }
    };
    let write = cell.apply(|state, now| state.on_look(stored.as_ref(), config, now))?;
    if let Some(write) = write {
        // Another process may have been faster, with the same tokens or newer ones.
        put(cell, write).await?;
    }
    Ok(())
}

/// Tries once to save what is unsaved.
async fn save(cell: &Arc<Cell>) {
    cell.task_started();
    let _running = Running(cell);
    let config = cell.backend.config();
    let failed = |error| cell.apply(|state, now| state.save_failed(error, config, now));
    let stored = match cell.backend.load().await {
        Ok(stored) => stored,
        Err(error) => return failed(error),
    };
    let write = cell.apply(|state, now| state.on_saving(stored.as_ref(), config, now));
    let Some(write) = write else { return };
    match put(cell, write).await {
        Ok(SaveOutcome::Stored) => {}
        Ok(SaveOutcome::Conflict) => cell.apply(|state, now| state.save_conflicted(now)),
        Err(error) => {
            failed(error);
            if cell.read(State::is_rotation_unsaved) {
                keep_leased(cell).await;
            }
        }
    }
}

/// The store holds a refresh token that is used up, and does not take the next: its lease keeps
/// other processes from it.
async fn keep_leased(cell: &Arc<Cell>) {
    let (owner, config) = (cell.backend.owner(), cell.backend.config());
    let Ok(Some(stored)) = cell.backend.load().await else { return };
    let renewal = cell.apply(|state, now| state.renewal(stored, owner, config, now));
    if let Some(Write { record, expected, .. }) = renewal {
        let _ = cell.backend.save(record, expected).await;
    }
}

/// A save under way, for `close`.
struct Running<'a>(&'a Arc<Cell>);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.task_ended();
    }
}
