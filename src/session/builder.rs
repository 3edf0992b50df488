use std::{
    any::Any,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::runtime::Handle;
use tower_service::Service;

use super::{
    Session,
    backend::Single,
    cell::Cell,
    config::Config,
    endpoint::Endpoint,
    scheme::AuthScheme,
    sender::EventSender,
    state::{Beginning, Identity, Now, State},
    unique::unique,
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
        // Counts them: a token is of one session of this process.
        static SESSIONS: AtomicU64 = AtomicU64::new(0);

        let Self { endpoint, login, revocation, initial_tokens, store, runtime, name, .. } = self;
        let config = self.config.bounded();
        let ours = match (self.issuer, self.known) {
            (Some(named), Some(known)) => Some(named.or(&known)),
            (named, known) => named.or(known),
        };
        let identity = ours.map(|ours| Arc::new(Identity::new(ours, self.formerly)));
        let beginning = Beginning {
            session: SESSIONS.fetch_add(1, Ordering::Relaxed),
            initial_tokens,
            is_stored: store.is_some(),
            is_shared: store.as_ref().is_some_and(|store| store.is_shared()),
            has_login: login.is_some(),
            keep_fresh: config.keep_fresh,
            identity: identity.clone(),
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
            login,
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

    /// What stands before the token in the header: `"token".parse()?`, or [`AuthScheme::NONE`] for
    /// the bare token.
    ///
    /// Defaults to [`AuthScheme::BEARER`].
    pub fn scheme(mut self, scheme: AuthScheme) -> Self {
        self.config.scheme = scheme;
        self
    }

    /// The origins that the session's tokens are for. Whatever layer or middleware a request to
    /// another origin goes through, it is an [error](crate::ErrorKind::WrongOrigin) that names
    /// both, and nothing is sent.
    ///
    /// It is for programs with several identities, whose hosts differ or whose requests could be
    /// mixed up. A layer's [`only_for`](crate::RefreshLayer::only_for) comes first: what it leaves
    /// alone goes out without a token and is no error.
    ///
    /// ```
    /// # fn doc(endpoint: tower_refresh::endpoint::JsonEndpoint) -> Result<(), tower_refresh::Error> {
    /// use tower_refresh::Session;
    ///
    /// let session = Session::builder(endpoint)
    ///     .origins(["https://acme.example.com".parse()?])
    ///     .build();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// It does not bind what takes a token from [`Session::token`], nor a client below a layer that
    /// follows redirects: such a client takes `Authorization` off on the way to another host, and
    /// leaves a [header of your own](crate::RefreshLayer::header) in place.
    ///
    /// Defaults to all origins. An empty list permits none.
    pub fn origins(mut self, origins: impl IntoIterator<Item = Origin>) -> Self {
        self.config.origins = Some(origins.into_iter().collect());
        self
    }

    /// How long callers wait for one call to the endpoint, from when the endpoint is ready. It ends
    /// the call too, unless the call may use up the refresh token: then it goes on, for at most
    /// [`call_limit`](Self::call_limit), as to present the token again could cost the login.
    ///
    /// Use this in place of a `Timeout` layer around the endpoint, which would drop the answer.
    ///
    /// Defaults to 10 s.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.config.attempt_timeout = timeout;
        self
    }

    /// How long a call that may use up the refresh token takes at most, although its callers give up
    /// after [`attempt_timeout`](Self::attempt_timeout). No other call starts before it has ended,
    /// and its tokens are used whenever they come. If the server's last answer kept the refresh
    /// token, `attempt_timeout` ends the call.
    ///
    /// Defaults to 60 s, and is at least `attempt_timeout`.
    pub fn call_limit(mut self, limit: Duration) -> Self {
        self.config.call_limit = limit;
        self
    }

    /// How many calls one refresh makes at most while they fail transiently; at least one.
    ///
    /// Defaults to 3.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.config.attempts = attempts.max(1);
        self
    }

    /// The delay before the second attempt and the longest before any: it doubles from one to the
    /// other, and of each a random part is taken (full jitter).
    ///
    /// Defaults to 200 ms and 5 s.
    pub fn backoff(mut self, first: Duration, most: Duration) -> Self {
        self.config.backoff = (first, most);
        self
    }

    /// The pause after the first failed refresh and the longest after any: it doubles from one to
    /// the other with each failure in a row, and of each a random part is taken. While it lasts no
    /// call is made, and callers that need a token get the last error. After a fault of
    /// configuration it is 30 s doubling to 5 min instead.
    ///
    /// Defaults to 1 s and 30 s.
    pub fn pause(mut self, first: Duration, most: Duration) -> Self {
        self.config.pause = (first, most);
        self
    }

    /// How long a caller waits for a token at most. The refresh goes on without it.
    ///
    /// Defaults to 30 s.
    pub fn wait_limit(mut self, limit: Duration) -> Self {
        self.config.wait_limit = limit;
        self
    }

    /// How long one call to the store may take.
    ///
    /// Defaults to 2 s.
    pub fn store_timeout(mut self, timeout: Duration) -> Self {
        self.config.store_timeout = timeout;
        self
    }

    /// How many refreshes refusals may cause within how long that do not cure them: it bounds what an
    /// API costs that refuses every token. Past it a refusal goes to the caller. See
    /// [the guide](crate::guide::operations#tokens-are-refused) for what counts.
    ///
    /// Defaults to 3 in 30 s.
    pub fn refusal_limit(mut self, refreshes: u32, window: Duration) -> Self {
        self.config.refusals = (refreshes, window);
        self
    }

    /// How long before a token expires the next one is fetched, while requests go on with the old
    /// one; at most a fifth of its life. A random part of up to one half is taken off, once per
    /// token.
    ///
    /// Zero starts no refresh ahead. That is the mode for processes that are frozen between requests
    /// (serverless): there a refresh in the background would stop half-way.
    ///
    /// Defaults to 60 s.
    pub fn refresh_ahead(mut self, ahead: Duration) -> Self {
        self.config.refresh_ahead = ahead;
        self
    }

    /// How long before it expires a token is no longer sent; at most a twentieth of its life.
    ///
    /// Defaults to 10 s.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.config.leeway = leeway;
        self
    }

    /// How much time lies at least between two refreshes, so that a server which issues expired
    /// tokens causes no loop. A caller that needs a token sooner waits, also if the one in use was
    /// refused: keep it short beside [`wait_limit`](Self::wait_limit).
    ///
    /// Defaults to 1 s.
    pub fn min_interval(mut self, interval: Duration) -> Self {
        self.config.min_interval = interval;
        self
    }

    /// The life of the lease that a process writes into the record before it calls the endpoint, if
    /// it shares the [`store`](Self::store) with others. It renews the lease until the refresh has
    /// ended. If it dies, the others take over after one such life. They wait for as long after an
    /// outage of the store, and after one of them has put lost tokens back.
    ///
    /// A session that is used looks at a shared store every 30 to 50 % of it.
    ///
    /// Defaults to 5 s, and is at least 100 ms and at most 60 s.
    pub fn lease(mut self, life: Duration) -> Self {
        self.config.lease = life;
        self
    }

    /// Whether the token is refreshed although no request comes, so that no request waits for one.
    ///
    /// It begins with the first use of the session, as [`build`](Self::build) starts nothing. To
    /// spare the first request its wait too, call [`Session::ready`] when the program starts. It ends
    /// when the session is closed or its last clone is dropped.
    ///
    /// Defaults to `false`.
    pub fn keep_fresh(mut self, eager: bool) -> Self {
        self.config.keep_fresh = eager;
        self
    }

    /// Whether an expired token is refreshed although the store cannot be reached. With a store
    /// that processes share, two of them may then use one refresh token, which logs the user out at
    /// a server that rotates them.
    ///
    /// Defaults to `false`.
    pub fn refresh_without_store(mut self, alone: bool) -> Self {
        self.config.refresh_without_store = alone;
        self
    }
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
