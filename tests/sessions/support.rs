//! The world of a test: users whose tokens carry their names, and a store that counts.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::FutureExt;
use tokio::task::yield_now;
use tower_refresh::{
    BoxError, Sessions, SessionsBuilder, Tokens,
    endpoint::TokenResponse,
    store::{BoxFuture, BoxStream, Change, KeyedMemoryStore, KeyedStore, Record, SaveOutcome},
    testing::{Answer, GatedEndpoint},
};

/// A token endpoint for each user. The tokens of ann are `ann.access-1`, `ann.access-2`, …
#[derive(Clone, Default)]
pub(crate) struct Endpoints(Arc<Mutex<HashMap<String, GatedEndpoint>>>);

impl Endpoints {
    pub(crate) fn at(&self, user: &str) -> GatedEndpoint {
        let mut endpoints = self.0.lock().unwrap();
        let made = || named(user, Duration::from_secs(3600));
        endpoints.entry(user.to_owned()).or_insert_with(made).clone()
    }

    /// The calls for all users.
    pub(crate) fn calls(&self) -> usize {
        self.0.lock().unwrap().values().map(GatedEndpoint::calls).sum()
    }

    pub(crate) fn sessions(&self) -> SessionsBuilder<String> {
        let endpoints = self.clone();
        Sessions::builder(move |user: &String| endpoints.at(user))
    }
}

fn named(user: &str, life: Duration) -> GatedEndpoint {
    let endpoint = GatedEndpoint::new();
    let (user, mut issued) = (user.to_owned(), 0);
    endpoint.answer_always(move || {
        issued += 1;
        Answer::Tokens(response(&user, issued, life))
    });
    endpoint
}

fn response(user: &str, number: u64, life: Duration) -> TokenResponse {
    let response = TokenResponse::new(format!("{user}.access-{number}")).unwrap();
    response.with_refresh_token(format!("{user}.refresh-{number}")).unwrap().with_expires_in(life)
}

/// What a user has got from a login.
pub(crate) fn login(user: &str) -> Tokens {
    Tokens::from_refresh_token(format!("{user}.refresh-0")).unwrap()
}

/// A store that counts what is asked of it, and can fail.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    inner: Arc<KeyedMemoryStore<String>>,
    loads: Arc<AtomicUsize>,
    saves: Arc<AtomicUsize>,
    fails: Arc<AtomicBool>,
    tells: bool,
}

impl Counted {
    /// One that tells of no changes.
    pub(crate) fn new() -> Self {
        let inner = Arc::new(KeyedMemoryStore::new());
        Self {
            inner,
            loads: Arc::default(),
            saves: Arc::default(),
            fails: Arc::default(),
            tells: false,
        }
    }

    /// The same records, with a stream of changes.
    pub(crate) fn telling(&self) -> Self {
        Self { tells: true, ..self.clone() }
    }

    pub(crate) fn loads(&self) -> usize {
        self.loads.load(SeqCst)
    }

    pub(crate) fn saves(&self) -> usize {
        self.saves.load(SeqCst)
    }

    /// What is stored.
    pub(crate) async fn record(&self, user: &str) -> Record {
        self.inner.load(&user.to_owned()).await.unwrap().expect("a record")
    }

    /// Stores a record whatever is there, as a failover does.
    pub(crate) async fn force(&self, user: &str, record: Record) {
        let user = user.to_owned();
        let stored = self.record(&user).await.version();
        let saved = self.inner.save(&user, record, Some(stored)).await.unwrap();
        assert_eq!(saved, SaveOutcome::Stored);
    }

    /// Whether each call is to fail from now on.
    pub(crate) fn fail(&self, fails: bool) {
        self.fails.store(fails, SeqCst);
    }
}

impl KeyedStore<String> for Counted {
    fn load<'a>(&'a self, key: &'a String) -> BoxFuture<'a, Result<Option<Record>, BoxError>> {
        self.loads.fetch_add(1, SeqCst);
        match self.fails.load(SeqCst) {
            true => async { Err("the store is down".into()) }.boxed(),
            false => self.inner.load(key),
        }
    }

    fn save<'a>(
        &'a self,
        key: &'a String,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<SaveOutcome, BoxError>> {
        self.saves.fetch_add(1, SeqCst);
        match self.fails.load(SeqCst) {
            true => async { Err("the store is down".into()) }.boxed(),
            false => self.inner.save(key, record, expected),
        }
    }

    fn changes(&self) -> Option<BoxStream<'static, Change<String>>> {
        self.tells.then(|| self.inner.changes())?
    }
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Lets all tasks run until they wait for something.
pub(crate) async fn settle() {
    for _ in 0..100 {
        yield_now().await;
    }
}

/// The users that are in memory.
pub(crate) fn users(sessions: &Sessions<String>) -> Vec<String> {
    let mut users = sessions.keys();
    users.sort();
    users
}
