//! A token store in memory that a test can hold, break and read.
//!
//! Read `shelf` for what is stored, `view` for what can go wrong on the way there, and `calls` for
//! how a save is told from the renewal of a lease.

mod calls;
mod shelf;
mod view;

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::{Either, FutureExt, pending, select};

use self::{calls::Kind, shelf::Shelf, view::View};
use super::gate::Hold;
use crate::{
    error::BoxError,
    store::{BoxFuture, Record, SaveOutcome, TokenStore},
};

pub use self::{calls::StoreCalls, view::StoreFault};

/// A token store in memory that can be held, broken, slowed down and robbed of what it holds.
///
/// It has no clock of its own, so that it works in paused time. Every clone is a handle to the same
/// view of the store: give one to the session and keep one to steer with. [`other`](Self::other)
/// makes the view of another process: it sees the same record, and has its own holds, faults,
/// delays and counts. Left alone it is a [`MemoryStore`](crate::store::MemoryStore).
///
/// # Example
///
/// Two processes, and a store that fails one of them when it has new tokens to save:
///
/// ```
/// use tower_refresh::{
///     Session, Tokens,
///     testing::{GatedEndpoint, GatedStore, StoreCalls, StoreFault},
/// };
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), tower_refresh::BoxError> {
/// // In your tests: #[tokio::test(start_paused = true)]
/// let endpoint = GatedEndpoint::new();
/// let store = GatedStore::holding(Tokens::from_refresh_token("from-a-login")?.into());
/// let first = Session::builder(endpoint.clone()).store(store.clone()).build();
/// let second = Session::builder(endpoint.clone()).store(store.other()).build();
///
/// // The first process leases the record, calls the endpoint, and comes as far as the save.
/// let hold = store.hold(StoreCalls::Saves);
/// let refresh = tokio::spawn({
///     let first = first.clone();
///     async move { first.token().await }
/// });
/// store.calls_reached(StoreCalls::Saves, 1).await;
/// assert!(store.record().unwrap().lease().is_some());
/// assert_eq!((store.calls(StoreCalls::Loads), store.calls(StoreCalls::Renewals)), (1, 1));
///
/// // Now it cannot write. It uses the new tokens all the same, and goes on trying.
/// store.set_fault(StoreCalls::Writes, StoreFault::Fail);
/// hold.release();
/// refresh.await??;
/// assert!(first.status().is_unsaved());
///
/// // The second process waits meanwhile, and calls no endpoint.
/// store.set_fault(StoreCalls::All, None);
/// assert_eq!(second.token().await?.header_value(), "Bearer access-1");
/// assert_eq!(endpoint.calls(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct GatedStore {
    shelf: Arc<Shelf>,
    view: Arc<View>,
}

impl GatedStore {
    /// An empty store that [is shared](Self::set_shared).
    pub fn new() -> Self {
        Self { shelf: Arc::default(), view: Arc::default() }
    }

    /// A store that holds this record.
    pub fn holding(record: Record) -> Self {
        let store = Self::new();
        store.put(record);
        store
    }

    /// The same store as another process sees it: the same record, and no holds, faults, delays or
    /// counts of this one. Whether it [is shared](Self::set_shared) and [tells](Self::set_tells)
    /// is as here.
    pub fn other(&self) -> Self {
        Self { shelf: self.shelf.clone(), view: Arc::new(self.view.other()) }
    }

    /// What is stored, whatever the faults.
    pub fn record(&self) -> Option<Record> {
        self.shelf.record()
    }

    /// The versions that were written, through any view, in their order. Those that were lost
    /// since are among them.
    pub fn versions(&self) -> Vec<u64> {
        self.shelf.versions()
    }

    /// Stores a record without a comparison, as if another process had saved it.
    pub fn put(&self, record: Record) {
        self.shelf.put(record);
    }

    /// Loses all that is stored. No watcher is told.
    pub fn wipe(&self) {
        self.shelf.wipe();
    }

    /// Loses the last writes, as many as this, as a failover to a replica that lags behind does.
    /// No watcher is told. Before the first write the store was empty.
    pub fn lose_writes(&self, writes: usize) {
        self.shelf.lose(writes);
    }

    /// Holds these calls: they arrive, and wait until the hold is released. A call that several
    /// holds are for waits for each of them.
    pub fn hold(&self, calls: StoreCalls) -> Hold {
        self.view.hold(calls)
    }

    /// Makes these calls go wrong from now on, or right again (`None`). Calls that are held or slow
    /// are judged when they go on.
    ///
    /// ```
    /// # use tower_refresh::testing::{GatedStore, StoreCalls, StoreFault};
    /// # let store = GatedStore::new();
    /// store.set_fault(StoreCalls::Writes, StoreFault::Fail);       // read-only
    /// store.set_fault(StoreCalls::All, StoreFault::Hang);          // not a word
    /// store.set_fault(StoreCalls::All, None);                      // up again
    /// store.set_fault(StoreCalls::Saves, StoreFault::LoseAnswer);  // saved, but unanswered
    /// ```
    ///
    /// Defaults to none.
    pub fn set_fault(&self, calls: StoreCalls, fault: impl Into<Option<StoreFault>>) {
        self.view.set_fault(calls, fault.into());
    }

    /// Makes the next of these calls go wrong, and that one alone. These faults queue up, and come
    /// before those of [`set_fault`](Self::set_fault).
    pub fn fault_next(&self, calls: StoreCalls, fault: StoreFault) {
        self.view.fault_next(calls, fault);
    }

    /// Makes these calls take some Tokio time before they are carried out.
    ///
    /// Defaults to none.
    pub fn set_delay(&self, calls: StoreCalls, delay: Duration) {
        self.view.set_delay(calls, delay);
    }

    /// Changes what [`is_shared`](TokenStore::is_shared) says. A session asks when it is built.
    ///
    /// Defaults to `true`.
    pub fn set_shared(&self, shared: bool) {
        self.view.set_shared(shared);
    }

    /// Changes whether [`changed`](TokenStore::changed) resolves when the trait says that a store
    /// tells of a change; if not, it waits for [`tell`](Self::tell). It counts for waits that begin
    /// afterwards.
    ///
    /// Defaults to `false`.
    pub fn set_tells(&self, tells: bool) {
        self.view.set_tells(tells);
    }

    /// Resolves all that wait for [`changed`](TokenStore::changed) in this view, with or without a
    /// change.
    pub fn tell(&self) {
        self.view.tell();
    }

    /// How many of these calls have arrived through this view.
    pub fn calls(&self, calls: StoreCalls) -> usize {
        self.view.calls().total(calls)
    }

    /// Waits until this many of these calls have arrived through this view, since the start.
    pub async fn calls_reached(&self, calls: StoreCalls, count: usize) {
        self.view.reached(calls, count).await;
    }
}

impl TokenStore for GatedStore {
    fn load(&self) -> BoxFuture<'_, Result<Option<Record>, BoxError>> {
        self.view.panic_if_told(Kind::Load);
        async {
            self.view.arrive(Kind::Load);
            self.view.carry_out(Kind::Load, || self.shelf.record()).await
        }
        .boxed()
    }

    fn save(
        &self,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'_, Result<SaveOutcome, BoxError>> {
        async move {
            let kind = Kind::of_write(&record, self.shelf.record().as_ref());
            self.view.arrive(kind);
            self.view.carry_out(kind, || self.shelf.save(record, expected)).await
        }
        .boxed()
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        self.view.panic_if_told(Kind::Load);
        // Whatever changes from now on is news, however late the wait begins.
        let (mut told, mut news) = (self.view.told(), self.shelf.news());
        let tells = self.view.tells();
        async move {
            let told = told.changed().boxed();
            let news = async {
                match tells {
                    true => news.changed().await,
                    false => pending().await,
                }
            };
            match select(told, news.boxed()).await {
                Either::Left((heard, _)) | Either::Right((heard, _)) => {
                    heard.expect("the senders live in `self`");
                }
            }
        }
        .boxed()
    }

    fn is_shared(&self) -> bool {
        self.view.is_shared()
    }
}

impl Default for GatedStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for GatedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatedStore")
            .field("version", &self.record().as_ref().map(Record::version))
            .field("loads", &self.calls(StoreCalls::Loads))
            .field("saves", &self.calls(StoreCalls::Saves))
            .field("renewals", &self.calls(StoreCalls::Renewals))
            .finish_non_exhaustive()
    }
}
