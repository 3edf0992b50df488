//! Where tokens outlive the process, and how the processes of a fleet share them.
//!
//! A store holds one [`Record`] for one identity. All writes are compare-and-swap on the record's
//! version, so that a process that is late notices instead of overwriting a newer refresh token. The
//! record also says which process is calling the token endpoint (its [`Lease`]), so a store that
//! several processes use needs nothing else to make them a fleet. A session's default is its own
//! memory.
//!
//! For all processes of one machine there is `FileStore` (feature `file`), for a fleet `RedisStore`
//! (feature `redis`), and `Encrypted` (feature `encrypted`) goes around any store whose place others
//! can read. A store of your own implements two methods of [`TokenStore`].
//!
//! To save rotated tokens somewhere of your own, [`from_fn`] is enough for one process:
//!
//! ```
//! use tower_refresh::{BoxError, Session, store};
//! # use tower_refresh::endpoint::{RefreshRequest, TokenResponse};
//! # let endpoint = tower::service_fn(|_: RefreshRequest| async { Ok::<_, BoxError>(TokenResponse::new("t")?) });
//! # async fn read() -> Result<Option<Vec<u8>>, BoxError> { Ok(None) }
//! # async fn write(_: Vec<u8>) -> Result<(), BoxError> { Ok(()) }
//!
//! let store = store::from_fn(
//!     || async {
//!         let Some(bytes) = read().await? else { return Ok(None) };
//!         Ok(Some(serde_json::from_slice(&bytes)?))
//!     },
//!     |record| async move { write(serde_json::to_vec(&record)?).await },
//! );
//! let session = Session::builder(endpoint).store(store).build();
//! ```

#[cfg(feature = "encrypted")]
mod encrypted;
#[cfg(feature = "file")]
mod file;
mod from_fn;
mod keyed;
mod memory;
mod record;
#[cfg(feature = "redis")]
mod redis;

use std::{fmt, sync::Arc};

use futures_util::future::{FutureExt, pending};

use crate::error::BoxError;

/// What the methods of a [`TokenStore`] return: `Box::pin(async move { … })` makes one. It is
/// `futures`' alias, whatever version of that crate a store's own program has.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

#[cfg(feature = "encrypted")]
#[cfg_attr(docsrs, doc(cfg(feature = "encrypted")))]
pub use self::encrypted::{Encrypted, EncryptionKey};
#[cfg(feature = "file")]
#[cfg_attr(docsrs, doc(cfg(feature = "file")))]
pub use self::file::FileStore;
pub(crate) use self::record::{Ended, LoginHistory, RESTORED, StoredFor};
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::redis::{Connect, ConnectFn, RedisStore, connect_fn};
pub use self::{
    from_fn::{FromFn, from_fn},
    keyed::{BoxStream, Change, KeyedFn, KeyedMemoryStore, KeyedStore, keyed_fn},
    memory::MemoryStore,
    record::{Lease, Record},
};

/// Keeps the tokens of one identity, for one process or for many.
///
/// A store of your own has two methods to write: [`load`](Self::load), and [`save`](Self::save) by
/// compare-and-swap. Sessions do the rest with these two: they keep the lease of a refresh in the
/// record, tell a newer record from an older one, and put back what a store has lost. It stores the
/// record as a whole, as its JSON for example, and need not understand what is in it.
///
/// | the store is | [`is_shared`](Self::is_shared) | what that gives |
/// |---|---|---|
/// | used by several processes | `true`, the default | a fleet: one process at a time refreshes, the others use what it got, and a process that dies over a refresh is followed by another. An expired token is not refreshed while the store cannot be reached |
/// | used by one process | `false` | a refresh never waits for a lease that it finds, and goes on while the store fails; what it brings is saved later |
///
/// The third method, [`changed`](Self::changed), is optional and makes a fleet hear of news sooner.
///
/// Every method may be called at any time, from several tasks at once, and may be dropped before
/// it is done (a session gives each call a time-out). `testing::store_conformance` (feature
/// `test-util`) puts a store of your own to the test.
///
/// ```
/// use std::sync::Mutex;
/// use tower_refresh::{
///     BoxError,
///     store::{BoxFuture, Record, SaveOutcome, TokenStore},
/// };
///
/// #[derive(Debug, Default)]
/// struct Vault(Mutex<Option<Record>>);
///
/// impl TokenStore for Vault {
///     fn load(&self) -> BoxFuture<'_, Result<Option<Record>, BoxError>> {
///         Box::pin(async move { Ok(self.0.lock().unwrap().clone()) })
///     }
///
///     fn save(
///         &self,
///         record: Record,
///         expected: Option<u64>,
///     ) -> BoxFuture<'_, Result<SaveOutcome, BoxError>> {
///         Box::pin(async move {
///             let mut stored = self.0.lock().unwrap();
///             if stored.as_ref().map(Record::version) != expected {
///                 return Ok(SaveOutcome::Conflict);
///             }
///             *stored = Some(record);
///             Ok(SaveOutcome::Stored)
///         })
///     }
///
///     // Only this process uses it, so there is no other to wait for.
///     fn is_shared(&self) -> bool {
///         false
///     }
/// }
/// # #[cfg(feature = "test-util")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// #     tower_refresh::testing::store_conformance(async || Vault::default()).await;
/// # }
/// # #[cfg(not(feature = "test-util"))]
/// # fn main() {}
/// ```
pub trait TokenStore: fmt::Debug + Send + Sync + 'static {
    /// Reads the record; `None` if there has never been one. A record that
    /// [is empty](Record::is_empty) is a record all the same.
    fn load(&self) -> BoxFuture<'_, Result<Option<Record>, BoxError>>;

    /// Writes `record` if what is stored still has the version `expected` (`None`: if nothing is
    /// stored), in one atomic step. Once this returns [`SaveOutcome::Stored`] the record is durable.
    ///
    /// The comparison is all that keeps two processes from using one refresh token: the lease is
    /// taken, renewed and given back by this method too, so a refresh saves two or three times.
    fn save(
        &self,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'_, Result<SaveOutcome, BoxError>>;

    /// Resolves when another process may have changed the record since the call.
    ///
    /// A store tells of a change
    ///
    /// - when the record's [`turn`](Record::turn) changes, as it does with new tokens, with a login
    ///   and with a log-out, or when the tokens change for any other reason;
    /// - when a [lease](Record::lease) is given back: the record had one and has none.
    ///
    /// It does not tell of a lease that is taken or renewed. A refresh that takes long renews its
    /// lease every other second, and each time all waiting processes would read the store for
    /// nothing. Where a database has triggers, let yours compare the turn and the owner of the
    /// lease.
    ///
    /// To resolve too often does no harm but to cost a look. A session waits for this at all times,
    /// so a store that is not told of changes does not look for them: it never resolves, as by
    /// default. A session that is used looks by itself about every 2 s, and while it waits for
    /// another's refresh after 100 ms, then at growing intervals of up to 1 s; this only lets it go
    /// on at once.
    fn changed(&self) -> BoxFuture<'_, ()> {
        pending().boxed()
    }

    /// Whether other processes may refresh the same record.
    ///
    /// If they may, a refresh waits while another process has the lease, and an expired token is
    /// not refreshed while the store cannot be reached. If not, a session takes the lease without
    /// waiting, whichever it finds, and goes on while the store fails: it saves later.
    ///
    /// Defaults to `true`, the safe answer.
    fn is_shared(&self) -> bool {
        true
    }
}

/// A store that several sessions of one process use, and one whose type is not known.
impl<S: TokenStore + ?Sized> TokenStore for Arc<S> {
    fn load(&self) -> BoxFuture<'_, Result<Option<Record>, BoxError>> {
        (**self).load()
    }

    fn save(
        &self,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'_, Result<SaveOutcome, BoxError>> {
        (**self).save(record, expected)
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        (**self).changed()
    }

    fn is_shared(&self) -> bool {
        (**self).is_shared()
    }
}

/// The result of a [`TokenStore::save`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveOutcome {
    /// The record is stored.
    Stored,
    /// Another version is stored than was expected: nothing was written.
    Conflict,
}
