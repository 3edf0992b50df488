//! A world that goes on step by step.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use tokio::sync::Semaphore;
use tower_refresh::{
    BoxError,
    store::{MemoryStore, Record, SaveOutcome, TokenStore},
};

use crate::support::settle;

/// Lets a world go on step by step: whoever passes takes a step, and waits until there is one.
#[derive(Clone, Debug)]
pub(crate) struct Steps(Arc<Semaphore>);

impl Steps {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    async fn pass(&self) {
        // Closed, it lets everybody pass.
        if let Ok(step) = self.0.acquire().await {
            step.forget();
        }
    }

    /// Makes each request a step.
    pub(crate) fn filter<R: Send + 'static>(
        &self,
    ) -> impl Fn(R) -> BoxFuture<'static, Result<R, BoxError>> + Clone + use<R> {
        let steps = self.clone();
        move |request| {
            let steps = steps.clone();
            async move {
                steps.pass().await;
                Ok(request)
            }
            .boxed()
        }
    }

    /// Lets one step happen, and waits until everybody waits again.
    pub(crate) async fn step(&self) {
        self.0.add_permits(1);
        settle().await;
    }

    /// Holds nobody from now on.
    pub(crate) fn end(&self) {
        self.0.close();
    }
}

/// A store whose every call is a step, but for giving back the lease.
#[derive(Debug)]
pub(crate) struct SteppedStore {
    inner: MemoryStore,
    steps: Steps,
}

impl SteppedStore {
    pub(crate) fn new(steps: Steps) -> Self {
        let inner = MemoryStore::new();
        Self { inner, steps }
    }
}

impl TokenStore for SteppedStore {
    fn load(&self) -> BoxFuture<'_, Result<Option<Record>, BoxError>> {
        self.steps.pass().then(|()| self.inner.load()).boxed()
    }

    fn save(
        &self,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'_, Result<SaveOutcome, BoxError>> {
        let save = move |()| self.inner.save(record, expected);
        self.steps.pass().then(save).boxed()
    }
}
