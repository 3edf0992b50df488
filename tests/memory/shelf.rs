//! Stores that several sessions share, and that are not always what they were.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use tokio::time::sleep;
use tower_refresh::{
    BoxError, Session,
    store::{MemoryStore, Record, SaveOutcome, TokenStore},
    testing::GatedEndpoint,
};

use crate::{
    support::{World, expired},
    vault::Vault,
};

/// A store that all sessions share and that can lose what it holds, leases and all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shelf {
    inner: Arc<Mutex<Arc<MemoryStore>>>,
}

impl Shelf {
    pub(crate) fn current(&self) -> Arc<MemoryStore> {
        self.inner.lock().unwrap().clone()
    }

    /// What was there is gone.
    pub(crate) fn wipe(&self) {
        *self.inner.lock().unwrap() = Arc::default();
    }

    /// Another process has the lease on the record from now on, for a minute.
    pub(crate) async fn lease_to_another(&self) {
        let mut record = serde_json::to_value(self.stored().await).unwrap();
        let version = record["version"].as_u64().unwrap();
        record["version"] = (version + 1).into();
        record["lease"] = serde_json::json!({ "owner": "another", "life": 60_000 });
        let record = serde_json::from_value(record).unwrap();
        self.current().save(record, Some(version)).await.unwrap();
    }

    pub(crate) async fn stored(&self) -> Record {
        self.current().load().await.unwrap().unwrap()
    }

    pub(crate) fn session(&self, endpoint: &GatedEndpoint) -> Session {
        Session::builder(endpoint.clone()).initial_tokens(expired()).store(self.clone()).build()
    }

    pub(crate) fn world(&self, endpoint: &GatedEndpoint) -> World {
        World::of(endpoint.clone(), self.session(endpoint))
    }
}

impl TokenStore for Shelf {
    fn load(&self) -> BoxFuture<'_, Result<Option<Record>, BoxError>> {
        Box::pin(async { self.current().load().await })
    }

    fn save(
        &self,
        record: Record,
        old: Option<u64>,
    ) -> BoxFuture<'_, Result<SaveOutcome, BoxError>> {
        Box::pin(async move { self.current().save(record, old).await })
    }
}

/// A vault that takes its time.
#[derive(Debug)]
pub(crate) struct Slow {
    vault: Vault,
    load: Duration,
    save: Duration,
}

impl Slow {
    pub(crate) fn new(vault: &Vault, load: u64, save: u64) -> Self {
        let [load, save] = [load, save].map(Duration::from_millis);
        Self { vault: vault.clone(), load, save }
    }
}

impl TokenStore for Slow {
    fn load(&self) -> BoxFuture<'_, Result<Option<Record>, BoxError>> {
        Box::pin(sleep(self.load).then(|()| self.vault.load()))
    }

    fn save(
        &self,
        record: Record,
        old: Option<u64>,
    ) -> BoxFuture<'_, Result<SaveOutcome, BoxError>> {
        Box::pin(sleep(self.save).then(move |()| self.vault.save(record, old)))
    }
}
