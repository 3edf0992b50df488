//! What all clones of a session share.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use tokio::{runtime::Handle, sync::Notify, time::timeout};
use tower::util::BoxService;

use super::{
    config::Config,
    failure::Failure,
    flight::{self, Takeoff},
    log_out::Revocation,
    snapshot::Snapshot,
    state::{After, State},
    timer::Timer,
    waiting::Flight,
};
use crate::{
    endpoint::{FailureClass, RefreshRequest, TokenResponse},
    error::{BoxError, Error, ErrorKind},
    event::{Event, EventSender},
    store::{Record, TokenStore},
};

/// A token endpoint, whatever its type was: neither `Clone` nor `Sync` is asked of it.
pub(super) type Endpoint = BoxService<RefreshRequest, TokenResponse, BoxError>;

pub(crate) struct Shared {
    /// Written under the lock of `state` and read without it.
    snapshot: ArcSwap<Snapshot>,
    state: Mutex<State>,
    /// Whoever holds this is the one refresh.
    pub(super) endpoint: tokio::sync::Mutex<Endpoint>,
    pub(super) revocation: Option<tokio::sync::Mutex<Revocation>>,
    pub(super) store: Arc<dyn TokenStore>,
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
    pub(super) fn new(
        endpoint: Endpoint,
        revocation: Option<Revocation>,
        store: Arc<dyn TokenStore>,
        state: State,
        config: Config,
        runtime: Option<Handle>,
        name: Option<String>,
    ) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(state.snapshot()),
            state: Mutex::new(state),
            endpoint: tokio::sync::Mutex::new(endpoint),
            revocation: revocation.map(tokio::sync::Mutex::new),
            store,
            owner: format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)),
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

    pub(super) fn read<R>(&self, read: impl FnOnce(&State) -> R) -> R {
        read(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One step of the session: what it changes is seen by all before the next step.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut state);
        self.snapshot.store(Arc::new(state.snapshot()));
        drop(state);
        self.changed.notify_waiters();
        result
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
            let replaces = self.read(State::stamp).generation;
            tracing::Instrument::instrument(flight, self.events.observer().span(replaces))
        };
        runtime.spawn(flight);
    }

    /// Starts the eager mode's task, if it is due.
    pub(super) fn start_timer(self: &Arc<Self>, runtime: &Handle) {
        if self.config.keep_fresh && self.change(State::claim_timer) {
            let timer = Timer { shared: Arc::downgrade(self), changed: self.changed.clone() };
            runtime.spawn(timer.run());
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
            FailureClass::Grant => After::LoginRequired,
            FailureClass::Rejected => After::Rejected,
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

    /// Reads the store. An encrypted record is an error: it says nothing, not even that there are
    /// no tokens.
    pub(super) async fn load(&self) -> Result<Option<Record>, Error> {
        self.in_time(self.store.load()).await?.map(Record::opened).transpose()
    }

    /// Gives a call to the store its time-out, and its failures their kind.
    pub(super) async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T, Error> {
        // Without a runtime there is no timer. Only stores that never wait work there.
        let result = match Handle::try_current() {
            Ok(_) => match timeout(self.config.store_timeout, call).await {
                Ok(result) => result,
                Err(_elapsed) => Err("it did not answer in time".into()),
            },
            Err(_) => call.await,
        };
        result.map_err(|error| {
            Error::with_source(ErrorKind::Store, "the token store cannot be used", error)
        })
    }

    /// Whether refreshes go on while the store fails: nobody else uses the tokens, or the user
    /// has said so.
    pub(super) fn goes_alone(&self) -> bool {
        let loaded = self.read(|state| state.seed().is_none());
        self.config.refresh_without_store || (loaded && !self.store.is_shared())
    }

    pub(super) fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
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
        let stamp = self.read(State::stamp);
        f.debug_struct("Session")
            .field("epoch", &stamp.epoch)
            .field("generation", &stamp.generation)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
