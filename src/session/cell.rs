//! What all clones of a session share: the state under one short lock, and the snapshot of it that
//! requests read without one.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::{
    backend::Backend,
    snapshot::Snapshot,
    state::{Now, State},
};
use crate::origin::Origin;

pub(crate) struct Cell<B: ?Sized = dyn Backend> {
    /// Written under the lock of `state` and read without it.
    snapshot: ArcSwap<Snapshot>,
    /// Counts the snapshots.
    version: AtomicU64,
    /// Whether the answers to requests tell anything.
    watches_routes: AtomicBool,
    state: Mutex<State>,
    /// Held by the thread that tells what has happened, so that it is told in order.
    telling: Mutex<()>,
    /// Notified of each change of `state` and of each task that ends.
    changed: Arc<Notify>,
    tasks: AtomicUsize,
    /// Where the tokens may go, as each request asks. `None` is anywhere.
    pub(super) origins: Option<Arc<[Origin]>>,
    /// Last, as it is unsized.
    pub(super) backend: B,
}

impl<B: Backend> Cell<B> {
    pub(super) fn new(state: State, backend: B) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(state.snapshot()),
            version: AtomicU64::new(0),
            watches_routes: AtomicBool::new(false),
            state: Mutex::new(state),
            telling: Mutex::new(()),
            changed: Arc::default(),
            tasks: AtomicUsize::new(0),
            origins: backend.config().origins.clone(),
            backend,
        }
    }
}

impl<B: ?Sized> Cell<B> {
    pub(super) fn read<R>(&self, read: impl FnOnce(&State) -> R) -> R {
        read(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn is_idle(&self) -> bool {
        self.tasks.load(Ordering::Acquire) == 0
    }
}

impl Cell {
    /// What a request reads, without a lock.
    pub(super) fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    #[inline]
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    #[inline]
    pub(super) fn watches_routes(&self) -> bool {
        self.watches_routes.load(Ordering::Relaxed)
    }

    /// One step of the session. What it changes is seen by all before the next step, and what
    /// happened is told before this returns, or by another thread that is telling right now.
    pub(super) fn apply<R>(&self, step: impl FnOnce(&mut State, &Now) -> R) -> R {
        self.apply_as(step).0
    }

    /// The same, with the version that it made: a later one says that something has changed since.
    pub(super) fn apply_as<R>(&self, step: impl FnOnce(&mut State, &Now) -> R) -> (R, u64) {
        let now = Now::read();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.busy();
        let result = step(&mut state, &now);
        // In the same critical section, so that no count is seen without its step.
        match state.busy() {
            same if same == before => {}
            after => self.backend.count(before, after),
        }
        self.snapshot.store(Arc::new(state.snapshot()));
        self.watches_routes.store(state.watches_routes(), Ordering::Relaxed);
        let version = self.version.fetch_add(1, Ordering::Release) + 1;
        let happened = state.has_news();
        drop(state);
        self.changed.notify_waiters();
        if happened {
            self.tell();
        }
        (result, version)
    }

    /// Invariant: no listener is called under the lock of `state`, and one that uses the session
    /// does not wait for itself.
    fn tell(&self) {
        let next = || self.state.lock().unwrap_or_else(PoisonError::into_inner).next_news();
        while self.read(State::has_news) {
            let _telling = match self.telling.try_lock() {
                Ok(telling) => telling,
                // A listener has panicked. What it was told is gone, and the next can be told.
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            while let Some(news) = next() {
                self.backend.tell(news);
            }
        }
    }

    /// Waits until the session satisfies `condition`.
    pub(super) async fn wait_until(&self, condition: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.changed.notified();
            if condition(self) {
                return;
            }
            changed.await;
        }
    }

    /// For a task that waits for a change and does not keep the session alive.
    pub(super) fn changes(&self) -> Arc<Notify> {
        self.changed.clone()
    }

    pub(super) fn task_started(&self) {
        self.tasks.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn task_ended(&self) {
        self.tasks.fetch_sub(1, Ordering::AcqRel);
        self.changed.notify_waiters();
    }
}

impl<B: ?Sized> Drop for Cell<B> {
    fn drop(&mut self) {
        // The worker holds no reference: it looks whether the session is gone.
        self.changed.notify_waiters();
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.read(State::id);
        f.debug_struct("Session")
            .field("login", &id.login)
            .field("generation", &id.generation)
            .finish_non_exhaustive()
    }
}
