use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures_util::future::{FutureExt, ready};

use super::{BoxFuture, Record, SaveOutcome, TokenStore};
use crate::error::BoxError;

/// Keeps the tokens in memory: they end with the process.
///
/// Sessions of one process that share it (through an `Arc`) share one identity, with the same
/// guarantees that a durable store gives to processes.
#[derive(Default)]
pub struct MemoryStore {
    record: Mutex<Option<Record>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn record(&self) -> MutexGuard<'_, Option<Record>> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenStore for MemoryStore {
    fn load(&self) -> BoxFuture<'_, Result<Option<Record>, BoxError>> {
        ready(Ok(self.record().clone())).boxed()
    }

    fn save(
        &self,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'_, Result<SaveOutcome, BoxError>> {
        let mut stored = self.record();
        let outcome = match stored.as_ref().map(Record::version) == expected {
            true => {
                *stored = Some(record);
                SaveOutcome::Stored
            }
            false => SaveOutcome::Conflict,
        };
        ready(Ok(outcome)).boxed()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}
