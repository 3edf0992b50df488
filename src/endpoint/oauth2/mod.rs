mod client;
mod grant;
mod revocation;

use std::{
    borrow::Cow,
    fmt,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, header::AUTHORIZATION};
use http_body::Body;
use http_body_util::Full;
use tower::ServiceExt;
use tower_service::Service;

use self::grant::Grant;
pub use self::{client::OAuth2Client, revocation::OAuth2Revocation};
use super::{
    RefreshRequest, TokenResponse,
    credential::{Credential, read_again, read_all, with_files},
    dialect::{Dialect, Presented, answer_setters},
    discovery::Wanted,
    error::EndpointError,
    exchange::{Call, Exchange},
    secrets::Secrets,
    url::EndpointUrl,
};
use crate::{
    error::{BoxError, Error},
    token::{IssuedFor, RefreshToken, Secret},
};

/// An OAuth 2.0 token endpoint (RFC 6749 §3.2).
///
/// ```
/// # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_refresh::endpoint::{OAuth2Client, OAuth2Endpoint, RefreshRequest};
///
/// // A user's tokens, renewed with the refresh token:
/// let users = OAuth2Endpoint::refresh_token(
///     "https://auth.example.com/token",
///     OAuth2Client::public("my-desktop-app"),
/// )?;
///
/// // A service's own tokens, by its client secret:
/// let services = OAuth2Endpoint::client_credentials(
///     "https://auth.example.com/token",
///     OAuth2Client::basic("billing", "7Fjfp0ZBr1KtDRbnfVdmIw"),
/// )?
/// .scope("invoices:read invoices:write")
/// .resource("https://api.example.com/");
///
/// // A session calls it; this is a call by hand.
/// let answer = services.request(RefreshRequest::default()).await?;
/// # Ok(())
/// # }
/// ```
///
/// `token_type`, `scope` and whatever else the answer holds go to [`TokenResponse::extra`].
///
/// # Errors
///
/// Calls fail with an [`EndpointError`], whose [`code`](EndpointError::code) is RFC 6749's
/// `error`, with whatever status it comes:
///
/// - [`InvalidGrant`](super::FailureClass::InvalidGrant): the refresh_token grant without a refresh
///   token (nothing is sent), or `invalid_grant`;
/// - [`Misconfigured`](super::FailureClass::Misconfigured): any other permanent or unknown code, any
///   other 4xx, a redirect (none is followed), a 200 with a
///   [new refresh token](EndpointError::rotated) and no access token;
/// - [`Transient`](super::FailureClass::Transient): `temporarily_unavailable`, `server_error`,
///   `slow_down`, 408, 429, 5xx and everything else.
///
/// How long a call may take is not decided here; a session has a limit of its own.
///
/// Every clone has the same settings and a readiness of its own, and a session calls clones only.
#[derive(Clone)]
#[must_use = "a token endpoint does nothing before a session calls it"]
pub struct OAuth2Endpoint {
    exchange: Exchange,
    dialect: Dialect,
    client: OAuth2Client,
    grant: Grant,
    grant_type: Cow<'static, str>,
    scope: Option<String>,
    params: Vec<(String, Credential)>,
}

impl OAuth2Endpoint {
    /// The refresh_token grant (RFC 6749 §6): every call spends the session's refresh token.
    ///
    /// `url` is a `&str`, a `String`, a [`Uri`](http::Uri) or an [`EndpointUrl`].
    ///
    /// # Errors
    ///
    /// Those of [`EndpointUrl::parse`].
    pub fn refresh_token(
        url: impl TryInto<EndpointUrl, Error: Into<Error>>,
        client: OAuth2Client,
    ) -> Result<Self, Error> {
        Self::new(url, client, Grant::RefreshToken, "refresh_token")
    }

    /// The client_credentials grant (RFC 6749 §4.4): the client acts for itself. A refresh token
    /// is neither needed nor sent.
    ///
    /// # Errors
    ///
    /// Those of [`EndpointUrl::parse`].
    pub fn client_credentials(
        url: impl TryInto<EndpointUrl, Error: Into<Error>>,
        client: OAuth2Client,
    ) -> Result<Self, Error> {
        Self::new(url, client, Grant::ClientCredentials, "client_credentials")
    }

    /// The password grant (RFC 6749 §4.3), which RFC 9700 §2.4 says MUST NOT be used: it shows the
    /// password to the program, and knows no second factor. It is for machine users of servers that
    /// have nothing better.
    ///
    /// Each call sends the password. `invalid_grant` means that it was refused, and is an
    /// [`InvalidGrant`](super::FailureClass::InvalidGrant): a session does not send it again by
    /// itself, as servers lock accounts for that.
    ///
    /// # Errors
    ///
    /// Those of [`EndpointUrl::parse`].
    pub fn password(
        url: impl TryInto<EndpointUrl, Error: Into<Error>>,
        client: OAuth2Client,
        username: impl Into<String>,
        password: impl Into<Credential>,
    ) -> Result<Self, Error> {
        let endpoint = Self::new(url, client, Grant::Password, "password")?;
        Ok(endpoint.param("username", username.into()).param("password", password))
    }

    /// The jwt-bearer grant (RFC 7523 §2.1): the program presents an assertion that was signed
    /// elsewhere, such as that of a service account. A server that knows the client by the assertion
    /// takes [`OAuth2Client::anonymous`].
    ///
    /// A server accepts an assertion for minutes, so it comes from a file or a closure
    /// ([`Credential`]). One that is refused is a fault of configuration.
    ///
    /// # Errors
    ///
    /// Those of [`EndpointUrl::parse`].
    pub fn jwt_bearer(
        url: impl TryInto<EndpointUrl, Error: Into<Error>>,
        client: OAuth2Client,
        assertion: impl Into<Credential>,
    ) -> Result<Self, Error> {
        let name = "urn:ietf:params:oauth:grant-type:jwt-bearer";
        Ok(Self::new(url, client, Grant::JwtBearer, name)?.param("assertion", assertion))
    }

    /// Token exchange (RFC 8693): a token of one kind for one of another, such as a user's token for
    /// one that another service takes, on behalf of that user.
    ///
    /// ```
    /// use tower_refresh::{Session, endpoint::{Credential, OAuth2Client, OAuth2Endpoint}};
    /// # fn doc(user: Session) -> Result<OAuth2Endpoint, tower_refresh::Error> {
    /// // The token of another session, as it is at each call.
    /// let subject = Credential::from_fn(move || {
    ///     let user = user.clone();
    ///     async move { Ok(user.token().await?.expose().to_owned()) }
    /// });
    /// let endpoint = OAuth2Endpoint::token_exchange(
    ///     "https://auth.example.com/token",
    ///     OAuth2Client::basic("gateway", "7Fjfp0ZBr1KtDRbnfVdmIw"),
    ///     subject,
    ///     "urn:ietf:params:oauth:token-type:access_token",
    /// )?
    /// .audience("orders");
    /// # Ok(endpoint) }
    /// ```
    ///
    /// `actor_token`, `actor_token_type` and `requested_token_type` are [params](Self::param). A
    /// subject that is refused is a fault of configuration.
    ///
    /// # Errors
    ///
    /// Those of [`EndpointUrl::parse`].
    pub fn token_exchange(
        url: impl TryInto<EndpointUrl, Error: Into<Error>>,
        client: OAuth2Client,
        subject_token: impl Into<Credential>,
        subject_token_type: impl Into<String>,
    ) -> Result<Self, Error> {
        let name = "urn:ietf:params:oauth:grant-type:token-exchange";
        Ok(Self::new(url, client, Grant::TokenExchange, name)?
            .param("subject_token", subject_token)
            .param("subject_token_type", subject_token_type.into()))
    }

    /// Any other grant, by its `grant_type` and its [params](Self::param). Most of them log a user
    /// in, once: see [`request`](Self::request).
    ///
    /// ```
    /// # async fn doc(code: String, verifier: String) -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_refresh::endpoint::{OAuth2Client, OAuth2Endpoint, RefreshRequest};
    ///
    /// let url = "https://auth.example.com/token";
    /// let login = OAuth2Endpoint::grant(url, OAuth2Client::public("app"), "authorization_code")?
    ///     .param("code", code)
    ///     .param("code_verifier", verifier)
    ///     .param("redirect_uri", "http://127.0.0.1:8910/");
    /// let answer = login.request(RefreshRequest::default()).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`EndpointUrl::parse`].
    pub fn grant(
        url: impl TryInto<EndpointUrl, Error: Into<Error>>,
        client: OAuth2Client,
        grant_type: impl Into<Cow<'static, str>>,
    ) -> Result<Self, Error> {
        Self::new(url, client, Grant::Other, grant_type)
    }

    /// Sends the calls through `transport` instead of the default HTTP client (hyper and rustls
    /// with the platform's root certificates, and the [proxy](Self::no_proxy) that the environment
    /// names). Without the feature `transport` there is no default and every endpoint needs this.
    ///
    /// Each call works on a clone of it. A limit around it belongs to the readiness of the endpoint:
    /// a permit is waited for before the call begins.
    ///
    /// It must not follow redirects, which may post the refresh token elsewhere, nor send a call
    /// twice. Not every error of its own tells whether the server has read the request: what is
    /// no refused connection counts as [possibly spent](super::Spent::Maybe). A
    /// transport that knows better returns an [`EndpointError`].
    ///
    /// It must notice a peer that is gone without a word, within some ten seconds: set TCP
    /// keep-alive, and `TCP_USER_TIMEOUT` where the system has it, as the default client does. The
    /// session waits for the answer to a call that may have spent a refresh token. For the same
    /// reason put no `Timeout` around the transport or the endpoint: it gives up a call whose
    /// answer may still come, and the token is presented once more.
    ///
    /// With the feature `reqwest` there is `ReqwestTransport`, which sees to all of this.
    pub fn transport<S, B>(mut self, transport: S) -> Self
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.exchange.transport(transport);
        self
    }

    /// Lets the default HTTP client use no proxy. Defaults to the one that the environment names for
    /// https: `HTTPS_PROXY`, else `ALL_PROXY`, but for the hosts in `NO_PROXY`, loopback and
    /// link-local ones, and never for plain http. A [transport](Self::transport) of your own decides
    /// for itself.
    pub fn no_proxy(mut self) -> Self {
        self.exchange.no_proxy();
        self
    }

    /// Asks for these scopes, separated by spaces (RFC 6749 §3.3). Defaults to none: the server
    /// grants what it granted before, or its own default.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Adds a `resource`: the URI of an API that the token is for (RFC 8707). Defaults to none;
    /// may be repeated.
    pub fn resource(self, uri: impl Into<String>) -> Self {
        self.param("resource", uri.into())
    }

    /// Adds an `audience`, which some servers want where others take a
    /// [`resource`](Self::resource). Defaults to none; may be repeated.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.param("audience", audience.into())
    }

    /// Adds any other parameter to the body: text, or a [`Credential`] that is read for each call.
    /// The same name may be repeated. Defaults to none. Its value is kept as a secret is.
    pub fn param(mut self, name: impl Into<String>, value: impl Into<Credential>) -> Self {
        self.params.push((name.into(), value.into()));
        self
    }

    /// Adds a header to the request. It is marked sensitive. Defaults to none but
    /// `content-type`, `accept`, `user-agent` and the client's `authorization`; `accept` and
    /// `user-agent` can be replaced.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.exchange.header(name, value);
        self
    }

    /// Limits how many bytes of an answer are read; a longer one is an error. Defaults to 1 MiB.
    pub fn max_body_bytes(mut self, max: usize) -> Self {
        self.exchange.max_body_bytes = max;
        self
    }

    /// Makes one call by hand: what a program does that keeps no session, or that logs in.
    ///
    /// It works on a clone of its own: readied, called, dropped. Any number may run at once. While a
    /// device waits for its user the error's [`code`](EndpointError::code) is
    /// `authorization_pending` or `slow_down` (RFC 8628 §3.5).
    ///
    /// # Errors
    ///
    /// Those of the endpoint, as above. There is no time-out.
    pub async fn request(&self, request: RefreshRequest) -> Result<TokenResponse, EndpointError> {
        self.clone().oneshot(request).await
    }

    /// Whom this endpoint's tokens are issued for: its issuer if that was discovered, else its
    /// URL without a query; the client's id; and the scope.
    ///
    /// A session that is given this endpoint as it is knows it. One that is given it inside layers
    /// does not: name it with [`SessionBuilder::issuer`](crate::SessionBuilder::issuer).
    pub fn issued_for(&self) -> IssuedFor {
        let issued_for = self.exchange.url().issued_for().with_client(self.client.id());
        issued_for.with_scope(self.scope.as_deref().unwrap_or_default())
    }

    fn new(
        url: impl TryInto<EndpointUrl, Error: Into<Error>>,
        client: OAuth2Client,
        grant: Grant,
        grant_type: impl Into<Cow<'static, str>>,
    ) -> Result<Self, Error> {
        let exchange = Exchange::new(url.try_into().map_err(Into::into)?);
        let (grant_type, params) = (grant_type.into(), Vec::new());
        let dialect = Dialect::OAUTH2;
        Ok(Self { exchange, dialect, client, grant, grant_type, scope: None, params })
    }

    /// What is read for each call: the client's credential, if it has one, and then the params.
    fn credentials(&self) -> Vec<&Credential> {
        let params = self.params.iter().map(|(_, value)| value);
        self.client.credential().into_iter().chain(params).collect()
    }

    /// One call, in as many sendings as it takes: a second, if a credential is refused that is
    /// another by then.
    async fn run(
        mut self,
        request: RefreshRequest,
        refresh_token: Option<RefreshToken>,
    ) -> Result<TokenResponse, EndpointError> {
        let mut read = read_all(&self.credentials()).await?;
        let mut is_first = true;
        let wanted = Wanted::Token { by_tls: self.client.is_by_tls() };
        let uri = self.exchange.uri(wanted, request.has_worked()).await?;
        loop {
            let sent = Sent::new(&self.client, &read);
            let call = self.form(refresh_token.as_ref(), &sent);
            let authorization = self.client.authorization(sent.secret);
            let secrets = self.secrets(refresh_token.as_ref(), &sent);
            let (call, speaks) = (call.authorized(authorization), self.dialect.listener());
            let answer = self.exchange.send(uri.clone(), call, &*speaks).await?;
            let presented = Presented {
                sent: refresh_token.clone(),
                for_a_person: self.grant.is_of_a_user(),
                keeps_refresh_token: self.grant.may_bring_a_refresh_token(),
                has_worked: request.has_worked(),
                scheme: request.scheme.clone(),
                secrets,
            };
            let error = match self.dialect.read(answer, presented) {
                Ok(tokens) => return Ok(tokens.issued_for(self.issued_for())),
                Err(error) => error,
            };
            if !self.grant.refuses_a_credential(&error) {
                return Err(error);
            }
            let credentials = self.credentials();
            let replaced = match is_first {
                true => read_again(&credentials, &read).await,
                false => None,
            };
            let Some(replaced) = replaced else {
                return Err(with_files(error, &credentials, &read));
            };
            (read, is_first) = (replaced, false);
        }
    }

    fn form(&self, refresh_token: Option<&RefreshToken>, sent: &Sent<'_>) -> Call {
        let is_authorized = self.exchange.headers.contains_key(AUTHORIZATION);
        let mut pairs = vec![("grant_type", &*self.grant_type)];
        pairs.extend(refresh_token.map(|token| ("refresh_token", token.expose())));
        pairs.extend(self.client.params(sent.secret, is_authorized));
        pairs.extend(self.scope.as_deref().map(|scope| ("scope", scope)));
        let params = self.params.iter().zip(sent.params);
        pairs.extend(params.map(|((name, _), value)| (&**name, value.expose())));
        Call::form(&pairs)
    }

    fn secrets(&self, refresh_token: Option<&RefreshToken>, sent: &Sent<'_>) -> Secrets {
        let mut secrets = self.exchange.secrets();
        if let Some(token) = refresh_token {
            secrets.add(token.expose());
        }
        self.client.hide(sent.secret, &mut secrets);
        for ((name, _), value) in self.params.iter().zip(sent.params) {
            match &**name {
                "resource" | "audience" | "username" => {}
                // However short they are.
                "password" | "assertion" | "subject_token" | "actor_token" => {
                    secrets.add(value.expose());
                }
                _ => secrets.add_if_long(value.expose()),
            }
        }
        secrets
    }

    pub(in crate::endpoint) fn url(&self) -> &EndpointUrl {
        self.exchange.url()
    }
}

/// What was read for one sending.
struct Sent<'a> {
    secret: Option<&'a Secret>,
    params: &'a [Secret],
}

impl<'a> Sent<'a> {
    fn new(client: &OAuth2Client, read: &'a [Secret]) -> Self {
        match client.credential().and(read.split_first()) {
            Some((secret, params)) => Self { secret: Some(secret), params },
            None => Self { secret: None, params: read },
        }
    }
}

answer_setters! {
    OAuth2Endpoint,
    access_token: "access_token",
    refresh_token: "Names the field of the answer that holds the refresh token. Defaults to `refresh_token`."
}

impl Service<RefreshRequest> for OAuth2Endpoint {
    type Response = TokenResponse;
    type Error = EndpointError;
    type Future = Pin<Box<dyn Future<Output = Result<TokenResponse, EndpointError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), EndpointError>> {
        self.exchange.poll_ready(cx)
    }

    fn call(&mut self, request: RefreshRequest) -> Self::Future {
        let refresh_token = request.refresh_token().filter(|_| self.grant == Grant::RefreshToken);
        if self.grant == Grant::RefreshToken && refresh_token.is_none() {
            return Box::pin(async { Err(EndpointError::no_refresh_token()) });
        }
        if let Err(foreign) = request.check(&self.issued_for()) {
            return Box::pin(async { Err(foreign) });
        }
        // What is ready makes the call, and a clone stays behind.
        let behind = self.clone();
        let ready = mem::replace(self, behind);
        let refresh_token = refresh_token.cloned();
        Box::pin(ready.run(request, refresh_token))
    }
}

impl fmt::Debug for OAuth2Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth2Endpoint")
            .field("exchange", &self.exchange)
            .field("dialect", &self.dialect)
            .field("client", &self.client)
            .field("grant_type", &self.grant_type)
            .field("scope", &self.scope)
            .field("params", &self.params)
            .finish()
    }
}
