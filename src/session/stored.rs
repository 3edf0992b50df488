//! What a session asks of its store.

use std::{
    future::pending,
    panic::AssertUnwindSafe,
    time::{Duration, SystemTime},
};

use futures_util::future::{BoxFuture, FutureExt};
use tokio::{runtime::Handle, time::timeout};

use super::{shared::Shared, state::State};
use crate::{
    error::{BoxError, Error, ErrorKind},
    event::Event,
    store::{RESTORED, Record, SaveOutcome, TokenStore},
};

impl Shared {
    /// Reads the store. An encrypted record is an error: it says nothing, not even that there are
    /// no tokens.
    pub(super) async fn load(&self) -> Result<Option<Record>, Error> {
        let stored = self.in_time(|store| store.load()).await?.map(Record::opened).transpose()?;
        if let Some(stored) = &stored {
            self.carry(stored);
        }
        Ok(stored)
    }

    /// Gives a call to the store its time-out, and its failures their kind. To panic is to fail: a
    /// flight that died of it would take a rotated refresh token along.
    pub(super) async fn in_time<'a, T>(
        &'a self,
        call: impl FnOnce(&'a dyn TokenStore) -> BoxFuture<'a, Result<T, BoxError>>,
    ) -> Result<T, Error> {
        let call = AssertUnwindSafe(async { call(&*self.store).await }).catch_unwind();
        let call = call.map(|result| result.unwrap_or_else(|_panic| Err("it panicked".into())));
        // Without a runtime there is no timer. Only stores that never wait work there.
        let result = match Handle::try_current() {
            Ok(_) => match timeout(self.config.store_timeout, call).await {
                Ok(result) => result,
                Err(_elapsed) => {
                    let limit = self.config.store_timeout;
                    Err(format!("it did not answer within {limit:?}: is it up?").into())
                }
            },
            Err(_) => call.await,
        };
        result.map_err(|error| {
            Error::with_source(ErrorKind::Store, "the token store cannot be used", error)
        })
    }

    /// Takes over what the store holds if it is ahead of memory, unless somebody has decided
    /// otherwise here and that is still to be saved.
    pub(super) fn follow(&self, stored: &Record) {
        let followed = self.change(|state| {
            if !state.is_behind(stored) {
                return None;
            }
            let before = state.id();
            // Another that was spending this token may have died over it.
            let others = |owner: &str| owner != self.owner && owner != RESTORED;
            let lease = stored.lease().filter(|lease| others(lease.owner()));
            state.follow(stored.clone(), lease.is_some(), &self.config);
            let life = state.tokens().and_then(|tokens| tokens.left(SystemTime::now()));
            self.events.observer().token_lives(life);
            (state.id() != before).then(|| (state.id().generation, state.ended().is_some()))
        });
        match followed {
            Some((_, true)) => self.events.send(Event::LoggedOut),
            Some((generation, _)) => {
                self.events.send(Event::Refreshed { generation, adopted: true });
            }
            None => {}
        }
    }

    /// Waits until the store may have changed, or for about this long.
    pub(super) async fn changed_or(&self, poll: Duration) {
        changed_or(&*self.store, poll.mul_f64(0.5 + fastrand::f64())).await;
    }

    /// Takes back the word that this session is spending the token, after a call that certainly
    /// has not: others need not wait for it, nor take the token for spent.
    pub(super) async fn unmark(&self) {
        let _writing = self.writing.lock().await;
        let Some((record, version)) = self.read(State::unmark) else { return };
        let unmarked = record.version();
        // If it cannot be taken back it ends by itself.
        if let Ok(SaveOutcome::Stored) =
            self.in_time(|store| store.save(record, Some(version))).await
        {
            self.change(|state| {
                if state.version() == version {
                    state.settle_at(unmarked);
                }
            });
        }
    }

    /// Whether refreshes go on while the store fails: nobody else uses the tokens, or the user
    /// has said so.
    pub(super) fn goes_alone(&self) -> bool {
        let loaded = self.read(|state| state.seed().is_none());
        self.config.refresh_without_store || (loaded && !self.is_shared)
    }
}

/// Waits until the store may have changed, or for so long. One that panics has no news.
pub(super) async fn changed_or(store: &dyn TokenStore, limit: Duration) {
    let changed = AssertUnwindSafe(async { store.changed().await }).catch_unwind();
    let news = async {
        if changed.await.is_err() {
            pending().await
        }
    };
    // Either way it is time to look.
    let _ = timeout(limit, news).await;
}
