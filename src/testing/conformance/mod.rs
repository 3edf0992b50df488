//! What [`TokenStore`] promises, as a test that each store can be put to.

mod keyed;
mod leases;
mod members;

pub use self::keyed::keyed_store_conformance;

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::future::join_all;
use serde_json::json;
use tokio::{task::yield_now, time::timeout};

use crate::{
    error::BoxError,
    store::{Record, SaveOutcome, TokenStore},
    token::Tokens,
};

/// Puts a [`TokenStore`] to the test: whether it keeps all that the trait's documentation asks.
///
/// `make` makes a new, empty store each time it is called. If the store says that it
/// [is not shared](TokenStore::is_shared), what only matters between processes is left out: that
/// saves are atomic. Tokio's paused time does not suit it.
///
/// A store that processes share is best tested through two handles at once: make a `TokenStore`
/// that hands its calls to one or the other.
///
/// ```
/// use tower_refresh::{store::MemoryStore, testing::store_conformance};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// store_conformance(|| async { MemoryStore::new() }).await;
/// # }
/// ```
///
/// # Panics
///
/// If a promise is broken. The message says which, and where it is documented.
pub async fn store_conformance<M, F, S>(make: M)
where
    M: Fn() -> F,
    F: Future<Output = S>,
    S: TokenStore,
{
    an_empty_store(&make().await).await;
    what_was_saved(&make().await).await;
    members::are_kept(&make().await).await;
    members::tell_nothing_from_a_log_out(&make().await).await;
    members::that_are_required_stay_required(&make().await).await;
    conflicts(&make().await).await;
    large_tokens(&make().await).await;
    calls_beside_a_watch(&make().await).await;
    let store = Arc::new(make().await);
    dropped_calls(&*store).await;
    if store.is_shared() {
        put_if_absent(Arc::new(make().await)).await;
        concurrent_saves(Arc::new(make().await)).await;
        leases::go_to_one_of_many(Arc::new(make().await)).await;
    }
}

async fn an_empty_store(store: &impl TokenStore) {
    let nothing = ok("load", store.load().await).is_none();
    keeps(nothing, "load", "it gives `None` if there has never been a record");
}

async fn what_was_saved(store: &impl TokenStore) {
    let tokens = tokens(1, "refresh-1");
    save(store, Record::from(tokens.clone()), None).await;
    let read = load(store).await;
    keeps(read.version() == 1, "load", "it gives the version that was saved");
    keeps(read.holds(Some(&tokens)), "load", "it gives the tokens that were saved");
    let got = read.tokens().cloned().unwrap_or_default();
    let off = tokens.obtained_at.duration_since(got.obtained_at).unwrap_or(Duration::MAX);
    keeps(off < Duration::from_millis(1), "load", "it gives the time at which the life began");

    save(store, record(2, 2), Some(1)).await;
    let read = load(store).await;
    keeps(read.version() == 2, "load", "it gives the record that was saved last");
    save(store, Record::new(7, 7, None), Some(2)).await;
    save(store, record(8, 8), Some(7)).await;
    keeps(load(store).await.tokens().is_some(), "save", "tokens can follow a log-out");
}

async fn conflicts(store: &impl TokenStore) {
    let mut stored = None;
    for (version, right, wrongs) in [
        (1, None, [Some(0), Some(1)]),
        (2, Some(1), [None, Some(2)]),
        (5, Some(2), [Some(1), Some(5)]),
    ] {
        for wrong in wrongs {
            let saved = ok("save", store.save(record(9, 9), wrong).await);
            let rule = "it answers `Conflict` if another version is stored than was expected";
            keeps(saved == SaveOutcome::Conflict, "save", rule);
            let now = ok("load", store.load().await).map(|record| record.version());
            keeps(now == stored, "save", "a conflict writes nothing");
        }
        save(store, record(version, version), right).await;
        stored = Some(version);
    }
    // A write over it would log a user in again who has logged out.
    save(store, Record::new(6, 6, None), stored).await;
    let saved = ok("save", store.save(record(1, 1), None).await);
    keeps(saved == SaveOutcome::Conflict, "save", "a log-out is a record, and no empty store");
}

async fn large_tokens(store: &impl TokenStore) {
    let large = "x".repeat(64 * 1024);
    let tokens = Tokens::new(large.clone()).and_then(|tokens| tokens.with_refresh_token(&large));
    save(store, Record::from(tokens.expect("these are tokens")), None).await;
    let read = load(store).await.into_tokens().unwrap_or_default();
    let access = read.access_token().is_some_and(|token| token.expose() == large);
    let refresh = read.refresh_token().is_some_and(|token| token.expose() == large);
    keeps(access && refresh, "save", "tokens of 64 KiB are stored whole");
}

/// A session waits for news at all times, so nothing else may have to wait until there are some.
async fn calls_beside_a_watch(store: &impl TokenStore) {
    let watch = async {
        loop {
            store.changed().await;
            yield_now().await;
        }
    };
    let calls = async {
        save(store, record(1, 1), None).await;
        load(store).await;
    };
    let done = tokio::select! {
        biased;
        () = watch => unreachable!("it goes on"),
        done = timeout(SOON, calls) => done.is_ok(),
    };
    keeps(done, "changed", "the others answer while it waits");
}

/// Drops calls at their first await, and later.
async fn dropped_calls(store: &impl TokenStore) {
    save(store, record(1, 1), None).await;
    let mut version = 1;
    for patience in (0..20).map(|step| Duration::from_micros(step * step * 10)) {
        let _ =
            timeout(patience, store.save(record(version + 1, version + 1), Some(version))).await;
        let _ = timeout(patience, store.load()).await;
        let _ = timeout(patience, store.changed()).await;
        // A save may still be done after it was dropped. The next caller finds out which.
        version = loop {
            let read = load(store).await;
            let whole = read.tokens().and_then(count) == Some(read.version());
            keeps(whole, "save", "one that is dropped has stored all of its record or nothing");
            let next = read.version() + 1;
            match ok("save", store.save(record(next, next), Some(read.version())).await) {
                SaveOutcome::Stored => break next,
                SaveOutcome::Conflict => {}
            }
        };
    }
}

async fn put_if_absent<S: TokenStore>(store: Arc<S>) {
    let writers = (1..=8).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            (writer, ok("save", store.save(record(1, writer), None).await) == SaveOutcome::Stored)
        })
    });
    let answers = join_all(writers).await.into_iter().map(Result::unwrap);
    let winners: Vec<_> = answers.filter_map(|(writer, won)| won.then_some(writer)).collect();
    keeps(winners.len() == 1, "save", "of many that expect an empty store, one is saved");
    let stored = load(&*store).await.tokens().and_then(count);
    keeps(stored == Some(winners[0]), "save", "what is stored is of the one that was told so");
}

async fn concurrent_saves<S: TokenStore>(store: Arc<S>) {
    const WRITERS: u64 = 4;
    const EACH: u64 = 5;
    save(&*store, record(1, 0), None).await;
    let writers = (0..WRITERS).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut written = 0;
            while written < EACH {
                let read = load(&*store).await;
                let counted = read.tokens().and_then(count).unwrap_or_default();
                let next = record(read.version() + 1, counted + 1);
                match ok("save", store.save(next, Some(read.version())).await) {
                    SaveOutcome::Stored => written += 1,
                    SaveOutcome::Conflict => yield_now().await,
                }
            }
        })
    });
    join_all(writers).await.into_iter().for_each(Result::unwrap);
    let counted = load(&*store).await.tokens().and_then(count);
    let rule =
        "comparing and writing is one atomic step: no save that was answered `Stored` is lost";
    keeps(counted == Some(WRITERS * EACH), "save", rule);
}

async fn load(store: &impl TokenStore) -> Record {
    let loaded = ok("load", store.load().await);
    loaded.unwrap_or_else(|| panic!("{}", broken("load", "it gives the record that was saved")))
}

async fn save(store: &impl TokenStore, record: Record, expected: Option<u64>) {
    let saved = ok("save", store.save(record, expected).await);
    keeps(
        saved == SaveOutcome::Stored,
        "save",
        "it writes if the version is stored that was expected",
    );
}

/// A record that can be told from others by a number.
fn record(version: u64, number: u64) -> Record {
    Record::new(version, version, Some(tokens(number, "refresh")))
}

fn tokens(number: u64, refresh: &str) -> Tokens {
    let tokens = Tokens::new(format!("access-{number}"));
    let mut tokens = tokens.and_then(|tokens| tokens.with_refresh_token(refresh)).unwrap();
    tokens.life = Some(Duration::from_millis(1500));
    tokens.extra.insert("number".to_owned(), json!(number));
    tokens
}

fn count(tokens: &Tokens) -> Option<u64> {
    tokens.extra().get("number")?.as_u64()
}

fn ok<T>(method: &str, answer: Result<T, BoxError>) -> T {
    answer.unwrap_or_else(|error| panic!("`TokenStore::{method}` failed: {error} ({error:?})"))
}

fn keeps(kept: bool, method: &str, rule: &str) {
    assert!(kept, "{}", broken(method, rule));
}

fn broken(method: &str, rule: &str) -> String {
    format!("the store breaks a promise: {rule} (see the documentation of `TokenStore::{method}`)")
}

/// How late what has to happen may do so on a busy machine.
const SOON: Duration = Duration::from_secs(5);
