//! The conformance test of stores for many identities: it finds each broken promise, and the
//! crate's own stores keep them all.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use futures::{FutureExt, StreamExt};
use tower_refresh::{
    BoxError,
    store::{
        BoxFuture, BoxStream, Change, KeyedFn, KeyedMemoryStore, KeyedStore, Record, SaveOutcome,
        keyed_fn,
    },
    testing::keyed_store_conformance,
};

type Rows = Arc<Mutex<HashMap<String, String>>>;

/// A table of JSON, written by two closures as a database would be. The column of the key is what
/// `column` makes of it.
fn table<K: Clone + Send + Sync + 'static>(column: fn(&K) -> String) -> Table<K> {
    let rows = Rows::default();
    let read = rows.clone();
    let load = move |key: K| -> Loaded {
        let json = read.lock().unwrap().get(&column(&key)).cloned();
        async move { Ok(json.map(|json| serde_json::from_str(&json)).transpose()?) }.boxed()
    };
    let save = move |key: K, record: Record, expected: Option<u64>| -> Saved {
        let rows = rows.clone();
        async move {
            let json = serde_json::to_string(&record)?;
            let mut rows = rows.lock().unwrap();
            let stored = rows.get(&column(&key)).map(|json| serde_json::from_str::<Record>(json));
            if stored.transpose()?.map(|record| record.version()) != expected {
                return Ok(SaveOutcome::Conflict);
            }
            rows.insert(column(&key), json);
            Ok(SaveOutcome::Stored)
        }
        .boxed()
    };
    keyed_fn(Box::new(load), Box::new(save))
}

type Table<K> = KeyedFn<K, Box<Load<K>>, Box<Save<K>>>;
type Load<K> = dyn Fn(K) -> Loaded + Send + Sync;
type Save<K> = dyn Fn(K, Record, Option<u64>) -> Saved + Send + Sync;
type Loaded = BoxFuture<'static, Result<Option<Record>, BoxError>>;
type Saved = BoxFuture<'static, Result<SaveOutcome, BoxError>>;

// S244: a conformance test finds each broken promise of a keyed store
#[tokio::test]
async fn the_crates_own_stores_for_many_identities_keep_all_promises() {
    keyed_store_conformance(async || KeyedMemoryStore::new(), [1u64, 2]).await;
    let tenants = [("acme".to_owned(), 7u32), ("acme".to_owned(), 8)];
    keyed_store_conformance(async || KeyedMemoryStore::new(), tenants).await;
    let names: [Arc<str>; 2] = ["ann".into(), "ben".into()];
    keyed_store_conformance(async || Arc::new(KeyedMemoryStore::new()), names).await;
}

// S244: a conformance test finds each broken promise of a keyed store
#[tokio::test]
async fn two_closures_with_compare_and_swap_are_a_whole_store() {
    keyed_store_conformance(async || table(|key: &u64| key.to_string()), [1, 2]).await;
    let pairs: [(Arc<str>, u64); 2] = [("acme".into(), 1), ("acme".into(), 2)];
    let make = async || {
        let column = |(tenant, user): &(Arc<str>, u64)| format!("{tenant}/{user}");
        table(column).key_name(move |key| column(key))
    };
    keyed_store_conformance(make, pairs).await;
}

// S244: a conformance test finds each broken promise of a keyed store
#[tokio::test]
#[should_panic(expected = "the record of one key is not that of another")]
async fn a_store_that_mixes_two_keys_up_is_found() {
    keyed_store_conformance(async || table(|_: &u64| "all".to_owned()), [1, 2]).await;
}

// S244: a conformance test finds each broken promise of a keyed store
#[tokio::test]
#[should_panic(expected = "two keys do not have one name")]
async fn a_name_that_two_keys_have_is_found() {
    let make = async || table(|key: &u64| key.to_string()).key_name(|_| "user".to_owned());
    keyed_store_conformance(make, [1, 2]).await;
}

/// Tells of nothing, or ends.
#[derive(Debug)]
struct Tells(KeyedMemoryStore<u64>, bool);

impl KeyedStore<u64> for Tells {
    fn load<'a>(&'a self, key: &'a u64) -> BoxFuture<'a, Result<Option<Record>, BoxError>> {
        self.0.load(key)
    }

    fn save<'a>(
        &'a self,
        key: &'a u64,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<SaveOutcome, BoxError>> {
        self.0.save(key, record, expected)
    }

    fn changes(&self) -> Option<BoxStream<'static, Change<u64>>> {
        let first = self.0.changes()?.take(1);
        Some(if self.1 { first.boxed() } else { first.chain(futures::stream::pending()).boxed() })
    }
}

// S244: a conformance test finds each broken promise of a keyed store
#[tokio::test]
#[should_panic(expected = "the stream never ends")]
async fn a_stream_of_changes_that_ends_is_found() {
    keyed_store_conformance(async || Tells(KeyedMemoryStore::new(), true), [1, 2]).await;
}

// S244: a conformance test finds each broken promise of a keyed store
#[tokio::test]
#[should_panic(expected = "it tells of each save with a new turn")]
async fn a_change_that_is_not_told_is_found() {
    keyed_store_conformance(async || Tells(KeyedMemoryStore::new(), false), [1, 2]).await;
}
