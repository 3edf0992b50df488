//! The lease on the store while a refresh runs.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::{Either, select};
use tokio::time::sleep;

use super::{
    failure::Failure,
    reconcile::{POLL, adopt},
    shared::Shared,
    waiting::Flight,
};

/// Held by the session as its owner: the flight and the task that saves may both renew it.
pub(super) struct Lease<'a> {
    shared: &'a Arc<Shared>,
    lost: AtomicBool,
}

impl<'a> Lease<'a> {
    /// The session's, whether or not it is held by now.
    pub(super) fn of(shared: &'a Arc<Shared>) -> Self {
        Self { shared, lost: AtomicBool::new(false) }
    }

    /// Waits until the lease is ours. `None` if the flight is over before: its holder has saved a
    /// live token, or nobody waits for the flight any more.
    pub(super) async fn take(
        shared: &'a Arc<Shared>,
        flight: &Arc<Flight>,
    ) -> Result<Option<Self>, Failure> {
        let lease = Self::of(shared);
        loop {
            match lease.renew().await {
                Ok(true) => return Ok(Some(lease)),
                Ok(false) => {}
                Err(_) if shared.goes_alone() => return Ok(Some(lease)),
                Err(error) => return Err(Failure::store(error)),
            }
            // To adopt what the holder has saved takes no lease.
            let stored = shared.load().await.map_err(Failure::store)?;
            if adopt(shared, flight, stored.as_ref()) {
                return Ok(None);
            }
            shared.changed_or(POLL).await;
        }
    }

    /// How long after one renewal the next begins.
    pub(super) fn third(&self) -> Duration {
        self.shared.config.lease / 3
    }

    /// Does the work and renews the lease at each third of its life, the first time after this
    /// long. A lease that is lost does not stop the work: a refresh token that was sent is spent.
    pub(super) async fn renewed_during<F: Future>(&self, first: Duration, work: F) -> F::Output {
        let renewal = pin!(async {
            let mut pause = first;
            loop {
                sleep(pause).await;
                pause = self.third();
                if let Ok(held) = self.renew().await {
                    self.lost.store(!held, Ordering::Relaxed);
                }
            }
        });
        match select(pin!(work), renewal).await {
            Either::Left((output, _)) => output,
            Either::Right((never, _)) => never,
        }
    }

    /// Whether another owner holds it by now: then no further attempt is started.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    pub(super) async fn release(self) {
        // If it cannot be given back it ends by itself.
        let _ = self.shared.in_time(|store| store.release(&self.shared.owner)).await;
    }

    async fn renew(&self) -> Result<bool, crate::Error> {
        let (owner, life) = (&self.shared.owner, self.shared.config.lease);
        self.shared.in_time(|store| store.lease(owner, life)).await
    }
}
