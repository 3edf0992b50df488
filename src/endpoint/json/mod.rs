mod protocol;

use std::{
    borrow::Cow,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::Full;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};
use tower::ServiceExt;
use tower_service::Service;
use zeroize::Zeroizing;

use self::protocol::Protocol;
use super::{
    RefreshRequest, TokenResponse,
    error::EndpointError,
    exchange::{Exchange, with_retry_after},
    secrets::Secrets,
    url::EndpointUrl,
};
use crate::{
    error::{BoxError, Error},
    token::{IssuedFor, RefreshToken},
};

/// A token endpoint that takes and answers plain JSON, as many home-grown APIs have one.
///
/// It posts `{"refresh_token": "…"}` and expects `{"token": "…"}`, with a `refresh_token` if that
/// was rotated and an `expires_in` in seconds if there is one; every other field goes to
/// [`TokenResponse::extra`]. Failures say why in `{"detail": …}`. That is the protocol of the
/// Freddy API; all names can be changed.
///
/// ```
/// # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_refresh::{RefreshToken, endpoint::{JsonEndpoint, RefreshRequest}};
///
/// // The Freddy API itself:
/// let freddy = JsonEndpoint::freddy();
///
/// // Another one, with names of its own:
/// let endpoint = JsonEndpoint::new("https://api.example.com/auth/refresh")?
///     .access_token_field("access")
///     .refresh_token_field("refresh")
///     .field("device", "laptop");
///
/// // A session calls it; this is a call by hand.
/// let request = RefreshRequest::new(Some(RefreshToken::new("tGzv3JOkF0")?));
/// let answer = endpoint.request(request).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Calls fail with an [`EndpointError`]:
///
/// - [`InvalidGrant`](super::FailureClass::InvalidGrant): there is no refresh token (nothing is
///   sent), or the answer is 400, 401 or 403 and says why;
/// - [`Misconfigured`](super::FailureClass::Misconfigured): any other 4xx, a redirect (none is
///   followed), a list of faults in the request as FastAPI makes it, a 200 with a
///   [new refresh token](EndpointError::rotated) and no access token;
/// - [`Transient`](super::FailureClass::Transient): everything else, a 200 without a usable token
///   included.
///
/// How long a call may take is not decided here; a session has a limit of its own.
///
/// Every clone has the same settings and a readiness of its own, and a session calls clones only.
#[derive(Clone)]
#[must_use = "a token endpoint does nothing before a session calls it"]
pub struct JsonEndpoint {
    exchange: Exchange,
    protocol: Protocol,
    extra: Map<String, Value>,
}

impl JsonEndpoint {
    /// An endpoint at `url`: a `&str`, a `String`, a [`Uri`](http::Uri) or an [`EndpointUrl`].
    ///
    /// # Errors
    ///
    /// Those of [`EndpointUrl::parse`].
    pub fn new(url: impl TryInto<EndpointUrl, Error: Into<Error>>) -> Result<Self, Error> {
        let url = url.try_into().map_err(Into::into)?;
        Ok(Self { exchange: Exchange::new(url), protocol: Protocol::FREDDY, extra: Map::new() })
    }

    /// The Freddy API: `https://api.freddy.aitronos.com/v1/auth/refresh`.
    pub fn freddy() -> Self {
        Self::new("https://api.freddy.aitronos.com/v1/auth/refresh").expect("a valid URL")
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

    /// Names the field of the answer that holds the access token. Defaults to `token`.
    pub fn access_token_field(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.protocol.fields.access_token = name.into();
        self
    }

    /// Names the field that holds the refresh token, in the request and in the answer. Defaults
    /// to `refresh_token`.
    pub fn refresh_token_field(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.protocol.fields.refresh_token = name.into();
        self
    }

    /// Names the field of the request that holds the refresh token. Defaults to the
    /// [`refresh_token_field`](Self::refresh_token_field).
    pub fn request_field(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.protocol.request_field = Some(name.into());
        self
    }

    /// Names the field of the answer that says how long the access token lives, or until when: a
    /// number of seconds, a time since the epoch in seconds or milliseconds, either as a string, or
    /// a date. Defaults to `expires_in`.
    ///
    /// Fields whose names say it (`expires_at`, `expiresOn`, `expiry`) count without being named,
    /// and so does a JWT's own `exp`; the shortest life that the server states is used.
    pub fn expires_in_field(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.protocol.fields.expires_in = name.into();
        self
    }

    /// Names the field in which a failure says why: only a 400, 401 or 403 that has it means that
    /// a user has to log in again. Defaults to `detail`.
    pub fn error_field(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.protocol.error_field = name.into();
        self
    }

    /// Adds a field to the request. Defaults to none but the refresh token, which wins over a
    /// field of the same name.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra.insert(name.into(), value.into());
        self
    }

    /// Adds a header to the request, such as an API key. It is marked sensitive. Defaults to
    /// none but `content-type`, `accept` and `user-agent`, of which the last two can be replaced.
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

    /// Whom this endpoint's tokens are issued for: its URL without a query.
    ///
    /// A session that is given this endpoint as it is knows it. One that is given it inside layers
    /// does not: name it with [`SessionBuilder::issuer`](crate::SessionBuilder::issuer).
    pub fn issued_for(&self) -> IssuedFor {
        self.exchange.issued_for()
    }

    fn body(&self, refresh_token: &RefreshToken) -> Zeroizing<Vec<u8>> {
        let body = Payload {
            name: self.protocol.request_field(),
            refresh_token: refresh_token.expose(),
            extra: &self.extra,
        };
        // Room enough that no growing buffer leaves a copy of the token behind.
        let token = 2 * body.refresh_token.len() + 6 * body.name.len();
        let extra = serde_json::to_vec(body.extra).map_or(0, |extra| extra.len());
        let mut bytes = Zeroizing::new(Vec::with_capacity(token + extra + 16));
        serde_json::to_writer(&mut *bytes, &body).expect("strings and JSON values to a Vec");
        bytes
    }

    fn secrets(&self, refresh_token: &RefreshToken) -> Secrets {
        let mut secrets = self.exchange.secrets();
        secrets.add(refresh_token.expose());
        self.extra.values().for_each(|value| secrets.add_all(value));
        secrets
    }
}

impl Service<RefreshRequest> for JsonEndpoint {
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
        let Some(refresh_token) = request.refresh_token().cloned() else {
            return Box::pin(async { Err(EndpointError::no_refresh_token()) });
        };
        let body = self.body(&refresh_token);
        let secrets = self.secrets(&refresh_token);
        let (protocol, issued_for) = (self.protocol.clone(), self.issued_for());
        let answer = self.exchange.post("application/json", None, body);
        Box::pin(async move {
            let answer = answer.await?;
            let tokens = protocol.read(&answer, &refresh_token, secrets);
            let tokens = tokens.map(|tokens| tokens.issued_for(issued_for));
            tokens.map_err(|error| with_retry_after(error, &answer.headers))
        })
    }
}

impl fmt::Debug for JsonEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A field may hold a key, so only their names are shown.
        f.debug_struct("JsonEndpoint")
            .field("exchange", &self.exchange)
            .field("protocol", &self.protocol)
            .field("extra", &self.extra.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// The request's body, borrowed so that the token is written once and nowhere else.
struct Payload<'a> {
    name: &'a str,
    refresh_token: &'a str,
    extra: &'a Map<String, Value>,
}

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(self.name, self.refresh_token)?;
        for (name, value) in self.extra.iter().filter(|(name, _)| *name != self.name) {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
