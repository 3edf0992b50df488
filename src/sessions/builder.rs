use std::{
    fmt,
    future::Future,
    hash::Hash,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicUsize},
    },
    time::Duration,
};

use futures_util::future::FutureExt;
use http::Uri;
use tokio::{runtime::Handle, sync::Notify};
use tower_service::Service;

use super::{
    Inner, Sessions,
    residents::Residents,
    set::{EndpointOf, InitialTokens, Reaches, RevocationOf, Set},
};
use crate::{
    endpoint::{RefreshRequest, RevokeRequest, TokenResponse},
    error::BoxError,
    origin::Origin,
    session::{AuthScheme, Config, Observer, boxed_endpoint, option_setters, unique},
    store::KeyedStore,
    token::Tokens,
};

/// Builds [`Sessions`]. The options of a [`SessionBuilder`](crate::SessionBuilder) are here too, and
/// count for each session of the set: another policy is another set.
#[must_use = "a builder does nothing before `build`"]
pub struct SessionsBuilder<K> {
    endpoint: EndpointOf<K>,
    login: Option<EndpointOf<K>>,
    revocation: Option<RevocationOf<K>>,
    initial_tokens: Option<InitialTokens<K>>,
    store: Option<Arc<dyn KeyedStore<K>>>,
    reaches: Option<Reaches<K>>,
    runtime: Option<Handle>,
    name: Option<String>,
    capacity: usize,
    idle: Duration,
    background: usize,
    config: Config,
}

/// How old a session's last look at its store may be when it is used: where the store tells of
/// changes, and where it does not.
const LOOK_AFTER: (Duration, Duration) = (Duration::from_secs(5 * 60), Duration::from_secs(30));

impl<K: Eq + Hash + Clone + Send + Sync + 'static> SessionsBuilder<K> {
    pub(super) fn new<F, E>(endpoint: F) -> Self
    where
        F: Fn(&K) -> E + Send + Sync + 'static,
        E: Service<RefreshRequest, Response = TokenResponse> + Clone + Send + 'static,
        E::Error: Into<BoxError>,
        E::Future: Send + 'static,
    {
        Self {
            endpoint: Box::new(move |key| boxed_endpoint(endpoint(key))),
            login: None,
            revocation: None,
            initial_tokens: None,
            store: None,
            reaches: None,
            runtime: None,
            name: None,
            capacity: 100_000,
            idle: Duration::from_secs(30 * 60),
            background: 16,
            config: Config::default(),
        }
    }

    /// The set. This cannot fail, starts nothing and needs no runtime.
    pub fn build(self) -> Sessions<K> {
        let mut config = self.config.bounded();
        let tells = self.store.as_ref().is_some_and(|store| store.changes().is_some());
        config.look_after = Some(if tells { LOOK_AFTER.0 } else { LOOK_AFTER.1 });
        if self.reaches.is_some() {
            // Those beside these are asked for.
            config.origins.get_or_insert_default();
        }
        let set = Arc::new(Set {
            config,
            owner: unique(),
            store: self.store,
            endpoint: self.endpoint,
            login: self.login,
            revocation: self.revocation,
            initial_tokens: self.initial_tokens,
            reaches: self.reaches,
            runtime: self.runtime,
            capacity: self.capacity,
            idle: self.idle.max(Duration::from_secs(1)),
            background: self.background.max(1),
            observer: Observer::new(self.name.clone()),
            name: self.name,
            events: OnceLock::new(),
            closed: AtomicBool::new(false),
            sweeping: AtomicBool::new(false),
            gone: Notify::new(),
            clock: AtomicU32::new(0),
            refreshing: AtomicUsize::new(0),
            unsaved: AtomicUsize::new(0),
        });
        Sessions { inner: Arc::new(Inner { residents: Residents::new(set.clone()), set }) }
    }

    /// What gives the first tokens of a key of which the store holds nothing: a column of your
    /// database. It is the first step of a refresh, so that callers who come at once ask once, and
    /// one who goes away does not stop it. `Ok(None)` says that the user has to log in: callers get
    /// [`ErrorKind::LoginRequired`](crate::ErrorKind::LoginRequired), and it is asked again after
    /// 5 s. `set_tokens` counts at once.
    ///
    /// It has [`attempt_timeout`](Self::attempt_timeout) to answer. An error of it is one of
    /// [`ErrorKind::Store`](crate::ErrorKind::Store), with the usual pause.
    ///
    /// ```
    /// # use tower_refresh::{BoxError, Sessions, Tokens, testing::GatedEndpoint};
    /// # #[derive(Clone)] struct Database;
    /// # impl Database {
    /// #     async fn refresh_token(&self, _: u64) -> std::io::Result<Option<String>> { Ok(None) }
    /// # }
    /// # fn doc(endpoint: GatedEndpoint, database: Database) {
    /// let sessions = Sessions::builder(move |_user: &u64| endpoint.clone())
    ///     .initial_tokens(move |user| {
    ///         let database = database.clone();
    ///         async move {
    ///             let Some(token) = database.refresh_token(user).await? else { return Ok(None) };
    ///             Ok(Some(Tokens::from_refresh_token(token)?))
    ///         }
    ///     })
    ///     .build();
    /// # }
    /// ```
    ///
    /// Defaults to none.
    pub fn initial_tokens<F, Fut>(mut self, tokens: F) -> Self
    where
        F: Fn(K) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<Tokens>, BoxError>> + Send + 'static,
    {
        self.initial_tokens = Some(Box::new(move |key| tokens(key).boxed()));
        self
    }

    /// Where tokens outlive the process and the time that their session is in memory. Sets of
    /// several processes that share it are a fleet.
    ///
    /// A session that is used looks there when its last look is 30 s old, or 5 minutes if the store
    /// [tells of changes](KeyedStore::changes); of these it hears at its next use.
    ///
    /// Defaults to the memory of the set alone.
    pub fn store(mut self, store: impl KeyedStore<K>) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Where a new login of a key is made when its refresh token is refused for good, or where there
    /// is none; see [`SessionBuilder::login_with`](crate::SessionBuilder::login_with).
    ///
    /// Defaults to none: a user has to log in.
    pub fn login_with<F, E>(mut self, endpoint: F) -> Self
    where
        F: Fn(&K) -> E + Send + Sync + 'static,
        E: Service<RefreshRequest, Response = TokenResponse> + Clone + Send + 'static,
        E::Error: Into<BoxError>,
        E::Future: Send + 'static,
    {
        self.login = Some(Box::new(move |key| boxed_endpoint(endpoint(key))));
        self
    }

    /// Where [`log_out`](crate::Session::log_out) has a refresh token revoked; see
    /// [`SessionBuilder::revocation`](crate::SessionBuilder::revocation).
    ///
    /// Defaults to nowhere.
    pub fn revocation<F, E>(mut self, endpoint: F) -> Self
    where
        F: Fn(&K) -> E + Send + Sync + 'static,
        E: Service<RevokeRequest, Response = ()> + Clone + Send + 'static,
        E::Error: Into<BoxError>,
        E::Future: Send + 'static,
    {
        self.revocation = Some(Box::new(move |key| boxed_endpoint(endpoint(key))));
        self
    }

    /// Which other origins the tokens of a key are for, beside those that [`origins`](Self::origins)
    /// names: for tenants with hosts of their own. It is called for each request, with the key and
    /// the request's URI. Let it compare scheme, host and port.
    ///
    /// ```
    /// # use tower_refresh::{Sessions, testing::GatedEndpoint};
    /// # fn doc(endpoint: GatedEndpoint) {
    /// let sessions = Sessions::builder(move |_tenant: &String| endpoint.clone())
    ///     .origins_where(|tenant, uri| {
    ///         let host = uri.host().and_then(|host| host.strip_suffix(".example.com"));
    ///         uri.scheme_str() == Some("https") && uri.port().is_none() && host == Some(tenant)
    ///     })
    ///     .build();
    /// # }
    /// ```
    ///
    /// Defaults to none, and if neither is set to all origins.
    pub fn origins_where<F>(mut self, reaches: F) -> Self
    where
        F: Fn(&K, &Uri) -> bool + Send + Sync + 'static,
    {
        self.reaches = Some(Box::new(reaches));
        self
    }

    /// The runtime that the tasks of the set run on; see
    /// [`SessionBuilder::runtime`](crate::SessionBuilder::runtime).
    ///
    /// Defaults to that of the caller that needs a token.
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// What operators know the set by, in logs and metrics. No user and no key is in them.
    ///
    /// Defaults to `default`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How many sessions are kept in memory. More are kept only while they are held, or would lose
    /// something. It is a bound and no reservation.
    ///
    /// One that is too small costs a load of the store for each session that comes again, and
    /// without a store a refresh.
    ///
    /// Defaults to 100,000.
    pub fn capacity(mut self, sessions: usize) -> Self {
        self.capacity = sessions;
        self
    }

    /// How long a session stays in memory after its last use. Without a store it stays at least
    /// until its access token has expired.
    ///
    /// Defaults to 30 minutes, and is at least 1 s.
    pub fn idle(mut self, after: Duration) -> Self {
        self.idle = after;
        self
    }

    /// How many refreshes run at a time that no caller waits for, with
    /// [`keep_fresh`](Self::keep_fresh). The others wait for the next pass, about a second later.
    ///
    /// Defaults to 16, and is at least 1.
    pub fn background(mut self, refreshes: usize) -> Self {
        self.background = refreshes;
        self
    }

    option_setters!();
}

impl<K> fmt::Debug for SessionsBuilder<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionsBuilder")
            .field("store", &self.store)
            .field("capacity", &self.capacity)
            .field("idle", &self.idle)
            .field("background", &self.background)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
