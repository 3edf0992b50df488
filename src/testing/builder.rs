use std::{fmt, io, net::Ipv4Addr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::watch};

use super::{
    AuthServer, Dialect, Issuer,
    ledger::Policy,
    server,
    shared::{Settings, Shared},
};

/// Sets an [`AuthServer`] up.
#[derive(Clone, Default)]
#[must_use = "nothing runs before `start`"]
pub struct AuthServerBuilder {
    policy: Policy,
    settings: Settings,
}

impl AuthServer {
    /// Starts a server with the defaults of the [builder](Self::builder).
    ///
    /// # Errors
    ///
    /// If no loopback port can be had.
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// Sets a server up.
    pub fn builder() -> AuthServerBuilder {
        AuthServerBuilder::default()
    }
}

impl AuthServerBuilder {
    /// How long an access token lives, fractions of a second included: the API has no leeway.
    /// Defaults to an hour.
    pub fn access_life(mut self, life: Duration) -> Self {
        self.policy.access_life = life;
        self
    }

    /// How long a refresh token lives; rotation starts the time anew. Defaults to for ever.
    pub fn refresh_life(mut self, life: Duration) -> Self {
        self.policy.refresh_life = Some(life);
        self
    }

    /// Whether a refresh spends the refresh token and answers with its successor. Presenting a
    /// spent one again revokes the whole family (RFC 9700 §4.14.2). Defaults to `false`.
    pub fn rotate(mut self, rotate: bool) -> Self {
        self.policy.rotate = rotate;
        self
    }

    /// How long the refresh token used last is still answered with the successor that it obtained.
    /// Defaults to zero: strict.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.policy.grace = grace;
        self
    }

    /// Whether access tokens are opaque instead of JWTs. Defaults to `false`.
    pub fn opaque(mut self, opaque: bool) -> Self {
        self.policy.opaque = opaque;
        self
    }

    /// Whether an access token dies the moment its family gets a new one. Defaults to `false`.
    pub fn one_access_token(mut self, only_one: bool) -> Self {
        self.policy.one_access_token = only_one;
        self
    }

    /// Whether the OAuth 2.0 endpoint says `expires_in`. Defaults to `true`.
    pub fn expires_in(mut self, send: bool) -> Self {
        self.settings.send_expires_in = send;
        self
    }

    /// The scope that is granted, space-separated. Defaults to `read write`.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.policy.scope = scope.into();
        self
    }

    /// Asks for this client at the OAuth 2.0 endpoints, by `client_secret_basic` or
    /// `client_secret_post`. Defaults to any client, with any secret or none.
    pub fn client(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.settings.client = Some((id.into(), Some(secret.into())));
        self
    }

    /// Asks for this public client at the OAuth 2.0 endpoints: its `client_id` and no secret.
    /// Defaults to any client.
    pub fn public_client(mut self, id: impl Into<String>) -> Self {
        self.settings.client = Some((id.into(), None));
        self
    }

    /// Sets the server's clock ahead: the `iat` and `exp` of its JWTs and its `Date`. Defaults to
    /// the right time.
    pub fn clock_ahead(mut self, by: Duration) -> Self {
        self.policy.clock = (by, Duration::ZERO);
        self
    }

    /// Sets the server's clock behind, like [`clock_ahead`](Self::clock_ahead).
    pub fn clock_behind(mut self, by: Duration) -> Self {
        self.policy.clock = (Duration::ZERO, by);
        self
    }

    /// Whether the API refuses a request as soon as it has its head. If not, it reads the body
    /// first. Defaults to `false`.
    pub fn refuse_early(mut self, early: bool) -> Self {
        self.settings.refuse_early = early;
        self
    }

    /// How the token endpoints put what they have to say, over HTTP/1. Defaults to their protocols'
    /// own words.
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.settings.dialect = Some(dialect);
        self
    }

    /// Starts the server on a free loopback port.
    ///
    /// # Errors
    ///
    /// If no port can be had.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime with I/O and time enabled.
    pub async fn start(self) -> io::Result<AuthServer> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared::new(self.policy, self.settings, Issuer::random()));
        let (stop, stopped) = watch::channel(false);
        server::run(listener, shared.clone(), stopped);
        Ok(AuthServer::new(shared, url, stop))
    }
}

impl fmt::Debug for AuthServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The settings hold the client's secret.
        f.debug_struct("AuthServerBuilder").field("policy", &self.policy).finish_non_exhaustive()
    }
}
