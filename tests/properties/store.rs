use std::{
    future::pending,
    sync::{Arc, Mutex},
};

use futures::future::BoxFuture;
use tower_refresh::{
    BoxError,
    store::{MemoryStore, Record, SaveOutcome, TokenStore},
};

use crate::operation::Health;

/// A store that falls ill, and gets well again.
#[derive(Clone, Debug)]
pub(crate) struct Fragile {
    pub(crate) inner: Arc<MemoryStore>,
    health: Arc<Mutex<Health>>,
    shared: bool,
}

impl Fragile {
    pub(crate) fn new(shared: bool) -> Self {
        Self { inner: Arc::default(), health: Arc::new(Mutex::new(Health::Well)), shared }
    }

    pub(crate) fn set(&self, health: Health) {
        *self.health.lock().unwrap() = health;
    }

    /// Whether it can be read.
    pub(crate) fn answers(&self) -> bool {
        matches!(*self.health.lock().unwrap(), Health::Well | Health::Forgetful)
    }

    /// Whether it did what it was asked; if it does not answer at all, this does not either.
    async fn check(&self) -> Result<(), BoxError> {
        let health = *self.health.lock().unwrap();
        match health {
            Health::Well | Health::Forgetful => Ok(()),
            Health::Failing => Err("the store is down".into()),
            Health::Hanging => pending().await,
        }
    }
}

impl TokenStore for Fragile {
    fn load(&self) -> BoxFuture<'_, Result<Option<Record>, BoxError>> {
        Box::pin(async {
            self.check().await?;
            self.inner.load().await
        })
    }

    fn save(
        &self,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'_, Result<SaveOutcome, BoxError>> {
        Box::pin(async move {
            self.check().await?;
            let saved = self.inner.save(record, expected).await;
            if *self.health.lock().unwrap() == Health::Forgetful {
                pending::<()>().await;
            }
            saved
        })
    }

    fn is_shared(&self) -> bool {
        self.shared
    }
}
