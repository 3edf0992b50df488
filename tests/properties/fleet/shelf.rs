//! The store that the processes share, each over a connection of its own.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::future::{BoxFuture, pending};
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};
use tower_refresh::{
    BoxError, Tokens,
    store::{Record, SaveOutcome, TokenStore},
};

use super::{
    plan::{Calls, Health},
    process::{Place, Process, Trip, Violations},
    server::Server,
};

/// What a session has by default.
pub(crate) const LEASE: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(crate) struct Shelf {
    inner: Arc<Mutex<Inner>>,
    news: watch::Sender<()>,
    server: Server,
    violations: Violations,
}

#[derive(Default)]
struct Inner {
    held: Option<Held>,
}

struct Held {
    record: Record,
    place: Place,
}

impl Shelf {
    pub(crate) fn new(server: Server, violations: Violations) -> Self {
        Self { inner: Arc::default(), news: watch::Sender::new(()), server, violations }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Where the newest tokens stand that it holds, or the log-out that it knows of.
    pub(crate) fn place(&self) -> Place {
        self.lock().held.as_ref().map_or_else(Place::default, |held| held.place)
    }

    pub(crate) fn is_logged_out(&self) -> bool {
        self.lock().held.as_ref().is_some_and(|held| held.record.is_logged_out())
    }

    /// What is stored, as it reads now. The wall clock stands still in a test, so what is left of
    /// a token's life is written in for it.
    fn read(&self) -> Option<Record> {
        let inner = self.lock();
        let held = inner.held.as_ref()?;
        let mut record = serde_json::to_value(&held.record).unwrap();
        let access_token = held.record.tokens().and_then(Tokens::access_token);
        if let Some(left) = access_token.and_then(|token| self.server.left(token.expose()))
            && !record["tokens"]["life"].is_null()
        {
            record["tokens"]["life"] = json!(left.as_millis() as u64);
            record["tokens"]["obtained_at"] = wall(Duration::from_secs(3600));
        }
        Some(serde_json::from_value(record).unwrap())
    }

    fn write(&self, new: Held, expected: Option<u64>, who: usize) -> SaveOutcome {
        let mut inner = self.lock();
        if inner.held.as_ref().map(|held| held.record.version()) != expected {
            return SaveOutcome::Conflict;
        }
        if let Some(old) = &inner.held {
            let (from, to) = (old.record.version(), new.record.version());
            self.violations.unless(from < to, || format!("{who} saves {to} over {from}"));
            let (from, to) = (old.place, new.place);
            self.violations.unless(from <= to, || format!("{who} saves {to:?} over {from:?}"));
        }
        inner.held = Some(new);
        drop(inner);
        self.news.send_replace(());
        SaveOutcome::Stored
    }
}

fn wall(from_now: Duration) -> Value {
    let since = (SystemTime::now() + from_now).duration_since(UNIX_EPOCH).unwrap();
    json!(since.as_millis() as u64)
}

/// The store as one process reaches it.
pub(crate) struct Connection {
    pub(crate) shelf: Shelf,
    pub(crate) process: Arc<Process>,
    /// Whether it is told of changes.
    pub(crate) news: bool,
}

impl Connection {
    fn health(&self, calls: Calls) -> Health {
        self.process.lock().store.of(calls)
    }

    async fn call<R: Send + 'static>(
        &self,
        calls: Calls,
        health: Health,
        carry_out: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, BoxError> {
        let trip = Trip::to_store(health);
        if health.is_trouble() {
            let mut state = self.process.lock();
            state.trouble = Some(Instant::now());
            if calls == Calls::Leases {
                state.lease_trouble = Some(Instant::now() + trip.there);
            }
        }
        self.process.call(trip, carry_out).await
    }
}

impl TokenStore for Connection {
    fn load(&self) -> BoxFuture<'_, Result<Option<Record>, BoxError>> {
        let shelf = self.shelf.clone();
        Box::pin(self.call(Calls::Loads, self.health(Calls::Loads), move || shelf.read()))
    }

    fn save(
        &self,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'_, Result<SaveOutcome, BoxError>> {
        let place = match record.tokens() {
            Some(tokens) => Place::of(tokens.refresh_token().unwrap().expose()),
            None => Place { login: self.process.lock().decided, turn: 0 },
        };
        let mark_ends = Instant::now() + LEASE;
        if record.lease().is_some() {
            self.process.lock().mark_ends = Some(mark_ends);
        }
        let new = Held { record, place };
        let (shelf, who) = (self.shelf.clone(), self.process.name);
        Box::pin(
            self.call(Calls::Saves, self.health(Calls::Saves), move || {
                shelf.write(new, expected, who)
            }),
        )
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if !self.news || self.shelf.news.subscribe().changed().await.is_err() {
                pending::<()>().await;
            }
        })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("process", &self.process.name).finish_non_exhaustive()
    }
}
