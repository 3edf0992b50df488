use std::{fmt, sync::Arc, time::Duration};

use tokio::runtime::Handle;
use tower_service::Service;

use super::{
    Session,
    backend::Single,
    cell::Cell,
    config::Config,
    endpoint::Endpoint,
    options::option_setters,
    scheme::AuthScheme,
    sender::EventSender,
    state::{Beginning, Now, State},
    unique::{next_session, unique},
};
use crate::{
    endpoint::{RefreshRequest, RevokeRequest, TokenResponse},
    error::BoxError,
    origin::Origin,
    store::TokenStore,
    token::Tokens,
};

/// Builds a [`Session`].
#[must_use = "a builder does nothing before `build`"]
pub struct SessionBuilder {
    pub(super) endpoint: Endpoint<RefreshRequest, TokenResponse>,
    pub(super) revocation: Option<Endpoint<RevokeRequest, ()>>,
    pub(super) initial_tokens: Tokens,
    pub(super) store: Option<Arc<dyn TokenStore>>,
    pub(super) runtime: Option<Handle>,
    pub(super) name: Option<String>,
    pub(super) config: Config,
}

impl SessionBuilder {
    pub(super) fn new<E>(endpoint: E) -> Self
    where
        E: Service<RefreshRequest, Response = TokenResponse> + Clone + Send + 'static,
        E::Error: Into<BoxError>,
        E::Future: Send + 'static,
    {
        Self {
            endpoint: Endpoint::new(endpoint),
            revocation: None,
            initial_tokens: Tokens::default(),
            store: None,
            runtime: None,
            name: None,
            config: Config::default(),
        }
    }

    /// The session. This cannot fail, starts nothing and needs no runtime.
    pub fn build(self) -> Session {
        let Self { endpoint, revocation, initial_tokens, store, runtime, name, config } = self;
        let config = config.bounded();
        let beginning = Beginning {
            session: next_session(),
            initial_tokens,
            is_stored: store.is_some(),
            is_shared: store.as_ref().is_some_and(|store| store.is_shared()),
            keep_fresh: config.keep_fresh,
            is_swept: false,
            asks: false,
        };
        let state = State::new(beginning, &config, &Now::read());
        let backend = Single {
            config,
            // Two of one name would both have the lease.
            owner: unique(),
            store,
            endpoint,
            revocation,
            runtime,
            events: EventSender::new(name.clone()),
            name,
        };
        let cell: Arc<Cell> = Arc::new(Cell::new(state, backend));
        Session { cell }
    }

    /// The tokens that an empty store starts with. If there is a [`store`](Self::store) and it holds
    /// anything, that wins: newer tokens, or a log-out. After a log-out new tokens come by
    /// [`Session::set_tokens`] alone.
    ///
    /// Defaults to none, which is right for a grant that needs none (`client_credentials`).
    pub fn initial_tokens(mut self, tokens: Tokens) -> Self {
        self.initial_tokens = tokens;
        self
    }

    /// Where tokens outlive the process. Sessions of one process that share a store take an `Arc`
    /// of it each.
    ///
    /// Defaults to the memory of this session alone.
    pub fn store(mut self, store: impl TokenStore) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// The runtime that refreshes run on. A program that has several, or that drives one only now
    /// and then (`block_on` for each call), names one here that is always driven: a refresh stands
    /// still with the runtime that it was started on.
    ///
    /// With it the methods of a session work outside a runtime too. Without it those that have to
    /// wait are an error there, [`ErrorKind::NoRuntime`](crate::ErrorKind::NoRuntime), that changes
    /// nothing.
    ///
    /// Defaults to that of the caller that needs a token.
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Where [`log_out`](Session::log_out) has the refresh token revoked, as
    /// [`OAuth2Revocation`](crate::endpoint::OAuth2Revocation) does. Each log-out works on a clone of
    /// it.
    ///
    /// Defaults to nowhere.
    pub fn revocation<E>(mut self, endpoint: E) -> Self
    where
        E: Service<RevokeRequest, Response = ()> + Clone + Send + 'static,
        E::Error: Into<BoxError>,
        E::Future: Send + 'static,
    {
        self.revocation = Some(Endpoint::new(endpoint));
        self
    }

    /// What operators know the session by, in logs, metrics and errors. It is no secret.
    ///
    /// Defaults to `default`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    option_setters!();
}

impl fmt::Debug for SessionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionBuilder")
            .field("initial_tokens", &self.initial_tokens)
            .field("store", &self.store)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
