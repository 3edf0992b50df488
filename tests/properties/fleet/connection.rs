//! The store as one process reaches it, and what must be true of how it does.

use std::{fmt, future::pending, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::time::Instant;
use tower_refresh::{
    BoxError,
    store::{Record, SaveOutcome, TokenStore},
};

use super::{
    plan::{Calls, Keeper, Peer},
    process::{LeaseWrite, Process, STORE_TIMEOUT, TICK, Trip, Violations, Write},
    server::Server,
    shelf::Shelf,
};

pub(crate) struct Connection {
    pub(crate) shelf: Shelf,
    pub(crate) process: Arc<Process>,
    pub(crate) server: Server,
    pub(crate) keeper: Keeper,
    pub(crate) violations: Violations,
}

impl Connection {
    async fn call<R: Send + 'static>(
        &self,
        calls: Calls,
        carry_out: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, BoxError> {
        let mut ongoing = Ongoing::new(&self.process);
        let (shelf, process) = (self.shelf.clone(), &self.process);
        let health = process.lock().store.of(calls);
        ongoing.failed = true;
        let connection = std::mem::replace(&mut process.lock().connection, shelf.connection());
        if connection != shelf.connection() {
            return Err("the connection was broken".into());
        }
        let (reached, shelf) = (shelf.clone(), shelf);
        let carried_out = move || (reached.connection() == connection).then(carry_out);
        ongoing.failed = false;
        let called = process.call(Peer::Store, Trip::to_store(health), carried_out).await;
        ongoing.failed = true;
        let result = called?;
        match result.filter(|_| shelf.connection() == connection) {
            Some(result) => {
                ongoing.answered = true;
                Ok(result)
            }
            None => Err("the connection was broken".into()),
        }
    }

    /// A renewal is sent a third of the lease after the last one was sent.
    fn check_renewal(&self, turn: u64) {
        let (name, now) = (self.process.name, Instant::now());
        let is_calling = self.server.is_calling(&self.process);
        let mut state = self.process.lock();
        let jumped = state.jumped;
        if let Some(last) = state.leased.as_ref()
            && let Some(answered) = last.answered
            && is_calling
            && (last.turn, last.jumped) == (turn, jumped)
        {
            let due = (last.sent + self.process.lease / 3).max(answered) + TICK;
            self.violations
                .unless(now <= due, || format!("{name} renews its lease {:?} late", now - due));
        }
        state.leased = Some(LeaseWrite { sent: now, answered: None, turn, jumped });
    }
}

impl TokenStore for Connection {
    fn load(&self) -> BoxFuture<'_, Result<Option<Record>, BoxError>> {
        let (shelf, by) = (self.shelf.clone(), self.process.clone());
        Box::pin(async move {
            self.process.lock().loads += 1;
            self.call(Calls::Loads, move || shelf.read(by.skew)).await
        })
    }

    fn save(
        &self,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'_, Result<SaveOutcome, BoxError>> {
        let (shelf, by) = (self.shelf.clone(), self.process.clone());
        // What is decided after that is not in it.
        let decided = by.lock().decided;
        Box::pin(async move {
            let calls = match self.shelf.turn().unwrap_or(1) == record.turn() {
                true => Calls::Leases,
                false => Calls::Saves,
            };
            let is_lease = record.lease().is_some_and(|lease| lease.owner() != "restored");
            if is_lease {
                self.check_renewal(record.turn());
            } else {
                self.process.lock().leased = None;
            }
            // What an unsaved rotation writes with the lease in it is no renewal.
            let renews = is_lease && calls == Calls::Leases;
            let writing = Writing::begin(&self.process, &self.violations, (&record, renews));
            let outcome =
                self.call(calls, move || shelf.write(record, expected, (&by, decided))).await;
            drop(writing);
            if let (true, Some(last)) = (is_lease, self.process.lock().leased.as_mut()) {
                last.answered = matches!(outcome, Ok(SaveOutcome::Stored)).then(Instant::now);
            }
            outcome
        })
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let news = self.keeper == Keeper::Shared { news: true };
            if !news || self.shelf.news.subscribe().changed().await.is_err() {
                pending::<()>().await;
            }
        })
    }

    fn is_shared(&self) -> bool {
        self.keeper != Keeper::Own
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("process", &self.process.name).finish_non_exhaustive()
    }
}

/// A call to the store. Dropped without an answer, or with an error, it was in vain.
struct Ongoing<'a> {
    process: &'a Process,
    sent: Instant,
    answered: bool,
    failed: bool,
}

impl<'a> Ongoing<'a> {
    fn new(process: &'a Process) -> Self {
        Self { process, sent: Instant::now(), answered: false, failed: false }
    }
}

impl Drop for Ongoing<'_> {
    fn drop(&mut self) {
        let given_up = self.failed || self.sent.elapsed() + TICK >= STORE_TIMEOUT;
        if !self.answered && given_up {
            self.process.had_trouble(self.sent);
        }
    }
}

/// A write that is under way.
struct Writing<'a> {
    process: &'a Process,
    write: Write,
}

impl<'a> Writing<'a> {
    fn begin(
        process: &'a Process,
        violations: &Violations,
        (record, is_lease): (&Record, bool),
    ) -> Self {
        let json = serde_json::to_value(record).unwrap();
        let last = json["logins"].as_array().and_then(|logins| logins.last());
        let login = last.map(ToString::to_string);
        let write = Write { sent: Instant::now(), is_lease, login };
        let mut state = process.lock();
        let renews = |other: &&Write| other.is_lease && other.login == write.login;
        let renewal = state.writing.iter().find(renews).filter(|_| !is_lease).cloned();
        state.writing.push(write.clone());
        drop(state);
        // What could not be saved is tried again beside whatever is under way by then.
        let again = process.trouble_between(write.sent - Duration::from_secs(60), write.sent);
        violations.unless(renewal.is_none() || again, || {
            format!("{} saves while its renewal is under way: {renewal:?}", process.name)
        });
        Self { process, write }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut state = self.process.lock();
        let at = state.writing.iter().position(|write| *write == self.write);
        at.map(|at| state.writing.swap_remove(at));
    }
}
