//! The same for a [`KeyedStore`].

use std::{fmt, future::Future, sync::Arc};

use futures_util::{StreamExt, future::join_all};
use tokio::time::timeout;

use super::{SOON, count, load, ok, record, save, store_conformance};
use crate::{
    error::BoxError,
    store::{BoxFuture, BoxStream, Change, KeyedStore, Record, SaveOutcome, TokenStore},
};

/// Puts a [`KeyedStore`] to the test: whether it keeps all that the trait's documentation asks, for
/// each of two keys and for both at once.
///
/// `make` makes a new, empty store each time it is called; `keys` are two keys that are not equal.
/// Tokio's paused time does not suit it.
///
/// ```
/// use tower_refresh::{store::KeyedMemoryStore, testing::keyed_store_conformance};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let keys = [("acme", 1), ("acme", 2)];
/// keyed_store_conformance(|| async { KeyedMemoryStore::new() }, keys).await;
/// # }
/// ```
///
/// # Panics
///
/// If a promise is broken. The message says which, and where it is documented.
pub async fn keyed_store_conformance<K, M, F, S>(make: M, keys: [K; 2])
where
    K: Clone + PartialEq + Send + Sync + 'static,
    M: Fn() -> F,
    F: Future<Output = S>,
    S: KeyedStore<K>,
{
    assert!(keys[0] != keys[1], "`keyed_store_conformance` needs two keys that are not equal");
    for key in &keys {
        store_conformance(|| async { Of { store: Arc::new(make().await), key: key.clone() } })
            .await;
    }
    keys_apart(Arc::new(make().await), &keys).await;
    names(&make().await, &keys);
    let store = Arc::new(make().await);
    if let Some(changes) = store.changes() {
        changes_are_told(store, changes, &keys).await;
    }
}

/// What is stored for one key says nothing of another, also while both are written.
async fn keys_apart<K, S>(store: Arc<S>, keys: &[K; 2])
where
    K: Clone + Send + Sync + 'static,
    S: KeyedStore<K>,
{
    let [one, other] = keys.clone().map(|key| Arc::new(Of { store: store.clone(), key }));
    save(&*one, record(1, 1), None).await;
    let nothing = ok("load", other.load().await).is_none();
    keeps(nothing, "load", "the record of one key is not that of another");
    save(&*other, record(1, 100), None).await;

    let writers = [(one.clone(), 1), (other.clone(), 100)].map(|(of, first)| {
        tokio::spawn(async move {
            for step in 1..20 {
                save(&*of, record(1 + step, first + step), Some(step)).await;
            }
        })
    });
    join_all(writers).await.into_iter().for_each(Result::unwrap);
    for (of, last) in [(one, 20), (other, 119)] {
        let stored = load(&*of).await.tokens().and_then(count);
        keeps(stored == Some(last), "save", "it writes the record of its key and no other");
    }
}

fn names<K>(store: &impl KeyedStore<K>, keys: &[K; 2]) {
    let [one, other] = [store.key_name(&keys[0]), store.key_name(&keys[1])];
    let differ = one.is_none() && other.is_none() || one != other;
    keeps(differ, "key_name", "two keys do not have one name");
}

async fn changes_are_told<K, S>(
    store: Arc<S>,
    mut changes: BoxStream<'static, Change<K>>,
    keys: &[K; 2],
) where
    K: Clone + PartialEq + Send + Sync + 'static,
    S: KeyedStore<K>,
{
    for turn in 1..4 {
        for key in keys {
            let of = Of { store: store.clone(), key: key.clone() };
            save(&of, record(turn, turn), (turn > 1).then(|| turn - 1)).await;
            let told = async {
                while let Some(change) = changes.next().await {
                    match change {
                        // An earlier one may come late, and one twice.
                        Change::Saved { key: told, turn: at } if told == *key && at == turn => {
                            return true;
                        }
                        // This one may have been missed.
                        Change::Lagged => return true,
                        Change::Saved { .. } => {}
                    }
                }
                false
            };
            let told = timeout(SOON, told).await;
            keeps(told != Ok(false), "changes", "the stream never ends");
            keeps(told.is_ok(), "changes", "it tells of each save with a new turn");
        }
    }
}

fn keeps(kept: bool, method: &str, rule: &str) {
    assert!(
        kept,
        "the store breaks a promise: {rule} (see the documentation of `KeyedStore::{method}`)"
    );
}

/// What a keyed store keeps for one key.
struct Of<K, S> {
    store: Arc<S>,
    key: K,
}

impl<K: Send + Sync + 'static, S: KeyedStore<K>> TokenStore for Of<K, S> {
    fn load(&self) -> BoxFuture<'_, Result<Option<Record>, BoxError>> {
        self.store.load(&self.key)
    }

    fn save(
        &self,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'_, Result<SaveOutcome, BoxError>> {
        self.store.save(&self.key, record, expected)
    }

    fn is_shared(&self) -> bool {
        self.store.is_shared()
    }
}

impl<K, S: fmt::Debug> fmt::Debug for Of<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}
