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

use super::{failure::Failure, shared::Shared, waiting::Flight};

/// Held by the session as its owner: the flight and the task that saves may both renew it.
pub(super) struct Lease<'a> {
    shared: &'a Arc<Shared>,
    lost: AtomicBool,
}

/// Between tries for a lease that another holds, give or take a half.
const RETRY: Duration = Duration::from_millis(50);

impl<'a> Lease<'a> {
    /// Waits until the lease is ours, or until the flight is nobody's any more.
    pub(super) async fn take(
        shared: &'a Arc<Shared>,
        flight: &Arc<Flight>,
    ) -> Result<Self, Failure> {
        let lease = Self { shared, lost: AtomicBool::new(false) };
        loop {
            match lease.renew().await {
                Ok(true) => break,
                Ok(false) => sleep(RETRY.mul_f64(0.5 + fastrand::f64())).await,
                Err(_) if shared.goes_alone() => break,
                Err(error) => return Err(Failure::store(error)),
            }
            if !shared.read(|state| state.is_flying(flight)) {
                break;
            }
        }
        Ok(lease)
    }

    /// Does the work and renews the lease at each third of its life. A lease that is lost does
    /// not stop the work: a refresh token that was sent is spent.
    pub(super) async fn renewed_during<F: Future>(&self, work: F) -> F::Output {
        let renewal = pin!(async {
            loop {
                sleep(self.shared.config.lease / 3).await;
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
        let _ = self.shared.in_time(self.shared.store.release(&self.shared.owner)).await;
    }

    async fn renew(&self) -> Result<bool, crate::Error> {
        let (owner, life) = (&self.shared.owner, self.shared.config.lease);
        self.shared.in_time(self.shared.store.lease(owner, life)).await
    }
}
