mod client;
mod grant;
mod revocation;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use form_urlencoded::Serializer;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower::ServiceExt;
use tower_service::Service;
use zeroize::Zeroizing;

use self::grant::Grant;
pub use self::{client::OAuth2Client, revocation::OAuth2Revocation};
use super::{
    RefreshRequest, TokenResponse,
    error::EndpointError,
    exchange::{Exchange, with_retry_after},
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
    client: OAuth2Client,
    grant: Grant,
    scope: Option<String>,
    params: Vec<(String, Secret)>,
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
        let url = url.try_into().map_err(Into::into)?;
        Ok(Self::new(url, client, Grant::RefreshToken))
    }

    /// The client_credentials grant (RFC 6749 §4.4): the client acts for itself. A refresh token
    /// is neither needed nor sent.
    ///
    /// `url` is a `&str`, a `String`, a [`Uri`](http::Uri) or an [`EndpointUrl`].
    ///
    /// # Errors
    ///
    /// Those of [`EndpointUrl::parse`].
    pub fn client_credentials(
        url: impl TryInto<EndpointUrl, Error: Into<Error>>,
        client: OAuth2Client,
    ) -> Result<Self, Error> {
        let url = url.try_into().map_err(Into::into)?;
        Ok(Self::new(url, client, Grant::ClientCredentials))
    }

    /// Sends the calls through `transport` instead of the default HTTP client (hyper and rustls
    /// with the platform's root certificates, without a proxy). Without the feature `transport`
    /// there is no default and every endpoint needs this.
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

    /// Asks for these scopes, separated by spaces (RFC 6749 §3.3). Defaults to none: the server
    /// grants what it granted before, or its own default.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Adds a `resource`: the URI of an API that the token is for (RFC 8707). Defaults to none;
    /// may be repeated.
    pub fn resource(self, uri: impl Into<String>) -> Self {
        self.param("resource", uri)
    }

    /// Adds an `audience`, which some servers want where others take a
    /// [`resource`](Self::resource). Defaults to none; may be repeated.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.param("audience", audience)
    }

    /// Adds any other parameter to the body; the same name may be repeated. Defaults to none. Its
    /// value is kept as a secret is.
    pub fn param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.params.push((name.into(), Secret::new(value.into())));
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
    /// It works on a clone of its own: readied, called, dropped. Any number may run at once.
    ///
    /// # Errors
    ///
    /// Those of the endpoint, as above. There is no time-out.
    pub async fn request(&self, request: RefreshRequest) -> Result<TokenResponse, EndpointError> {
        self.clone().oneshot(request).await
    }

    /// Whom this endpoint's tokens are issued for: its URL without a query, the client's id, and the scope.
    ///
    /// A session that is given this endpoint as it is knows it. One that is given it inside layers
    /// does not: name it with [`SessionBuilder::issuer`](crate::SessionBuilder::issuer).
    pub fn issued_for(&self) -> IssuedFor {
        let issued_for = self.exchange.issued_for().with_client(self.client.id());
        issued_for.with_scope(self.scope.as_deref().unwrap_or_default())
    }

    fn new(url: EndpointUrl, client: OAuth2Client, grant: Grant) -> Self {
        Self { exchange: Exchange::new(url), client, grant, scope: None, params: Vec::new() }
    }

    fn body(&self, refresh_token: Option<&RefreshToken>) -> Zeroizing<Vec<u8>> {
        let mut pairs = vec![("grant_type", self.grant.name())];
        pairs.extend(refresh_token.map(|token| ("refresh_token", token.expose())));
        pairs.extend(self.client.params());
        pairs.extend(self.scope.as_deref().map(|scope| ("scope", scope)));
        let params = self.params.iter();
        pairs.extend(params.map(|(name, value)| (&**name, value.expose())));
        form(&pairs)
    }

    fn secrets(&self, refresh_token: Option<&RefreshToken>) -> Secrets {
        let mut secrets = self.exchange.secrets();
        if let Some(token) = refresh_token {
            secrets.add(token.expose());
        }
        self.client.hide(&mut secrets);
        let public = |name: &str| matches!(name, "resource" | "audience");
        for (_, value) in self.params.iter().filter(|(name, _)| !public(name)) {
            secrets.add_if_long(value.expose());
        }
        secrets
    }
}

impl Service<RefreshRequest> for OAuth2Endpoint {
    type Response = TokenResponse;
    type Error = EndpointError;
    type Future = Pin<Box<dyn Future<Output = Result<TokenResponse, EndpointError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), EndpointError>> {
        self.exchange.poll_ready(cx)
    }

    fn call(&mut self, request: RefreshRequest) -> Self::Future {
        if let Err(foreign) = request.check(&self.issued_for()) {
            return Box::pin(async { Err(foreign) });
        }
        let grant = self.grant;
        let refresh_token = match (grant, request.refresh_token()) {
            (Grant::ClientCredentials, _) => None,
            (Grant::RefreshToken, Some(token)) => Some(token),
            (Grant::RefreshToken, None) => {
                return Box::pin(async { Err(EndpointError::no_refresh_token()) });
            }
        };
        let body = self.body(refresh_token);
        let secrets = self.secrets(refresh_token);
        let authorization = self.client.authorization();
        let (sent, issued_for) = (refresh_token.cloned(), self.issued_for());
        let answer = self.exchange.post(FORM, authorization, body);
        Box::pin(async move {
            let answer = answer.await?;
            let tokens = grant.read(&answer, sent.as_ref(), secrets);
            let tokens = tokens.map(|tokens| tokens.issued_for(issued_for));
            tokens.map_err(|error| with_retry_after(error, &answer.headers))
        })
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

/// The body of a call, wiped when it is dropped.
fn form(pairs: &[(&str, &str)]) -> Zeroizing<Vec<u8>> {
    // Room enough that no growing string leaves a copy of a secret behind.
    let room = pairs.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2);
    let mut form = Zeroizing::new(String::with_capacity(room.sum()));
    Serializer::new(&mut *form).extend_pairs(pairs);
    Zeroizing::new(std::mem::take(&mut *form).into_bytes())
}

impl fmt::Debug for OAuth2Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth2Endpoint")
            .field("exchange", &self.exchange)
            .field("client", &self.client)
            .field("grant", &self.grant)
            .field("scope", &self.scope)
            .field("params", &self.params)
            .finish()
    }
}
