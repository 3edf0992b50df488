//! The ways out. `close`, before a program ends: no new refresh, and all is saved. `log_out`: no new
//! refresh, the newest refresh token revoked, a tombstone in the store.

use std::{pin::pin, sync::Arc};

use tower::ServiceExt;

use super::{Session, failure::Failure, save, shared::Shared, state::State};
use crate::{
    endpoint::RevokeRequest,
    error::{Error, ErrorKind},
    event::Event,
    store::Record,
    token::{RefreshToken, Tokens},
};

impl Session {
    /// Starts no more refreshes, and waits until the one under way is done and its tokens are
    /// saved. Call it before a program ends.
    ///
    /// A token that is live is still given out afterwards.
    ///
    /// # Errors
    ///
    /// If that takes longer than [`wait_limit`](super::SessionBuilder::wait_limit):
    /// [`ErrorKind::TimedOut`] if the refresh is still under way, and what it has spent may be lost
    /// when the program ends; [`ErrorKind::Store`] if its tokens could not be saved.
    pub async fn close(&self) -> Result<(), Error> {
        self.shared.change(State::close);
        if self.shared.runtime().is_none() {
            self.saved().await?;
        }
        save::spawn(&self.shared);
        let idle = pin!(self.shared.wait_until(|shared| {
            let settled = |state: &State| !state.is_refreshing() && state.unsaved().is_none();
            shared.is_idle() && shared.read(settled)
        }));
        let limit = self.shared.config.wait_limit;
        self.within(limit, idle).await.ok_or_else(|| {
            if !self.shared.read(State::is_refreshing) && self.shared.read(State::unsaved).is_some()
            {
                let message = "the session is closed, but its last tokens are not saved";
                return Error::new(ErrorKind::Store, message);
            }
            let message = "the session is closed, but its refresh is not over";
            self.overdue(format!("{message} after {limit:?}"))
        })
    }

    /// Logs out: waits for the refresh under way, tells the server to revoke the newest refresh
    /// token if the session has a [`revocation`](super::SessionBuilder::revocation) endpoint, and
    /// forgets the tokens, here and in the store, where a *tombstone* tells all processes that share
    /// it. Requests fail until new tokens are set.
    ///
    /// No refresh starts meanwhile. If the future is dropped before it is done, nothing may have
    /// been revoked, and the session goes on. Without a revocation endpoint there is nothing to wait
    /// for: the log-out counts from the first poll on.
    ///
    /// # Errors
    ///
    /// If the server did not revoke the token ([`ErrorKind::Misconfigured`] if it never will as the
    /// endpoint is configured) or the store did not take the tombstone. The session is cleared all
    /// the same.
    pub async fn log_out(&self) -> Result<(), Error> {
        if self.shared.revocation.is_none() {
            return self.forget().await;
        }
        let leaving = Leaving::begin(&self.shared);
        // One that takes longer is overtaken: it belongs to a login that ends here.
        let landed = self.shared.wait_until(|shared| !shared.read(State::is_refreshing));
        self.within(self.shared.config.wait_limit, pin!(landed)).await;
        let revoked = if leaving.is_overtaken() { Ok(()) } else { self.revoke().await };
        // Whoever has logged in meanwhile is not logged out by a word from before.
        if leaving.is_overtaken() {
            return Ok(());
        }
        let cleared = self.forget().await;
        drop(leaving);
        cleared.and(revoked)
    }

    async fn forget(&self) -> Result<(), Error> {
        self.decide(State::clear, Event::LoggedOut).await
    }

    async fn revoke(&self) -> Result<(), Error> {
        let shared = &self.shared;
        let Some(revocation) = &shared.revocation else { return Ok(()) };
        let Some(refresh_token) = newest(shared).await else { return Ok(()) };
        let call = revocation.instance().oneshot(RevokeRequest::new(refresh_token));
        let error = match self.within(shared.config.attempt_timeout, pin!(call)).await {
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => Failure::of(error).error,
            None => Failure::timed_out(shared.config.attempt_timeout).error,
        };
        let message = "logged out here, but the server did not revoke the refresh token";
        // Whatever else went wrong, nobody has to log in for it.
        let kind = match error.kind() {
            ErrorKind::Misconfigured => ErrorKind::Misconfigured,
            _ => ErrorKind::Unavailable,
        };
        Err(Error::with_source(kind, message, error))
    }
}

/// While it lives, no refresh starts.
struct Leaving<'a> {
    shared: &'a Shared,
    login: u64,
}

impl<'a> Leaving<'a> {
    fn begin(shared: &'a Shared) -> Self {
        shared.change(State::begin_leaving);
        Self { shared, login: shared.read(State::id).login }
    }

    /// Whether somebody has set tokens or cleared the session since.
    fn is_overtaken(&self) -> bool {
        self.shared.read(State::id).login != self.login
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.shared.change(State::end_leaving);
    }
}

/// Another process may have rotated the refresh token since. But what is not saved yet, or not in
/// use yet, is no older for that.
async fn newest(shared: &Arc<Shared>) -> Option<RefreshToken> {
    let stored = shared.load().await.ok().flatten();
    let ours = shared.read(|state| {
        let behind = stored.as_ref().is_some_and(|stored| state.is_behind(stored));
        (!behind).then(|| state.tokens().or(state.seed()).cloned())
    });
    let tokens = match ours {
        Some(tokens) => tokens,
        None => stored.and_then(Record::into_tokens),
    };
    tokens.as_ref().and_then(Tokens::refresh_token).cloned()
}
