//! What all clones of a session share.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use tokio::{runtime::Handle, sync::Notify};

use super::{
    builder::SessionBuilder,
    config::Config,
    endpoint::Endpoint,
    failure::Failure,
    flight::{self, Takeoff},
    save,
    snapshot::Snapshot,
    state::{After, State},
    tasks::Started,
    timer,
    unique::unique,
    waiting::Flight,
    watch,
};
use crate::{
    endpoint::{FailureClass, RefreshRequest, RevokeRequest, TokenResponse},
    event::{Event, EventSender},
    store::{MemoryStore, Record, TokenStore},
};

pub(crate) struct Shared {
    /// Written under the lock of `state` and read without it.
    snapshot: ArcSwap<Snapshot>,
    /// Counts the snapshots.
    version: AtomicU64,
    state: Mutex<State>,
    pub(super) endpoint: Endpoint<RefreshRequest, TokenResponse>,
    /// Its holder is the one refresh.
    pub(super) turn: tokio::sync::Mutex<()>,
    pub(super) revocation: Option<Endpoint<RevokeRequest, ()>>,
    pub(super) store: Arc<dyn TokenStore>,
    /// Whether others may refresh what is in the store.
    pub(super) is_shared: bool,
    /// Whoever holds this brings the store up to what memory holds, or both up to something newer.
    pub(super) writing: tokio::sync::Mutex<()>,
    /// Names this session among those that share a store.
    pub(super) owner: String,
    pub(super) config: Config,
    pub(super) events: EventSender,
    runtime: Option<Handle>,
    /// Told of every change of `state` and of every task that ends.
    changed: Arc<Notify>,
    tasks: AtomicUsize,
}

impl Shared {
    pub(super) fn new(builder: SessionBuilder) -> Self {
        let SessionBuilder { endpoint, revocation, initial_tokens, store, runtime, name, config } =
            builder;
        let config = config.bounded();
        // A store of our own is empty for certain: nothing has to be asked before the first
        // request.
        let ask_store = store.is_some();
        let store = store.unwrap_or_else(|| Arc::new(MemoryStore::new()));
        let is_shared = ask_store && store.is_shared();
        static SESSIONS: AtomicU64 = AtomicU64::new(0);
        let session = SESSIONS.fetch_add(1, Ordering::Relaxed);
        let state = State::new(session, initial_tokens, ask_store, is_shared, &config);
        Self {
            snapshot: ArcSwap::from_pointee(state.snapshot()),
            version: AtomicU64::new(0),
            state: Mutex::new(state),
            endpoint,
            turn: tokio::sync::Mutex::new(()),
            revocation,
            store,
            is_shared,
            writing: tokio::sync::Mutex::new(()),
            // Two of one name would both have the lease.
            owner: unique(),
            config,
            events: EventSender::new(name),
            runtime,
            changed: Arc::default(),
            tasks: AtomicUsize::new(0),
        }
    }

    /// What the hot path reads, without a lock.
    pub(super) fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    #[inline]
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(super) fn read<R>(&self, read: impl FnOnce(&State) -> R) -> R {
        read(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One step of the session: what it changes is seen by all before the next step.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut state);
        self.snapshot.store(Arc::new(state.snapshot()));
        self.version.fetch_add(1, Ordering::Release);
        drop(state);
        self.changed.notify_waiters();
        result
    }

    /// Remembers what goes along with the tokens in the store. Nobody sees this, so there is no new
    /// snapshot.
    pub(super) fn carry(&self, stored: &Record) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).carry(stored);
    }

    /// Waits until the session is in a state that satisfies `condition`.
    pub(super) async fn wait_until(&self, condition: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.changed.notified();
            if condition(self) {
                return;
            }
            changed.await;
        }
    }

    /// The runtime that tasks are started on: the one that was set, or the caller's.
    pub(super) fn runtime(&self) -> Option<Handle> {
        self.runtime.clone().or_else(|| Handle::try_current().ok())
    }

    /// Starts the task of a flight that is in the slot by now.
    pub(super) fn launch(self: &Arc<Self>, flight: Arc<Flight>, runtime: &Handle) {
        self.task_started();
        let takeoff = Takeoff { shared: self.clone(), flight };
        let flight = flight::fly(takeoff);
        #[cfg(feature = "tracing")]
        let flight = {
            let replaces = self.read(State::id).generation;
            tracing::Instrument::instrument(flight, self.events.observer().span(replaces))
        };
        runtime.spawn(flight);
    }

    /// Starts the tasks that are due, for the first time or because they ended with their runtime:
    /// the one that saves, and those that run for as long as the session is used.
    pub(super) fn start_tasks(self: &Arc<Self>, runtime: &Handle) {
        // Nothing changes while there is nothing to start, so this costs a read.
        if !self.read(State::has_tasks_due) {
            return;
        }
        save::spawn(self);
        if !self.change(State::claim_tasks) {
            return;
        }
        let started = Arc::new(Started { shared: Arc::downgrade(self) });
        if self.config.keep_fresh {
            runtime.spawn(timer::run(started.clone(), self.changed.clone()));
        }
        if self.is_shared {
            runtime.spawn(watch::run(started, self.store.clone()));
        }
    }

    /// Starts a refresh that nobody waits for, if one is due.
    pub(super) fn refresh_ahead(self: &Arc<Self>, runtime: &Handle) {
        if let Some(flight) = self.change(State::refresh_ahead) {
            self.launch(flight, runtime);
        }
    }

    /// Ends a flight that brought no token.
    pub(super) fn fail(&self, flight: &Arc<Flight>, failure: Failure) {
        let Failure { class, error, retry_after, rotation_lost, .. } = failure;
        let after = match class {
            FailureClass::InvalidGrant => After::LoginRequired,
            FailureClass::Misconfigured => After::Misconfigured,
            FailureClass::Transient => After::Transient { retry_after },
        };
        let ours = self.change(|state| {
            let ours = state.is_flying(flight);
            if ours {
                state.fail(flight, error.clone(), after, &self.config);
            }
            ours
        });
        if ours && rotation_lost {
            self.events.send(Event::RotationLost);
        }
        if ours {
            self.events.send(Event::RefreshFailed { error });
        }
    }

    pub(super) fn task_started(&self) {
        self.tasks.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn task_ended(&self) {
        self.tasks.fetch_sub(1, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    pub(super) fn is_idle(&self) -> bool {
        self.tasks.load(Ordering::Acquire) == 0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The timer holds no reference: it looks whether we are gone.
        self.changed.notify_waiters();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.read(State::id);
        f.debug_struct("Session")
            .field("login", &id.login)
            .field("generation", &id.generation)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
