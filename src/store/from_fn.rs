use std::{any::type_name, fmt, future::Future};

use futures_util::future::FutureExt;

use super::{BoxFuture, Record, SaveOutcome, TokenStore};
use crate::error::BoxError;

/// A store of two functions, for a program that alone uses its tokens.
///
/// `load` reads what `save` wrote last ([`Record`] is `Serialize` and `Deserialize`); `None` if it
/// never did. The comparison of versions is not atomic: two processes need a store that was made
/// for them.
///
/// Because no other process can refresh, a session goes on refreshing while such a store fails, and
/// saves as soon as it works again.
pub fn from_fn<L, S>(load: L, save: S) -> FromFn<L, S> {
    FromFn { load, save }
}

/// The store that [`from_fn`] makes.
pub struct FromFn<L, S> {
    load: L,
    save: S,
}

impl<L, LF, S, SF> TokenStore for FromFn<L, S>
where
    L: Fn() -> LF + Send + Sync + 'static,
    LF: Future<Output = Result<Option<Record>, BoxError>> + Send + 'static,
    S: Fn(Record) -> SF + Send + Sync + 'static,
    SF: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    fn load(&self) -> BoxFuture<'_, Result<Option<Record>, BoxError>> {
        (self.load)().boxed()
    }

    fn save(
        &self,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'_, Result<SaveOutcome, BoxError>> {
        async move {
            let stored = (self.load)().await?;
            if stored.as_ref().map(Record::version) != expected {
                return Ok(SaveOutcome::Conflict);
            }
            (self.save)(record).await?;
            Ok(SaveOutcome::Stored)
        }
        .boxed()
    }

    fn is_shared(&self) -> bool {
        false
    }
}

impl<L, S> fmt::Debug for FromFn<L, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFn")
            .field("load", &type_name::<L>())
            .field("save", &type_name::<S>())
            .finish()
    }
}
