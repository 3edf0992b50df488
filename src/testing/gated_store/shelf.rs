//! What all views of one store have in common: the record, and the records before it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::calls::changes_nothing;
use crate::store::{Record, SaveOutcome};

#[derive(Default)]
pub(super) struct Shelf {
    inner: Mutex<Inner>,
    news: watch::Sender<()>,
}

#[derive(Default)]
struct Inner {
    record: Option<Record>,
    /// What each write has replaced, oldest first.
    before: Vec<Option<Record>>,
    versions: Vec<u64>,
}

impl Shelf {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn record(&self) -> Option<Record> {
        self.inner().record.clone()
    }

    pub(super) fn versions(&self) -> Vec<u64> {
        self.inner().versions.clone()
    }

    pub(super) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// Compare-and-swap.
    pub(super) fn save(&self, record: Record, expected: Option<u64>) -> SaveOutcome {
        let mut inner = self.inner();
        if inner.record.as_ref().map(Record::version) != expected {
            return SaveOutcome::Conflict;
        }
        self.write(&mut inner, record);
        SaveOutcome::Stored
    }

    pub(super) fn put(&self, record: Record) {
        self.write(&mut self.inner(), record);
    }

    fn write(&self, inner: &mut Inner, record: Record) {
        let is_news = inner.record.as_ref().is_none_or(|stored| {
            let given_back = stored.lease().is_some() && record.lease().is_none();
            given_back || !changes_nothing(&record, stored)
        });
        inner.versions.push(record.version());
        let replaced = inner.record.replace(record);
        inner.before.push(replaced);
        if is_news {
            self.news.send_replace(());
        }
    }

    pub(super) fn wipe(&self) {
        let mut inner = self.inner();
        inner.record = None;
        inner.before.clear();
    }

    pub(super) fn lose(&self, writes: usize) {
        let mut inner = self.inner();
        for _ in 0..writes {
            inner.record = inner.before.pop().flatten();
        }
    }
}
