use std::{any::type_name, fmt, future::Future};

use futures_util::future::FutureExt;

use super::{BoxStream, Change, KeyedStore};
use crate::{
    error::BoxError,
    store::{BoxFuture, Record, SaveOutcome},
};

/// A keyed store of two functions, such as two statements of SQL. Processes that use the same
/// database are a fleet.
///
/// `load` reads the record of a key ([`Record`] is `Serialize` and `Deserialize`), and `None` if
/// there is none. `save` writes it **if** the version that is stored is the one expected, in one
/// statement: with `None` it inserts a row that must not be there yet, else it updates the row that
/// still has this version. One row written is [`SaveOutcome::Stored`], none is
/// [`SaveOutcome::Conflict`].
///
/// ```sql
/// create table api_tokens (tenant text primary key, version bigint not null, record text not null);
/// -- load
/// select record from api_tokens where tenant = $1;
/// -- save, expected = None
/// insert into api_tokens (tenant, version, record) values ($1, $2, $3) on conflict do nothing;
/// -- save, expected = Some($4)
/// update api_tokens set version = $2, record = $3 where tenant = $1 and version = $4;
/// ```
///
/// ```
/// use tower_refresh::{BoxError, store::{Record, SaveOutcome, keyed_fn}};
/// # #[derive(Clone)] struct Database;
/// # impl Database {
/// #     async fn record(&self, _: u64) -> std::io::Result<Option<String>> { Ok(None) }
/// #     async fn insert(&self, _: u64, _: u64, _: String) -> std::io::Result<u64> { Ok(1) }
/// #     async fn update(&self, _: u64, _: u64, _: String, _: u64) -> std::io::Result<u64> { Ok(1) }
/// # }
/// # fn doc(database: Database) {
/// let reader = database.clone();
/// let load = move |user: u64| {
///     let database = reader.clone();
///     async move {
///         let Some(json) = database.record(user).await? else { return Ok(None) };
///         Ok(Some(serde_json::from_str(&json)?))
///     }
/// };
/// let save = move |user: u64, record: Record, expected: Option<u64>| {
///     let database = database.clone();
///     async move {
///         let (version, json) = (record.version(), serde_json::to_string(&record)?);
///         let rows = match expected {
///             None => database.insert(user, version, json).await?,
///             Some(expected) => database.update(user, version, json, expected).await?,
///         };
///         Ok(if rows == 1 { SaveOutcome::Stored } else { SaveOutcome::Conflict })
///     }
/// };
/// let store = keyed_fn(load, save).key_name(|user| user.to_string());
/// # }
/// ```
pub fn keyed_fn<K, L, LF, S, SF>(load: L, save: S) -> KeyedFn<K, L, S>
where
    L: Fn(K) -> LF + Send + Sync + 'static,
    LF: Future<Output = Result<Option<Record>, BoxError>> + Send + 'static,
    S: Fn(K, Record, Option<u64>) -> SF + Send + Sync + 'static,
    SF: Future<Output = Result<SaveOutcome, BoxError>> + Send + 'static,
{
    KeyedFn { load, save, key_name: None, changes: None }
}

/// The store that [`keyed_fn`] makes.
pub struct KeyedFn<K, L, S> {
    load: L,
    save: S,
    key_name: Option<KeyName<K>>,
    changes: Option<Changes<K>>,
}

type KeyName<K> = Box<dyn Fn(&K) -> String + Send + Sync>;
type Changes<K> = Box<dyn Fn() -> BoxStream<'static, Change<K>> + Send + Sync>;

impl<K, L, S> KeyedFn<K, L, S> {
    /// Has each record name its key, and refuses one that names another: a mistake in a query then
    /// hands no user the tokens of another. Two keys must not have one name.
    ///
    /// Defaults to no check.
    pub fn key_name(mut self, name: impl Fn(&K) -> String + Send + Sync + 'static) -> Self {
        self.key_name = Some(Box::new(name));
        self
    }

    /// Where the store's changes come from, such as PostgreSQL's `LISTEN`: see
    /// [`KeyedStore::changes`].
    ///
    /// Defaults to nowhere.
    pub fn changes<F>(mut self, changes: F) -> Self
    where
        F: Fn() -> BoxStream<'static, Change<K>> + Send + Sync + 'static,
    {
        self.changes = Some(Box::new(changes));
        self
    }
}

impl<K, L, LF, S, SF> KeyedStore<K> for KeyedFn<K, L, S>
where
    K: Clone + Send + Sync + 'static,
    L: Fn(K) -> LF + Send + Sync + 'static,
    LF: Future<Output = Result<Option<Record>, BoxError>> + Send + 'static,
    S: Fn(K, Record, Option<u64>) -> SF + Send + Sync + 'static,
    SF: Future<Output = Result<SaveOutcome, BoxError>> + Send + 'static,
{
    fn load<'a>(&'a self, key: &'a K) -> BoxFuture<'a, Result<Option<Record>, BoxError>> {
        (self.load)(key.clone()).boxed()
    }

    fn save<'a>(
        &'a self,
        key: &'a K,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<SaveOutcome, BoxError>> {
        (self.save)(key.clone(), record, expected).boxed()
    }

    fn changes(&self) -> Option<BoxStream<'static, Change<K>>> {
        self.changes.as_ref().map(|changes| changes())
    }

    fn key_name(&self, key: &K) -> Option<String> {
        self.key_name.as_ref().map(|name| name(key))
    }
}

impl<K, L, S> fmt::Debug for KeyedFn<K, L, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedFn")
            .field("load", &type_name::<L>())
            .field("save", &type_name::<S>())
            .finish_non_exhaustive()
    }
}
