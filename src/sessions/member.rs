//! What a session of a set asks of it: a key and a pointer are all that it has of its own.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::{
    StreamExt,
    future::{BoxFuture, FutureExt, pending},
};
use http::Uri;
use tokio::{runtime::Handle, time::timeout};

use super::{events::SetEvent, set::Set};
use crate::{
    error::{Error, ErrorKind},
    session::{
        Backend, Busy, Config, EndpointName, Event, Events, News, Revocation, TokenEndpoint,
        in_store_time,
    },
    store::{Record, SaveOutcome},
    token::Tokens,
};

pub(super) struct Member<K> {
    pub(super) key: K,
    pub(super) set: Arc<Set<K>>,
    /// By the set's clock.
    used: AtomicU32,
}

impl<K: 'static> Member<K> {
    pub(super) fn new(key: K, set: Arc<Set<K>>) -> Self {
        let used = AtomicU32::new(set.now());
        Self { key, set, used }
    }

    /// It is used now.
    pub(super) fn touch(&self) {
        let now = self.set.now();
        // To write where nothing changes would take the line from the others that read it.
        if self.used.load(Ordering::Relaxed) != now {
            self.used.store(now, Ordering::Relaxed);
        }
    }

    /// For how long it was not used.
    pub(super) fn idle(&self) -> Duration {
        let since = self.set.now().saturating_sub(self.used.load(Ordering::Relaxed));
        Duration::from_secs(since.into())
    }

    /// A record belongs to its key: one that names another is not this session's.
    fn check(&self, record: Record) -> Result<Record, Error> {
        let name = self.set.store.as_ref().and_then(|store| store.key_name(&self.key));
        match (name, record.key()) {
            (Some(name), Some(stored)) if name != stored => Err(Error::new(
                ErrorKind::ForeignRecord,
                format!(
                    "the store gave the record of {stored:?} for {name:?}: check its queries, and \
                     that no two keys have one name"
                ),
            )),
            _ => Ok(record),
        }
    }
}

impl<K: Clone + Eq + Send + Sync + 'static> Backend for Member<K> {
    fn config(&self) -> &Config {
        &self.set.config
    }

    fn owner(&self) -> &str {
        &self.set.owner
    }

    fn is_stored(&self) -> bool {
        self.set.is_stored()
    }

    fn load(&self) -> BoxFuture<'_, Result<Option<Record>, Error>> {
        let Some(store) = &self.set.store else { return Box::pin(async { Ok(None) }) };
        let limit = self.set.config.store_timeout;
        Box::pin(async move {
            let loaded = in_store_time(limit, async { store.load(&self.key).await }).await?;
            loaded.map(Record::opened).transpose()?.map(|record| self.check(record)).transpose()
        })
    }

    fn save(
        &self,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'_, Result<SaveOutcome, Error>> {
        let Some(store) = &self.set.store else {
            return Box::pin(async { Ok(SaveOutcome::Stored) });
        };
        let limit = self.set.config.store_timeout;
        Box::pin(async move {
            let record = match store.key_name(&self.key) {
                Some(name) => record.with_key(name),
                None => record,
            };
            in_store_time(limit, async { store.save(&self.key, record, expected).await }).await
        })
    }

    /// The set's sweep hears of changes for all its sessions.
    fn changed(&self) -> BoxFuture<'static, ()> {
        pending().boxed()
    }

    fn initial_tokens(&self) -> BoxFuture<'_, Result<Option<Tokens>, Error>> {
        let Some(initial_tokens) = &self.set.initial_tokens else {
            return Box::pin(async { Ok(None) });
        };
        let limit = self.set.config.attempt_timeout;
        async move {
            let asked = AssertUnwindSafe(async { initial_tokens(self.key.clone()).await });
            let given = match timeout(limit, asked.catch_unwind()).await {
                Ok(Ok(given)) => given,
                Ok(Err(_panic)) => Err("it panicked".into()),
                Err(_elapsed) => Err(format!("it did not answer within {limit:?}").into()),
            };
            given.map_err(|error| {
                let message = "what gives the first tokens of an identity cannot be used";
                Error::with_source(ErrorKind::Store, message, error)
            })
        }
        .boxed()
    }

    fn endpoint_name(&self) -> EndpointName<'_> {
        EndpointName { what: "token", host: None, session: self.set.name.as_deref() }
    }

    fn login(&self) -> Option<TokenEndpoint> {
        Some(self.set.login.as_ref()?(&self.key))
    }

    fn login_name(&self) -> EndpointName<'_> {
        EndpointName { what: "login", ..self.endpoint_name() }
    }

    fn revocation_name(&self) -> EndpointName<'_> {
        EndpointName { what: "revocation", ..self.endpoint_name() }
    }

    fn endpoint(&self) -> TokenEndpoint {
        (self.set.endpoint)(&self.key)
    }

    fn revocation(&self) -> Option<Revocation> {
        Some(self.set.revocation.as_ref()?(&self.key))
    }

    fn reaches(&self, uri: &Uri) -> bool {
        self.set.reaches.as_ref().is_some_and(|reaches| reaches(&self.key, uri))
    }

    fn runtime(&self) -> Option<&Handle> {
        self.set.runtime.as_ref()
    }

    fn tell(&self, news: News) {
        let event = match news {
            News::Event(event) => event,
            // A gauge would show the session that wrote it last.
            News::TokenLife(_) => return,
        };
        self.set.observer.event(&event);
        if let Some(events) = self.set.events.get() {
            // That all readers have gone is no fault.
            let _ = events.send(SetEvent::Session { key: self.key.clone(), event });
        }
    }

    fn events(&self) -> Events {
        let own = self.key.clone();
        let events = self.set.events().filter_map(move |event| {
            let event = match event {
                SetEvent::Session { key, event } => (key == own).then_some(event),
                SetEvent::Lagged { skipped } => Some(Event::Lagged { skipped }),
            };
            std::future::ready(event)
        });
        Events::of(events.boxed())
    }

    fn refresh_took(&self, elapsed: Duration) {
        self.set.observer.refresh_took(elapsed);
    }

    fn count(&self, before: Busy, after: Busy) {
        for (before, after, count) in [
            (before.refreshing, after.refreshing, &self.set.refreshing),
            (before.unsaved, after.unsaved, &self.set.unsaved),
        ] {
            match (before, after) {
                (false, true) => _ = count.fetch_add(1, Ordering::Relaxed),
                (true, false) => _ = count.fetch_sub(1, Ordering::Relaxed),
                _ => {}
            }
        }
    }

    #[cfg(feature = "tracing")]
    fn span(&self, replaces: u64) -> tracing::Span {
        self.set.observer.span(replaces)
    }
}
