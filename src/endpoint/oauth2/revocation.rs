use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;
use zeroize::Zeroizing;

use super::{FORM, OAuth2Client, form};
use crate::{
    endpoint::{
        EndpointError, RevokeRequest,
        exchange::{Exchange, with_retry_after},
        url::EndpointUrl,
        verdict::{self, Asked, Protocol},
    },
    error::{BoxError, Error},
};

/// A revocation endpoint (RFC 7009): tells the server that somebody logged out.
///
/// ```
/// use tower_refresh::{Session, endpoint::{OAuth2Client, OAuth2Endpoint, OAuth2Revocation}};
///
/// let client = OAuth2Client::public("my-desktop-app");
/// let session = Session::builder(OAuth2Endpoint::refresh_token(
///     "https://auth.example.com/token",
///     client.clone(),
/// )?)
/// .revocation(OAuth2Revocation::new("https://auth.example.com/revoke", client)?)
/// .build();
/// # Ok::<(), tower_refresh::Error>(())
/// ```
///
/// A token that the server does not know counts as revoked, as the server answers 200 to it
/// (§2.2).
#[derive(Clone)]
#[must_use = "an endpoint does nothing before a session calls it"]
pub struct OAuth2Revocation {
    exchange: Exchange,
    client: OAuth2Client,
}

impl OAuth2Revocation {
    /// The endpoint at `url`, with the client that the tokens were issued to.
    ///
    /// # Errors
    ///
    /// Those of [`EndpointUrl::parse`].
    pub fn new(
        url: impl TryInto<EndpointUrl, Error: Into<Error>>,
        client: OAuth2Client,
    ) -> Result<Self, Error> {
        let url = url.try_into().map_err(Into::into)?;
        Ok(Self { exchange: Exchange::new(url), client })
    }

    /// Sends the calls through `transport`; see
    /// [`OAuth2Endpoint::transport`](super::OAuth2Endpoint::transport).
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

    fn body(&self, token: &str) -> Zeroizing<Vec<u8>> {
        let mut pairs = vec![("token", token), ("token_type_hint", "refresh_token")];
        pairs.extend(self.client.params());
        form(&pairs)
    }
}

impl Service<RevokeRequest> for OAuth2Revocation {
    type Response = ();
    type Error = EndpointError;
    type Future = Pin<Box<dyn Future<Output = Result<(), EndpointError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), EndpointError>> {
        self.exchange.poll_ready(cx)
    }

    fn call(&mut self, request: RevokeRequest) -> Self::Future {
        let token = request.refresh_token().expose();
        let mut secrets = self.exchange.secrets();
        secrets.add(token);
        self.client.hide(&mut secrets);
        let body = self.body(token);
        let authorization = self.client.authorization();
        let answer = self.exchange.post(FORM, authorization, body, Box::new(verdict::is_refusal));
        Box::pin(async move {
            let answer = answer.await?;
            if answer.status.is_success() {
                return Ok(());
            }
            // Whatever became of the token, no user has to log in for it.
            let asked = Asked { protocol: Protocol::OAuth2, for_a_person: false, has_worked: true };
            let verdict = verdict::verdict(&answer.refusal(|_| None), asked);
            Err(with_retry_after(answer.refused(verdict, &secrets), &answer.headers))
        })
    }
}

impl fmt::Debug for OAuth2Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth2Revocation")
            .field("exchange", &self.exchange)
            .field("client", &self.client)
            .finish()
    }
}
