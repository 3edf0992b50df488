use std::time::Duration;

use http::HeaderName;
use tower_layer::Layer;

use super::{
    head::{RequestHead, ResponseHead},
    refusal::RefusedWhen,
    rules::{Config, Rules},
    service::Refresh,
};
use crate::{origin::Origin, replay::Standard, session::Session};

/// Puts a [`Session`] in front of an HTTP service: each request carries its access token, and one
/// that is refused is sent once more with the next.
///
/// `P` is the [policy](crate::replay::Policy) by which the body of a request is backed up for the
/// retry; [`replay_with`](Self::replay_with) sets another.
///
/// With the feature `reqwest-middleware` the layer is a middleware of that crate as well, with all
/// its options: `ClientBuilder::new(client).with(RefreshLayer::new(session))`.
///
/// # Which requests get a token
///
/// In this order:
///
/// 1. One that [opted out](crate::NoToken) gets none.
/// 2. One that has the header already keeps it. A gateway therefore takes the `Authorization` of
///    its own users off first.
/// 3. One to another origin than the layer was [bound to](Self::only_for) gets none.
/// 4. One to another origin than [the session's tokens are for](crate::SessionBuilder::origins) is
///    an error, and is not sent.
/// 5. One that would carry the token [unencrypted](Self::allow_plaintext) is an error, and is not
///    sent.
///
/// # Which responses are refusals
///
/// A 401, unless its challenge says that the token is valid but not enough, and gRPC's
/// `UNAUTHENTICATED` in the headers of a 200; or what [`refused_when`](Self::refused_when) says.
/// Two features add one thing each to this judgement, wherever in the program they are turned on:
///
/// - `follow-redirect`: a response that tower-http's `FollowRedirect` below the layer (0.7) has
///   fetched from another origin is no refusal.
/// - `reqwest` (and with it `reqwest-middleware`): the same for redirects that reqwest has followed,
///   and those of tower-http 0.6.
///
/// Without them such a response is judged like any other, so that a 401 of the other origin causes a
/// refresh and a retry.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing before it is put around a service"]
pub struct RefreshLayer<P = Standard> {
    pub(crate) config: Config<P>,
}

impl RefreshLayer {
    /// Signs requests with the tokens of `session`.
    pub fn new(session: Session) -> Self {
        Self { config: Config { session, rules: Rules::default(), policy: Standard } }
    }
}

impl<P> RefreshLayer<P> {
    /// Binds the layer to these origins (RFC 6454): a request to any other scheme, host or port
    /// goes out without a token.
    ///
    /// ```
    /// # fn doc(session: tower_refresh::Session) -> Result<(), tower_refresh::Error> {
    /// use tower_refresh::RefreshLayer;
    ///
    /// let layer = RefreshLayer::new(session).only_for(["https://api.example.com".parse()?]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Where a token must not go elsewhere by any layer, use
    /// [`SessionBuilder::origins`](crate::SessionBuilder::origins).
    ///
    /// Defaults to all origins.
    pub fn only_for(mut self, origins: impl IntoIterator<Item = Origin>) -> Self {
        self.config.rules.only_for = Some(origins.into_iter().collect());
        self
    }

    /// Where requests go whose URI does not say so, as those of a gRPC channel. The `Host` header
    /// is never trusted.
    ///
    /// Defaults to unknown: such a request is an error before it is sent, unless the layer allows
    /// plaintext and neither the layer nor the session is bound to origins.
    pub fn origin(mut self, origin: Origin) -> Self {
        self.config.rules.origin = Some(origin);
        self
    }

    /// Lets tokens travel unencrypted. Any reader of the network can then use them (RFC 6750 §5.3).
    ///
    /// Defaults to https only, and http to a loopback host (`localhost`, `127.0.0.0/8`, `[::1]`).
    pub fn allow_plaintext(mut self) -> Self {
        self.config.rules.allow_plaintext = true;
        self
    }

    /// The header that the token goes into.
    ///
    /// Clients that follow redirects take `Authorization` off when they are sent to another host.
    /// A header of your own they carry along, whatever origins the layer or the session is bound
    /// to: the layer does not see what happens below it. So let nothing below it follow a redirect
    /// to another host: for reqwest, `redirect(Policy::none())`; under Tower, bind the layer with
    /// [`only_for`](Self::only_for) and put it *inside* of what follows redirects, so that each
    /// hop goes through it.
    ///
    /// Defaults to `Authorization`.
    pub fn header(mut self, name: HeaderName) -> Self {
        self.config.rules.header = name;
        self
    }

    /// Which responses mean that the token was refused, for an API that has its own way of saying
    /// so. The predicate sees the request as the caller made it, without the token.
    ///
    /// An API that answers 403 to an expired token on its older routes:
    ///
    /// ```
    /// # fn doc(session: tower_refresh::Session) {
    /// use http::StatusCode;
    /// use tower_refresh::RefreshLayer;
    ///
    /// let layer = RefreshLayer::new(session).refused_when(|request, response| {
    ///     let is_old = request.uri().path().starts_with("/v1/");
    ///     response.is_refusal() || is_old && response.status() == StatusCode::FORBIDDEN
    /// });
    /// # }
    /// ```
    ///
    /// What no refresh can cure is no refusal whatever it returns: a challenge, of any scheme, with
    /// `insufficient_scope` or `insufficient_claims`, one that wants another proof of possession
    /// (`use_dpop_nonce`, `invalid_dpop_proof`), or one that asks for a stronger login (RFC 9470).
    ///
    /// Defaults to [`ResponseHead::is_refusal`].
    pub fn refused_when<F>(mut self, predicate: F) -> Self
    where
        F: Fn(&RequestHead<'_>, &ResponseHead<'_>) -> bool + Send + Sync + 'static,
    {
        self.config.rules.refused_when = Some(RefusedWhen::new(predicate));
        self
    }

    /// For an API that accepts a token only some time after it was issued, because its clock is behind
    /// or because it learns of tokens late. The refusal of a token younger than this waits for the
    /// rest, and then the request is sent once more with the *same* token. It causes no refresh.
    ///
    /// ```
    /// # fn doc(session: tower_refresh::Session) {
    /// use std::time::Duration;
    /// use tower_refresh::RefreshLayer;
    ///
    /// let layer = RefreshLayer::new(session).acceptance_delay(Duration::from_secs(3));
    /// # }
    /// ```
    ///
    /// Defaults to zero: every refusal of the token in use asks for its successor.
    pub fn acceptance_delay(mut self, delay: Duration) -> Self {
        self.config.rules.acceptance_delay = delay;
        self
    }

    /// Puts the [`TokenId`](crate::TokenId) of the token that a request went out with into the
    /// extensions of its response. It is no secret, and says which token to
    /// [replace](Session::replace) for a caller that reads only in the body that it was refused, as
    /// those of GraphQL do:
    ///
    /// ```
    /// # use http::{Request, Response};
    /// # use tower::{Layer, ServiceExt};
    /// # use tower_refresh::{BoxError, RefreshLayer, Session, TokenId, Tokens, testing::GatedEndpoint};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), BoxError> {
    /// # let http = tower::service_fn(|_: Request<String>| async {
    /// #     Ok::<_, BoxError>(Response::new("UNAUTHENTICATED"))
    /// # });
    /// # let tokens = Tokens::new("t")?;
    /// # let session = Session::builder(GatedEndpoint::new()).initial_tokens(tokens).build();
    /// # let request = Request::post("https://api.example.com/graphql").body(String::new())?;
    /// let client = RefreshLayer::new(session.clone()).report_token().layer(http);
    /// let response = client.oneshot(request).await?;
    /// let token = response.extensions().get::<TokenId>().copied();
    /// if let (Some(token), "UNAUTHENTICATED") = (token, response.into_body()) {
    ///     session.replace(token).await?;
    ///     // Send it once more. Ten callers that come late cost one refresh.
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A response to a request that went out without a token of this layer has none.
    ///
    /// Defaults to off.
    pub fn report_token(mut self) -> Self {
        self.config.rules.reports_token = true;
        self
    }

    /// How the body of a request is backed up for a retry: see [`replay`](crate::replay) for the
    /// choice.
    ///
    /// Defaults to [`Standard`]: bodies that implement [`Replay`](crate::replay::Replay).
    pub fn replay_with<Q>(self, policy: Q) -> RefreshLayer<Q> {
        let Config { session, rules, .. } = self.config;
        RefreshLayer { config: Config { session, rules, policy } }
    }
}

impl<S, P: Clone> Layer<S> for RefreshLayer<P> {
    type Service = Refresh<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Refresh::with_config(inner, self.config.clone())
    }
}
