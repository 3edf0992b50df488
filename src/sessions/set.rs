//! What all sessions of a set share.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::Uri;
use tokio::{
    runtime::Handle,
    sync::{Notify, broadcast},
};

use super::events::{KEPT, SetEvent, SetEvents};
use crate::{
    error::BoxError,
    session::{Config, Membership, Observer, Revocation, TokenEndpoint},
    store::KeyedStore,
    token::Tokens,
};

pub(super) type EndpointOf<K> = Box<dyn Fn(&K) -> TokenEndpoint + Send + Sync>;
pub(super) type RevocationOf<K> = Box<dyn Fn(&K) -> Revocation + Send + Sync>;
pub(super) type InitialTokens<K> =
    Box<dyn Fn(K) -> BoxFuture<'static, Result<Option<Tokens>, BoxError>> + Send + Sync>;
pub(super) type Reaches<K> = Box<dyn Fn(&K, &Uri) -> bool + Send + Sync>;

pub(super) struct Set<K> {
    pub(super) config: Config,
    /// One per set, as a key has one session in it.
    pub(super) owner: String,
    pub(super) store: Option<Arc<dyn KeyedStore<K>>>,
    pub(super) endpoint: EndpointOf<K>,
    pub(super) login: Option<EndpointOf<K>>,
    pub(super) revocation: Option<RevocationOf<K>>,
    pub(super) initial_tokens: Option<InitialTokens<K>>,
    pub(super) reaches: Option<Reaches<K>>,
    pub(super) runtime: Option<Handle>,
    pub(super) capacity: usize,
    pub(super) idle: Duration,
    /// How many refreshes may run at a time that no caller waits for.
    pub(super) background: usize,
    pub(super) name: Option<String>,
    pub(super) observer: Observer,
    /// Made for the first reader.
    pub(super) events: OnceLock<broadcast::Sender<SetEvent<K>>>,
    pub(super) closed: AtomicBool,
    pub(super) sweeping: AtomicBool,
    /// Told when the last clone of the set is gone.
    pub(super) gone: Notify,
    /// Seconds, as the sweep last saw them: to mark a session as used costs no look at a clock.
    pub(super) clock: AtomicU32,
    pub(super) refreshing: AtomicUsize,
    pub(super) unsaved: AtomicUsize,
}

impl<K: 'static> Set<K> {
    pub(super) fn is_stored(&self) -> bool {
        self.store.is_some()
    }

    pub(super) fn is_shared(&self) -> bool {
        self.store.as_ref().is_some_and(|store| store.is_shared())
    }

    pub(super) fn membership(&self) -> Membership {
        Membership {
            is_stored: self.is_stored(),
            is_shared: self.is_shared(),
            has_login: self.login.is_some(),
            asks: self.initial_tokens.is_some(),
        }
    }

    pub(super) fn now(&self) -> u32 {
        self.clock.load(Ordering::Relaxed)
    }
}

impl<K: Clone + Send + Sync + 'static> Set<K> {
    pub(super) fn events(&self) -> SetEvents<K> {
        SetEvents::new(self.events.get_or_init(|| broadcast::Sender::new(KEPT)).subscribe())
    }
}

impl<K> fmt::Debug for Set<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Set").field("config", &self.config).finish_non_exhaustive()
    }
}
