use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::{FutureExt, ready};
use tokio::time::Instant;

use super::{BoxFuture, Record, SaveOutcome, TokenStore};
use crate::error::BoxError;

/// Keeps the tokens in memory: they end with the process.
///
/// Sessions of one process that share it (through an `Arc`) share one identity, with the same
/// guarantees that a durable store gives to processes.
#[derive(Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    record: Option<Record>,
    lease: Option<(String, Instant)>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn with<R>(&self, f: impl FnOnce(&mut Inner) -> R) -> R {
        f(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl TokenStore for MemoryStore {
    fn load(&self) -> BoxFuture<'_, Result<Option<Record>, BoxError>> {
        ready(Ok(self.with(|inner| inner.record.clone()))).boxed()
    }

    fn save(
        &self,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'_, Result<SaveOutcome, BoxError>> {
        let saved = self.with(|inner| {
            if inner.record.as_ref().map(Record::version) != expected {
                return SaveOutcome::Conflict;
            }
            inner.record = Some(record);
            SaveOutcome::Stored
        });
        ready(Ok(saved)).boxed()
    }

    fn lease<'a>(
        &'a self,
        owner: &'a str,
        life: Duration,
    ) -> BoxFuture<'a, Result<bool, BoxError>> {
        let now = Instant::now();
        let held = self.with(|inner| {
            let free = match &inner.lease {
                Some((holder, until)) => holder == owner || *until <= now,
                None => true,
            };
            if free {
                inner.lease = Some((owner.to_owned(), now + life));
            }
            free
        });
        ready(Ok(held)).boxed()
    }

    fn release<'a>(&'a self, owner: &'a str) -> BoxFuture<'a, Result<(), BoxError>> {
        self.with(|inner| {
            if inner.lease.as_ref().is_some_and(|(holder, _)| holder == owner) {
                inner.lease = None;
            }
        });
        ready(Ok(())).boxed()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}
