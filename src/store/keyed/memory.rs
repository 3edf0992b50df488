use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use futures_util::{
    future::{FutureExt, ready},
    stream::{StreamExt, unfold},
};
use tokio::sync::broadcast::{Sender, error::RecvError};

use super::{BoxStream, Change, KeyedStore};
use crate::{
    error::BoxError,
    store::{BoxFuture, Record, SaveOutcome},
};

/// Keeps the tokens of many identities in memory: they end with the process.
///
/// Sets of one process that share it (through an `Arc`) are a fleet, with the same guarantees that a
/// durable store gives to processes. A single set needs none: without a store it keeps what must
/// not be lost by itself.
pub struct KeyedMemoryStore<K> {
    records: Mutex<HashMap<K, Record>>,
    /// Made for the first reader.
    changes: OnceLock<Sender<Change<K>>>,
}

/// How many changes a slow reader may be behind.
const KEPT: usize = 1024;

impl<K> KeyedMemoryStore<K> {
    /// An empty store.
    pub fn new() -> Self {
        Self { records: Mutex::default(), changes: OnceLock::new() }
    }

    fn records(&self) -> MutexGuard<'_, HashMap<K, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Clone + Send + Sync + 'static> KeyedStore<K> for KeyedMemoryStore<K> {
    fn load<'a>(&'a self, key: &'a K) -> BoxFuture<'a, Result<Option<Record>, BoxError>> {
        ready(Ok(self.records().get(key).cloned())).boxed()
    }

    fn save<'a>(
        &'a self,
        key: &'a K,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<SaveOutcome, BoxError>> {
        let mut records = self.records();
        let stored = records.get(key);
        if stored.map(Record::version) != expected {
            return ready(Ok(SaveOutcome::Conflict)).boxed();
        }
        let (old, turn) = (stored.map(Record::turn), record.turn());
        records.insert(key.clone(), record);
        if old != Some(turn)
            && let Some(changes) = self.changes.get()
        {
            // That no set listens is no fault.
            let _ = changes.send(Change::Saved { key: key.clone(), turn });
        }
        ready(Ok(SaveOutcome::Stored)).boxed()
    }

    fn changes(&self) -> Option<BoxStream<'static, Change<K>>> {
        let changes = self.changes.get_or_init(|| Sender::new(KEPT));
        let changes = unfold(changes.subscribe(), |mut receiver| async move {
            let change = match receiver.recv().await {
                Ok(change) => change,
                Err(RecvError::Lagged(_)) => Change::Lagged,
                Err(RecvError::Closed) => return None,
            };
            Some((change, receiver))
        });
        Some(changes.boxed())
    }
}

impl<K> Default for KeyedMemoryStore<K> {
    fn default() -> Self {
        Self::new()
    }
}

// The keys may be personal data.
impl<K> fmt::Debug for KeyedMemoryStore<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = self.records().len();
        f.debug_struct("KeyedMemoryStore").field("records", &records).finish_non_exhaustive()
    }
}
