use std::{any::Any, fmt, sync::Arc, time::Duration};

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
    state::{Beginning, Identity, Now, State},
    unique::{next_session, unique},
};
use crate::{
    endpoint::{JsonEndpoint, OAuth2Endpoint, RefreshRequest, RevokeRequest, TokenResponse},
    error::BoxError,
    origin::Origin,
    store::TokenStore,
    token::{IssuedFor, Tokens},
};

/// Builds a [`Session`].
#[must_use = "a builder does nothing before `build`"]
pub struct SessionBuilder {
    pub(super) endpoint: Endpoint<RefreshRequest, TokenResponse>,
    pub(super) login: Option<Endpoint<RefreshRequest, TokenResponse>>,
    /// What the endpoint says of itself, if it is a ready-made one without layers.
    pub(super) known: Option<IssuedFor>,
    pub(super) issuer: Option<IssuedFor>,
    pub(super) formerly: Vec<IssuedFor>,
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
            known: issued_for(&endpoint),
            issuer: None,
            formerly: Vec::new(),
            endpoint: Endpoint::new(endpoint),
            login: None,
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
        let Self { endpoint, login, revocation, initial_tokens, store, runtime, name, .. } = self;
        let config = self.config.bounded();
        let ours = match (self.issuer, self.known) {
            (Some(named), Some(known)) => Some(named.or(&known)),
            (named, known) => named.or(known),
        };
        let identity = ours.map(|ours| Arc::new(Identity::new(ours, self.formerly)));
        let beginning = Beginning {
            session: next_session(),
            initial_tokens,
            is_stored: store.is_some(),
            is_shared: store.as_ref().is_some_and(|store| store.is_shared()),
            has_login: login.is_some(),
            keep_fresh: config.keep_fresh,
            identity: identity.clone(),
            is_swept: false,
            asks: false,
        };
        let events = EventSender::new(name.clone());
        if identity.is_none() && beginning.is_shared {
            events.observer().anonymous();
        }
        let state = State::new(beginning, &config, &Now::read());
        let backend = Single {
            config,
            // Two of one name would both have the lease.
            owner: unique(),
            store,
            identity,
            endpoint,
            login: login.map(Box::new),
            revocation,
            runtime,
            events,
            name,
        };
        let cell: Arc<Cell> = Arc::new(Cell::new(state, backend));
        Session { cell }
    }

    /// The tokens that an empty store starts with. If there is a [`store`](Self::store) and it holds
    /// anything, that wins: newer tokens, or a log-out. Once the server refuses for good what is
    /// stored, a refresh token that was not in the store before is tried in its place: a program
    /// whose grant is over is started again with a new one. After a log-out new tokens come by
    /// [`Session::set_tokens`] or [`Session::log_in`] alone.
    ///
    /// Defaults to none, which is right for a grant that needs none (`client_credentials`).
    pub fn initial_tokens(mut self, tokens: Tokens) -> Self {
        self.initial_tokens = tokens;
        self
    }

    /// Where a new login is made when the refresh token is refused for good, or where there is none:
    /// at the first start, after the end of the grant, or with a server that issues none. For a
    /// machine whose credentials the program has, such as a robot's password:
    ///
    /// ```
    /// # async fn my_login() -> Result<String, tower_refresh::BoxError> { Ok("t".into()) }
    /// # fn doc(endpoint: tower_refresh::endpoint::JsonEndpoint) {
    /// use tower_refresh::{BoxError, Session, endpoint::{RefreshRequest, TokenResponse}};
    ///
    /// let login = tower::service_fn(|_: RefreshRequest| async {
    ///     Ok::<_, BoxError>(TokenResponse::new(my_login().await?)?)
    /// });
    /// let session = Session::builder(endpoint).login_with(login).build();
    /// # }
    /// ```
    ///
    /// It is called as the token endpoint is, without a refresh token: by one caller for all, by one
    /// process for all that share the [`store`](Self::store), and its tokens are saved before they
    /// are used. What it refuses ([`EndpointError::invalid_grant`]) is the end of the grant: it is
    /// not asked again by itself, or a wrong password would lock the account. With a store that
    /// counts for all its processes, for an hour. After a log-out it is called by
    /// [`Session::log_in`] alone.
    ///
    /// Defaults to none: a user has to log in.
    ///
    /// [`EndpointError::invalid_grant`]: crate::endpoint::EndpointError::invalid_grant
    pub fn login_with<E>(mut self, endpoint: E) -> Self
    where
        E: Service<RefreshRequest, Response = TokenResponse> + Clone + Send + 'static,
        E::Error: Into<BoxError>,
        E::Future: Send + 'static,
    {
        self.login = Some(Endpoint::new(endpoint));
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

    /// Whom the tokens are issued for. It stands in the [`store`](Self::store) beside them, and a
    /// record that was issued for another is an [error](crate::ErrorKind::ForeignRecord) that names
    /// both: nothing of it is used, sent or replaced. So a file or a key that two programs were
    /// given by mistake, or staging's file in production, costs no login.
    ///
    /// A session whose endpoint is an [`OAuth2Endpoint`] or a [`JsonEndpoint`] without layers knows
    /// by itself. Inside layers it does not see whose endpoint it is. Then name it, before the
    /// layers are put around it:
    ///
    /// ```
    /// # fn doc(endpoint: tower_refresh::endpoint::OAuth2Endpoint) {
    /// use tower::{Layer, limit::ConcurrencyLimitLayer};
    /// use tower_refresh::Session;
    ///
    /// let issued_for = endpoint.issued_for();
    /// let session = Session::builder(ConcurrencyLimitLayer::new(1).layer(endpoint))
    ///     .issuer(issued_for)
    ///     .build();
    /// # }
    /// ```
    ///
    /// Without a name a stored access token is used unchecked; a ready-made endpoint inside the
    /// layers refuses a refresh token that was issued for another before it sends anything.
    ///
    /// What is requested is compared too, once, when a process first reads the store: tokens that
    /// were requested for a wider scope are used, for a narrower one they are refreshed at once, and
    /// for a different one they are another's.
    ///
    /// Defaults to what the endpoint says of itself. A bare issuer (`&str`) has the endpoint's
    /// client.
    pub fn issuer(mut self, issuer: impl Into<IssuedFor>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Accepts what was stored under an earlier name too: after the token endpoint has moved, say.
    /// The record gets the present name with its next save. It keeps the earlier one beside it, so
    /// that processes which are not updated yet go on with it.
    ///
    /// A bare issuer (`&str`) has the present client. May be repeated. Defaults to none.
    pub fn formerly(mut self, earlier: impl Into<IssuedFor>) -> Self {
        self.formerly.push(earlier.into());
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

/// What a ready-made endpoint says of itself. Any other is a stranger.
fn issued_for(endpoint: &dyn Any) -> Option<IssuedFor> {
    let oauth2 = endpoint.downcast_ref().map(OAuth2Endpoint::issued_for);
    oauth2.or_else(|| endpoint.downcast_ref().map(JsonEndpoint::issued_for))
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
