//! Where the tokens of many identities outlive the process.

mod from_fn;
mod memory;

use std::{fmt, pin::Pin, sync::Arc};

use futures_core::Stream;

pub use self::{
    from_fn::{KeyedFn, keyed_fn},
    memory::KeyedMemoryStore,
};
use super::{BoxFuture, Record, SaveOutcome};
use crate::error::BoxError;

/// What [`KeyedStore::changes`] returns. It is `futures`' alias, whatever version of that crate a
/// store's own program has.
pub type BoxStream<'a, T> = Pin<Box<dyn Stream<Item = T> + Send + 'a>>;

/// Keeps the tokens of many identities, each under a key of your own type: a user's number, or a
/// tenant and a user.
///
/// A store of your own has two methods to write, [`load`](Self::load) and [`save`](Self::save) by
/// compare-and-swap. They are those of a [`TokenStore`](super::TokenStore) with a key in front, and
/// promise the same: all that is said there holds for each key. For a database two closures are
/// enough: [`keyed_fn`].
///
/// `testing::keyed_store_conformance` (feature `test-util`) puts a store of your own to the test.
pub trait KeyedStore<K>: fmt::Debug + Send + Sync + 'static {
    /// Reads the record of `key`; `None` if there has never been one. A record that
    /// [is empty](Record::is_empty) is a record all the same.
    fn load<'a>(&'a self, key: &'a K) -> BoxFuture<'a, Result<Option<Record>, BoxError>>;

    /// Writes the record of `key` if what is stored there still has the version `expected` (`None`:
    /// if nothing is stored), in one atomic step. Once this returns [`SaveOutcome::Stored`] the
    /// record is durable.
    fn save<'a>(
        &'a self,
        key: &'a K,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<SaveOutcome, BoxError>>;

    /// What is saved from now on, by any process. The stream never ends. A set reads it in one task
    /// for all its keys.
    ///
    /// A store tells of a change when a record's [`turn`](Record::turn) changes, and not when a
    /// lease is taken or renewed. Own saves may be among them: they cost nothing, as the turn says
    /// that nothing is new.
    ///
    /// Defaults to `None`: the store does not tell. Then a session looks when it is used and its
    /// last look is 30 s old.
    fn changes(&self) -> Option<BoxStream<'static, Change<K>>> {
        None
    }

    /// What the record of `key` says whose it is. A record that names another is an error, so that
    /// a mistake in a query hands no user the tokens of another. Two keys must not have one name.
    ///
    /// Defaults to `None`: the records name no key, and are not checked.
    fn key_name(&self, key: &K) -> Option<String> {
        let _ = key;
        None
    }

    /// Whether other processes may refresh the same records; see
    /// [`TokenStore::is_shared`](super::TokenStore::is_shared).
    ///
    /// Defaults to `true`, the safe answer.
    fn is_shared(&self) -> bool {
        true
    }
}

/// What a [`KeyedStore`] tells of its records.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change<K> {
    /// The record of `key` was saved, and has this [`turn`](Record::turn) now.
    Saved {
        /// Whose record it is.
        key: K,
        /// Its turn.
        turn: u64,
    },
    /// Some changes may have been missed, as after a connection that broke: any record may be
    /// another by now.
    Lagged,
}

/// A store that several sets of one process use.
impl<K, S: KeyedStore<K> + ?Sized> KeyedStore<K> for Arc<S> {
    fn load<'a>(&'a self, key: &'a K) -> BoxFuture<'a, Result<Option<Record>, BoxError>> {
        (**self).load(key)
    }

    fn save<'a>(
        &'a self,
        key: &'a K,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<SaveOutcome, BoxError>> {
        (**self).save(key, record, expected)
    }

    fn changes(&self) -> Option<BoxStream<'static, Change<K>>> {
        (**self).changes()
    }

    fn key_name(&self, key: &K) -> Option<String> {
        (**self).key_name(key)
    }

    fn is_shared(&self) -> bool {
        (**self).is_shared()
    }
}
