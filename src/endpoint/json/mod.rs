mod place;
mod shape;
mod sources;

use std::{
    borrow::Cow,
    fmt,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use serde_json::Value;
use tower::ServiceExt;
use tower_service::Service;

pub use self::place::Place;
use self::{shape::Shape, sources::Sources};
use super::{
    RefreshRequest, TokenResponse,
    credential::{Credential, read_again, read_all},
    dialect::{Dialect, Presented, answer_setters},
    discovery::Wanted,
    error::EndpointError,
    exchange::Exchange,
    fields::last_name,
    secrets::Secrets,
    url::{self, EndpointUrl},
};
use crate::{
    error::{BoxError, Error},
    token::{IssuedFor, RefreshToken, Secret},
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
    dialect: Dialect,
    /// `None`: as in the answer.
    request_field: Option<Cow<'static, str>>,
    shape: Shape,
    sources: Sources,
}

impl JsonEndpoint {
    /// An endpoint at `url`: a `&str`, a `String`, a [`Uri`](http::Uri) or an [`EndpointUrl`].
    ///
    /// # Errors
    ///
    /// Those of [`EndpointUrl::parse`], and [`InvalidInput`](crate::ErrorKind::InvalidInput) for one
    /// that is [discovered](EndpointUrl::discover).
    pub fn new(url: impl TryInto<EndpointUrl, Error: Into<Error>>) -> Result<Self, Error> {
        let url = url.try_into().map_err(Into::into)?;
        if matches!(url.place(), url::Place::Of(_)) {
            return Err(Error::invalid("a JSON endpoint has no metadata: give its own URL"));
        }
        Ok(Self {
            exchange: Exchange::new(url),
            dialect: Dialect::FREDDY,
            request_field: None,
            shape: Shape::new(),
            sources: Sources::default(),
        })
    }

    /// The Freddy API: `https://api.freddy.aitronos.com/v1/auth/refresh`.
    pub fn freddy() -> Self {
        Self::new("https://api.freddy.aitronos.com/v1/auth/refresh").expect("a valid URL")
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

    /// Names the field of the request that holds the refresh token. Defaults to the
    /// [`refresh_token_field`](Self::refresh_token_field).
    pub fn request_field(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.request_field = Some(name.into());
        self
    }

    /// Names the field in which a failure says why: a 400, 401, 403, 410 or 422 that has it means
    /// that a user has to log in again, unless it says otherwise. Defaults to `detail`.
    pub fn error_field(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.dialect.name_error_field(name.into());
        self
    }

    /// Adds a field to the request. Defaults to none but the refresh token, which wins over a
    /// field of the same name.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.shape.fields.insert(name.into(), value.into());
        self
    }

    /// Sends the request by this method: `POST`, `PUT`, `PATCH` or `GET`, which has no body. Defaults
    /// to `POST`.
    pub fn method(mut self, method: Method) -> Self {
        self.shape.method = method;
        self
    }

    /// Sends the fields as a form instead of JSON. Defaults to JSON.
    pub fn form(mut self) -> Self {
        self.shape.is_form = true;
        self
    }

    /// Says where the refresh token is in the request. Defaults to the
    /// [`refresh_token_field`](Self::refresh_token_field).
    ///
    /// If it is a cookie, then a cookie of that name in the answer is its successor, unless
    /// [`refresh_token_from`](Self::refresh_token_from) names another place.
    pub fn refresh_token_in(mut self, place: Place) -> Self {
        self.shape.refresh_token = Some(place);
        self
    }

    /// Says where the access token is in the answer. Defaults to the
    /// [`access_token_field`](Self::access_token_field).
    pub fn access_token_from(mut self, place: Place) -> Self {
        match place {
            Place::Field(name) => self.access_token_field(name),
            place => {
                self.sources.access_token = Some(place);
                self
            }
        }
    }

    /// Says where a new refresh token is in the answer. Defaults to the
    /// [`refresh_token_field`](Self::refresh_token_field).
    ///
    /// A cookie that is empty or over is no token. With a 400, 401 or 403 it is the end of the grant.
    pub fn refresh_token_from(mut self, place: Place) -> Self {
        if let Place::Field(name) = &place {
            self.dialect.fields.refresh_token = name.clone();
        }
        self.sources.refresh_token = Some(place);
        self
    }

    /// Neither needs nor sends a refresh token: the program itself is who gets the token, and proves
    /// it [otherwise](Self::authorize_with). Defaults to needing one.
    pub fn without_refresh_token(mut self) -> Self {
        self.shape.needs_refresh_token = false;
        self
    }

    /// Sends this in the `Authorization` header, as a `Bearer` token that is read for each call.
    /// Defaults to none.
    ///
    /// An app of GitHub signs a JWT, and asks with it for the token of an installation:
    ///
    /// ```
    /// use tower_refresh::endpoint::{Credential, JsonEndpoint};
    /// # async fn sign() -> Result<String, std::io::Error> { Ok("header.claims.signature".into()) }
    ///
    /// let url = "https://api.github.com/app/installations/7/access_tokens";
    /// let endpoint = JsonEndpoint::new(url)?
    ///     .without_refresh_token()
    ///     .authorize_with(Credential::from_fn(|| async { Ok(sign().await?) }));
    /// # Ok::<(), tower_refresh::Error>(())
    /// ```
    pub fn authorize_with(mut self, bearer: impl Into<Credential>) -> Self {
        self.shape.bearer = Some(bearer.into());
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
        self.exchange.url().issued_for()
    }

    pub(in crate::endpoint) fn url(&self) -> &EndpointUrl {
        self.exchange.url()
    }

    /// The field of the request that holds the refresh token, unless it has another place.
    fn name_in_request(&self) -> Cow<'_, str> {
        match &self.request_field {
            Some(name) => Cow::Borrowed(name),
            None => last_name(&self.dialect.fields.refresh_token),
        }
    }

    /// One call, in as many sendings as it takes: a second, if the credential is refused and is
    /// another by then.
    async fn run(
        mut self,
        request: RefreshRequest,
        refresh_token: Option<RefreshToken>,
    ) -> Result<TokenResponse, EndpointError> {
        let bearer = self.shape.bearer.clone();
        let credentials: Vec<_> = bearer.iter().collect();
        let mut read = read_all(&credentials).await?;
        let mut is_first = true;
        let uri = self.exchange.uri(Wanted::Token { by_tls: false }, request.has_worked()).await?;
        loop {
            let (own, sent) = (read.first(), refresh_token.as_ref());
            let call = self.shape.call(&self.exchange, self.name_in_request(), sent, own)?;
            let secrets = self.secrets(sent, own);
            let speaks = self.dialect.listener();
            let mut answer = self.exchange.send(uri.clone(), call, &*speaks).await?;
            if let Some(ended) = self.sources.lift(&mut answer, &self.dialect.fields, &self.shape) {
                return Err(ended);
            }
            let presented = Presented {
                sent: sent.cloned(),
                for_a_person: sent.is_some(),
                keeps_refresh_token: true,
                has_worked: request.has_worked(),
                scheme: request.scheme.clone(),
                secrets,
            };
            let status = answer.status;
            let error = match self.dialect.read(answer, presented) {
                Ok(tokens) => return Ok(tokens.issued_for(self.issued_for())),
                Err(error) => error,
            };
            let may_be_about_it = status == StatusCode::UNAUTHORIZED && sent.is_none();
            let replaced = match is_first && may_be_about_it {
                true => read_again(&credentials, &read).await,
                false => None,
            };
            let Some(replaced) = replaced else { return Err(error) };
            (read, is_first) = (replaced, false);
        }
    }

    fn secrets(&self, refresh_token: Option<&RefreshToken>, own: Option<&Secret>) -> Secrets {
        let mut secrets = self.exchange.secrets();
        refresh_token.iter().for_each(|token| secrets.add(token.expose()));
        own.iter().for_each(|own| secrets.add(own.expose()));
        self.shape.fields.values().for_each(|value| secrets.add_all(value));
        secrets
    }
}

answer_setters! {
    JsonEndpoint,
    access_token: "token",
    refresh_token: "Names the field that holds the refresh token, in the request and in the answer. Defaults to `refresh_token`. Of a path the request has the last name."
}

impl Service<RefreshRequest> for JsonEndpoint {
    type Response = TokenResponse;
    type Error = EndpointError;
    type Future = Pin<Box<dyn Future<Output = Result<TokenResponse, EndpointError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), EndpointError>> {
        self.exchange.poll_ready(cx)
    }

    fn call(&mut self, request: RefreshRequest) -> Self::Future {
        let needs_one = self.shape.needs_refresh_token;
        let refresh_token = request.refresh_token().filter(|_| needs_one);
        if needs_one && refresh_token.is_none() {
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

impl fmt::Debug for JsonEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonEndpoint")
            .field("exchange", &self.exchange)
            .field("dialect", &self.dialect)
            .field("request_field", &self.request_field)
            .field("shape", &self.shape)
            .field("sources", &self.sources)
            .finish()
    }
}
