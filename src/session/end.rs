//! The ends of a session. `close`, before a program ends: no new refresh, and all is saved.
//! `log_out`: no new refresh, the newest refresh token revoked, a tombstone in the store.

use std::time::Duration;

use super::{
    Session,
    cell::Cell,
    refresh,
    revoke::revoke,
    state::{Now, State},
    unique::unique,
    wait::overdue,
    worker,
};
use crate::error::{Error, ErrorKind};
use tokio::{runtime::Handle, time::timeout};

impl Session {
    /// Starts no more refreshes, and waits until the one under way is done, its call included, and
    /// its tokens are saved. Call it before a program ends.
    ///
    /// A token that is live is still given out afterwards.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TimedOut`] if the refresh is still under way after
    /// [`call_limit`](super::SessionBuilder::call_limit), and what it has used up may be lost when
    /// the program ends; [`ErrorKind::Store`] if tokens could not be saved within
    /// [`wait_limit`](super::SessionBuilder::wait_limit); [`ErrorKind::NoRuntime`] outside a Tokio
    /// runtime if there is something to wait for.
    pub async fn close(&self) -> Result<(), Error> {
        self.cell.apply(|state, _| state.close());
        match Handle::try_current() {
            Ok(_) => self.settle().await,
            Err(_) if is_settled(&self.cell) => Ok(()),
            Err(_) => self.elsewhere(|session| async move { session.settle().await }).await,
        }
    }

    /// Whether there is nothing to wait for.
    #[cfg(feature = "sessions")]
    pub(crate) fn is_settled(&self) -> bool {
        is_settled(&self.cell)
    }

    async fn settle(&self) -> Result<(), Error> {
        let cell = &self.cell;
        if let Some(runtime) = self.runtime() {
            worker::start_if_owed(cell, &runtime, refresh::start);
            let cell = cell.clone();
            runtime.spawn(async move { worker::hand_over(&cell, refresh::start).await });
        }
        let config = cell.backend.config();
        let limit = match cell.is_idle() {
            // What is left of its call, and a save.
            false => config.wait_limit.max(config.call_limit + config.store_timeout * 4),
            true => config.wait_limit,
        };
        let idle = cell.wait_until(is_settled);
        timeout(limit, idle).await.map_err(|_elapsed| {
            if !cell.read(State::is_refreshing) && cell.read(State::is_unsaved) {
                let message = "the session is closed, but its last tokens are not saved";
                return unsaved(cell, message);
            }
            let message = "the session is closed, but its refresh is not over";
            overdue(cell, format!("{message} after {limit:?}"))
        })
    }

    /// Logs out: waits for the refresh under way, tells the server to revoke the newest refresh
    /// token if the session has a [`revocation`](super::SessionBuilder::revocation) endpoint, and
    /// forgets the tokens, here and in the store, where a *tombstone* tells all processes that share
    /// it. Requests fail until new tokens are set.
    ///
    /// No refresh starts meanwhile. One that takes longer than
    /// [`attempt_timeout`](super::SessionBuilder::attempt_timeout) is not waited for: what it brings
    /// is revoked when it comes. If the future is dropped before it is done, nothing may have been
    /// revoked, and the session goes on. Without a revocation endpoint there is nothing to wait
    /// for: the log-out counts from the first poll on.
    ///
    /// # Errors
    ///
    /// If the server did not revoke the token ([`ErrorKind::Misconfigured`] if it never will as the
    /// endpoint is configured) or the store did not take the tombstone. The session is logged out
    /// all the same. [`ErrorKind::NoRuntime`] outside a Tokio runtime: then nothing has changed.
    pub async fn log_out(&self) -> Result<(), Error> {
        match Handle::try_current() {
            Ok(_) => self.leave().await,
            Err(_) => self.elsewhere(|session| async move { session.leave().await }).await,
        }
    }

    async fn leave(&self) -> Result<(), Error> {
        let cell = &self.cell;
        if cell.backend.revocation().is_none() {
            return self.decide(|state, _| state.log_out(unique())).await;
        }
        let leaving = LogOut::begin(cell);
        let ended = cell.wait_until(|cell| !cell.read(State::is_refreshing));
        // One that takes longer is overtaken: it belongs to a login that ends here.
        let _ = timeout(cell.backend.config().attempt_timeout, ended).await;
        let revoked = if leaving.is_overtaken() { Ok(()) } else { self.revoke().await };
        // A login that came meanwhile is not ended by a log-out from before.
        if leaving.is_overtaken() {
            return Ok(());
        }
        let decided = self.decide(|state, _| state.log_out(unique())).await;
        drop(leaving);
        decided.and(revoked)
    }

    async fn revoke(&self) -> Result<(), Error> {
        // Another process may have rotated the refresh token since. A store that cannot be read
        // does not stop a log-out.
        let _ = worker::look(&self.cell).await;
        let newest = self.cell.read(|state| state.refresh_token().cloned());
        match newest {
            Some(refresh_token) => revoke(&self.cell, refresh_token).await,
            None => Ok(()),
        }
    }

    /// Lets a decision count at once, and then waits for as long as one save may take. To be called
    /// inside a runtime.
    pub(super) async fn decide(&self, decide: impl FnOnce(&mut State, &Now)) -> Result<(), Error> {
        let cell = &self.cell;
        cell.apply(decide);
        if let Some(runtime) = self.runtime() {
            worker::start_if_owed(cell, &runtime, refresh::start);
            let cell = cell.clone();
            runtime.spawn(async move { worker::hand_over(&cell, refresh::start).await });
        }
        // What a refresh under way saves is not waited for.
        let saved = cell.wait_until(|cell| {
            let left = |state: &State| state.is_refreshing() && state.is_rotation_unsaved();
            cell.read(|state| !state.is_unsaved() || left(state))
        });
        let limit: Duration = cell.backend.config().store_timeout;
        timeout(limit, saved).await.map_err(|_elapsed| {
            let message = "the token store did not take the change in time; saving goes on";
            unsaved(cell, message)
        })
    }
}

fn is_settled(cell: &Cell) -> bool {
    cell.is_idle() && cell.read(|state| !state.is_refreshing() && !state.is_unsaved())
}

fn unsaved(cell: &Cell, message: &'static str) -> Error {
    match cell.read(|state| state.save_error().cloned()) {
        // Which store to use instead is to be said first.
        Some(error) if error.kind() == ErrorKind::ForeignRecord => error,
        Some(error) => Error::with_source(ErrorKind::Store, message, error),
        None => Error::new(ErrorKind::Store, message),
    }
}

/// While it lives, no refresh starts.
struct LogOut<'a> {
    cell: &'a Cell,
    login: u32,
}

impl<'a> LogOut<'a> {
    fn begin(cell: &'a Cell) -> Self {
        cell.apply(|state, _| state.begin_log_out());
        Self { cell, login: cell.read(State::id).login }
    }

    /// Whether tokens were set or the session was logged out since.
    fn is_overtaken(&self) -> bool {
        self.cell.read(State::id).login != self.login
    }
}

impl Drop for LogOut<'_> {
    fn drop(&mut self) {
        self.cell.apply(|state, _| state.end_log_out());
    }
}
