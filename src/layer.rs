use std::sync::Arc;

use http::{
    Extensions, HeaderMap, HeaderName, StatusCode, Uri, header::AUTHORIZATION, uri::Scheme,
};
use tower_layer::Layer;

use crate::{
    error::{Error, ErrorKind},
    origin::{Origin, check_encrypted},
    refusal::{Refusal, Verdict},
    replay::ByBody,
    service::Refresh,
    session::{Session, Token},
};

/// Puts a [`Session`] in front of an HTTP service: each request carries its access token, and one
/// that is refused is sent once more with the next.
///
/// It leaves alone requests that have an `Authorization` header already, those that
/// [opted out](NoToken), and those to other origins than it was [bound to](Self::only_for).
///
/// `P` is the [policy](crate::replay) by which a body is kept for the retry.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing before it is put around a service"]
pub struct RefreshLayer<P = ByBody> {
    pub(crate) policy: Policy<P>,
}

/// Put into the extensions of a request, it opts out: the request gets no token, and a refusal of
/// it is handed through.
///
/// ```
/// let mut request = http::Request::get("https://api.example.com/health").body(()).unwrap();
/// request.extensions_mut().insert(tower_refresh::NoToken);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoToken;

impl RefreshLayer {
    /// Signs requests with the tokens of `session`.
    pub fn new(session: Session) -> Self {
        Self { policy: Policy { session, rules: Rules::default(), split: ByBody } }
    }
}

impl<P> RefreshLayer<P> {
    /// Binds the layer to these origins (RFC 6454): a request to any other scheme, host or port
    /// goes out without a token.
    ///
    /// Defaults to all origins.
    ///
    /// # Errors
    ///
    /// If one has no scheme or no host, or a port that is none.
    pub fn only_for<I, U>(mut self, origins: I) -> Result<Self, Error>
    where
        I: IntoIterator<Item = U>,
        U: TryInto<Uri, Error: Into<http::Error>>,
    {
        self.policy.rules.only_for =
            Some(origins.into_iter().map(Origin::parse).collect::<Result<_, _>>()?);
        Ok(self)
    }

    /// Where requests go whose URI does not say so, as those of a gRPC channel.
    ///
    /// Defaults to unknown: such a request is an error before it is sent. The `Host` header is
    /// never trusted.
    ///
    /// # Errors
    ///
    /// If it has no scheme or no host, or a port that is none.
    pub fn origin<U>(mut self, origin: U) -> Result<Self, Error>
    where
        U: TryInto<Uri, Error: Into<http::Error>>,
    {
        self.policy.rules.origin = Some(Origin::parse(origin)?);
        Ok(self)
    }

    /// Lets tokens travel unencrypted. Whoever can read the network can then use them
    /// (RFC 6750 §5.3).
    ///
    /// Defaults to https only, and http to a loopback host (`localhost`, `127.0.0.0/8`, `[::1]`).
    pub fn allow_plaintext(mut self) -> Self {
        self.policy.rules.allow_plaintext = true;
        self
    }

    /// The header that the token goes into.
    ///
    /// Clients that follow redirects take `Authorization` off when they are sent to another host.
    /// A header of your own they carry along, whatever origins the layer is bound to: it does not
    /// see what happens below it. So let nothing below it follow a redirect to another host: for
    /// reqwest, `redirect(Policy::none())`; under Tower, bind the layer with
    /// [`only_for`](Self::only_for) and put it *inside* of what follows redirects, so that each
    /// hop goes through it.
    ///
    /// Defaults to `Authorization`.
    pub fn header(mut self, name: HeaderName) -> Self {
        self.policy.rules.header = name;
        self
    }

    /// Which responses mean that the token was refused, for an API that has its own way of saying
    /// so.
    ///
    /// Defaults to a 401, unless its challenge says that the token is valid but not enough, and to
    /// gRPC's `UNAUTHENTICATED` in the headers of a 200.
    pub fn refused_when<F>(mut self, refused: F) -> Self
    where
        F: Fn(StatusCode, &HeaderMap) -> bool + Send + Sync + 'static,
    {
        self.policy.rules.refusal = Refusal::Custom(Arc::new(refused));
        self
    }

    /// How a body is kept for a retry: see [`replay`](crate::replay) for the choice.
    ///
    /// Defaults to [`ByBody`]: bodies that know how.
    pub fn replay_with<Q>(self, split: Q) -> RefreshLayer<Q> {
        let Policy { session, rules, .. } = self.policy;
        RefreshLayer { policy: Policy { session, rules, split } }
    }
}

impl<S, P: Clone> Layer<S> for RefreshLayer<P> {
    type Service = Refresh<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Refresh::new(inner, self.policy.clone())
    }
}

/// All that a service, or another client's middleware, has to know.
#[derive(Clone, Debug)]
pub(crate) struct Policy<P> {
    pub(crate) session: Session,
    pub(crate) rules: Rules,
    pub(crate) split: P,
}

impl<P> Policy<P> {
    /// Whether a response refuses the token of its request, so that another is to be tried.
    ///
    /// One from `elsewhere`, another origin where a redirect below us has led, says nothing: the
    /// token was not for that server.
    #[inline]
    pub(crate) fn is_refused(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        elsewhere: impl FnOnce() -> bool,
    ) -> bool {
        match self.rules.refusal.judge(status, headers) {
            Verdict::Fine => false,
            _ if elsewhere() => false,
            Verdict::Refused => true,
            Verdict::StepUp(step_up) => {
                self.session.step_up_required(step_up);
                false
            }
        }
    }
}

/// What applies to requests.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    header: HeaderName,
    only_for: Option<Vec<Origin>>,
    origin: Option<Origin>,
    allow_plaintext: bool,
    refusal: Refusal,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            header: AUTHORIZATION,
            only_for: None,
            origin: None,
            allow_plaintext: false,
            refusal: Refusal::Standard,
        }
    }
}

impl Rules {
    /// Whether a request gets a token. The order counts: one that goes out unsigned for an earlier
    /// reason is no error for a later one.
    #[inline]
    pub(crate) fn sign(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<bool, Error> {
        let opted_out = extensions.get::<NoToken>().is_some();
        // There are a few headers at most: to hash a name takes longer than to look at them.
        if opted_out || headers.keys().any(|name| *name == self.header) {
            return Ok(false);
        }
        if self.only_for.is_none() && uri.scheme() == Some(&Scheme::HTTPS) {
            // The usual case; what is below would say the same.
            return Ok(true);
        }
        if !self.reaches(uri)? {
            return Ok(false);
        }
        self.check_encrypted(uri)?;
        Ok(true)
    }

    /// Puts the token on a request.
    #[inline]
    pub(crate) fn put(&self, token: &Token, headers: &mut HeaderMap) {
        headers.insert(&self.header, token.header_value().clone());
    }

    fn reaches(&self, uri: &Uri) -> Result<bool, Error> {
        if uri.authority().is_some() && uri.scheme().is_none() {
            // A tunnel (`CONNECT host:port`): the token is for what will be asked through it.
            return Ok(false);
        }
        let Some(bound) = &self.only_for else {
            return Ok(true);
        };
        if uri.authority().is_some() {
            return Ok(bound.iter().any(|origin| origin.is_of(uri)));
        }
        Ok(bound.contains(self.assumed_origin()?))
    }

    fn check_encrypted(&self, uri: &Uri) -> Result<(), Error> {
        if let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) {
            return check_encrypted(scheme, || authority.host(), self.allow_plaintext);
        }
        match &self.origin {
            None if self.allow_plaintext => Ok(()),
            _ => self.assumed_origin()?.check_encrypted(self.allow_plaintext),
        }
    }

    fn assumed_origin(&self) -> Result<&Origin, Error> {
        self.origin.as_ref().ok_or_else(|| {
            Error::new(
                ErrorKind::UnknownOrigin,
                "the request's URI does not say where it goes: say so with `RefreshLayer::origin`",
            )
        })
    }
}
