//! Token endpoints: the Tower services that issue the next access token.
//!
//! An endpoint is any `Service<RefreshRequest, Response = TokenResponse>` that is `Clone`: a session
//! readies, calls and drops a clone for each call. Two are ready-made:
//! [`JsonEndpoint`] (Freddy's protocol is its default) and [`OAuth2Endpoint`]. Your own takes
//! three lines:
//!
//! ```
//! use tower_refresh::{BoxError, Session, endpoint::{RefreshRequest, TokenResponse}};
//! # async fn my_login_call(_: RefreshRequest) -> Result<String, BoxError> { Ok("t".into()) }
//!
//! let endpoint = tower::service_fn(|request: RefreshRequest| async move {
//!     let access_token = my_login_call(request).await?;
//!     Ok::<_, BoxError>(TokenResponse::new(access_token)?)
//! });
//! let session = Session::builder(endpoint).build();
//! ```
//!
//! Because it is a Tower service, a rate limit or a concurrency limit around it is an ordinary Tower
//! layer. A time-out is not needed, and does harm; see
//! [the guide](crate::guide::endpoints#time-outs-and-other-layers).

mod answer;
mod breaker;
mod credential;
#[cfg(any(feature = "reqwest", feature = "transport"))]
mod dead_peer;
mod dialect;
mod discovery;
mod error;
mod exchange;
mod fields;
#[cfg(any(feature = "reqwest", feature = "transport"))]
mod heads;
mod json;
mod no_proxy;
mod oauth2;
#[cfg(feature = "transport")]
mod proxy;
mod reader;
#[cfg(feature = "reqwest")]
mod reqwest;
mod response;
mod secrets;
mod text;
#[cfg(feature = "transport")]
mod transport;
#[cfg(feature = "transport")]
mod tunnel;
mod unsent;
mod url;
mod verdict;

pub use self::{
    breaker::{Breaker, BreakerLayer},
    credential::Credential,
    error::{EndpointError, FailureClass, Spent},
    json::{JsonEndpoint, Place},
    oauth2::{OAuth2Client, OAuth2Endpoint, OAuth2Revocation},
    response::TokenResponse,
    url::EndpointUrl,
};

#[cfg(feature = "reqwest")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest")))]
pub use self::reqwest::ReqwestTransport;

pub(crate) use self::verdict::{says_in_progress, says_reuse};

use std::{any::Any, borrow::Cow};

use crate::token::{IssuedFor, RefreshToken};

/// The host and port of a ready-made endpoint; `None` for any other, and for one inside layers.
pub(crate) fn host_of(service: &dyn Any) -> Option<String> {
    let url = if let Some(endpoint) = service.downcast_ref::<JsonEndpoint>() {
        endpoint.url()
    } else if let Some(endpoint) = service.downcast_ref::<OAuth2Endpoint>() {
        endpoint.url()
    } else {
        service.downcast_ref::<OAuth2Revocation>()?.url()
    };
    url.host()
}

/// What a session asks of its token endpoint.
#[derive(Clone, Debug, Default)]
pub struct RefreshRequest {
    refresh_token: Option<RefreshToken>,
    /// Which session of this process asks; `None` for a call by hand.
    session: Option<u64>,
    has_worked: bool,
    scheme: Option<Cow<'static, str>>,
    /// By all its names, the present one first.
    issued_for: Vec<IssuedFor>,
}

impl RefreshRequest {
    /// Asks for a new access token, with the refresh token if there is one.
    pub fn new(refresh_token: Option<RefreshToken>) -> Self {
        Self { refresh_token, ..Self::default() }
    }

    pub(crate) fn of_session(self, session: u64) -> Self {
        Self { session: Some(session), ..self }
    }

    pub(crate) fn session(&self) -> Option<u64> {
        self.session
    }

    /// Says that the endpoint has issued tokens to this identity before. Defaults to no.
    ///
    /// What is not in the endpoint's protocol then is a fault that passes, as of a firewall in front
    /// of it; at an endpoint that has never worked it is a fault of configuration, as a wrong URL.
    #[must_use]
    pub fn with_history(mut self, has_worked: bool) -> Self {
        self.has_worked = has_worked;
        self
    }

    /// Names the scheme that the access token will be sent with, if that is not `Bearer`.
    pub(crate) fn with_scheme(mut self, scheme: Option<Cow<'static, str>>) -> Self {
        self.scheme = scheme;
        self
    }

    /// Whether the endpoint has issued tokens to this identity before, as far as is known.
    pub fn has_worked(&self) -> bool {
        self.has_worked
    }

    /// Says whom the refresh token was issued for. Defaults to nothing said.
    #[must_use]
    pub fn with_issued_for(mut self, issued_for: IssuedFor) -> Self {
        self.issued_for.push(issued_for);
        self
    }

    /// Whom the refresh token was issued for, if the store says so and the session has not compared
    /// it: it does not know whom an endpoint inside layers is for, unless
    /// [`SessionBuilder::issuer`](crate::SessionBuilder::issuer) says so.
    pub fn issued_for(&self) -> Option<&IssuedFor> {
        self.issued_for.first()
    }

    /// An error, for the session, if the refresh token was issued for another than `ours`. The
    /// ready-made endpoints ask this before they send anything.
    ///
    /// # Errors
    ///
    /// An [`EndpointError`] that becomes
    /// [`ErrorKind::ForeignRecord`](crate::ErrorKind::ForeignRecord).
    pub fn check(&self, ours: &IssuedFor) -> Result<(), EndpointError> {
        match self.issued_for() {
            Some(theirs) if !self.issued_for.iter().any(|name| name.is_same(ours)) => {
                let message = "the refresh token was issued for another";
                Err(EndpointError::misconfigured(message).with_source(ours.foreign(theirs)))
            }
            _ => Ok(()),
        }
    }

    /// The refresh token to send. `None` if the session has none: a grant that needs one answers
    /// [`EndpointError::invalid_grant`] and sends nothing; `client_credentials` needs none.
    pub fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }
}

/// What a session asks of its revocation endpoint when a user logs out (RFC 7009).
#[derive(Clone, Debug)]
pub struct RevokeRequest {
    refresh_token: RefreshToken,
}

impl RevokeRequest {
    /// Asks to end what this refresh token stands for.
    pub fn new(refresh_token: RefreshToken) -> Self {
        Self { refresh_token }
    }

    /// The newest refresh token there is; with it the server ends the whole grant.
    pub fn refresh_token(&self) -> &RefreshToken {
        &self.refresh_token
    }
}
