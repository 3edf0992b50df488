use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use super::OAuth2Client;
use crate::{
    endpoint::{
        EndpointError, RevokeRequest,
        credential::{read_again, read_all},
        discovery::Wanted,
        exchange::{Call, Exchange, with_retry_after},
        url::EndpointUrl,
        verdict::{self, Asked, Protocol},
    },
    error::{BoxError, Error},
    token::{RefreshToken, Secret},
};

/// A revocation endpoint (RFC 7009): tells the server of a log-out.
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

    /// Lets the default HTTP client use no proxy; see
    /// [`OAuth2Endpoint::no_proxy`](super::OAuth2Endpoint::no_proxy).
    pub fn no_proxy(mut self) -> Self {
        self.exchange.no_proxy();
        self
    }

    async fn run(mut self, token: RefreshToken) -> Result<(), EndpointError> {
        let mut read = self.read().await?;
        let mut is_first = true;
        let by_tls = self.client.is_by_tls();
        let uri = self.exchange.uri(Wanted::Revocation { by_tls }, true).await?;
        loop {
            let secret = read.first();
            let mut secrets = self.exchange.secrets();
            secrets.add(token.expose());
            self.client.hide(secret, &mut secrets);
            let mut pairs = vec![("token", token.expose()), ("token_type_hint", "refresh_token")];
            pairs.extend(self.client.params(secret, false));
            let call = Call::form(&pairs).authorized(self.client.authorization(secret));
            let answer = self.exchange.send(uri.clone(), call, &verdict::is_refusal).await?;
            if answer.status.is_success() {
                return Ok(());
            }
            let credentials: Vec<_> = self.client.credential().into_iter().collect();
            let replaced = match is_first && answer.status.is_client_error() {
                true => read_again(&credentials, &read).await,
                false => None,
            };
            let Some(replaced) = replaced else {
                // Whatever became of the token, no user has to log in for it.
                let asked =
                    Asked { protocol: Protocol::OAuth2, for_a_person: false, has_worked: false };
                let verdict = verdict::verdict(&answer.refusal(|_| None), asked);
                return Err(with_retry_after(answer.refused(verdict, &secrets), &answer.headers));
            };
            (read, is_first) = (replaced, false);
        }
    }

    async fn read(&self) -> Result<Vec<Secret>, EndpointError> {
        let credentials: Vec<_> = self.client.credential().into_iter().collect();
        read_all(&credentials).await
    }

    pub(in crate::endpoint) fn url(&self) -> &EndpointUrl {
        self.exchange.url()
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
        // What is ready makes the call, and a clone stays behind.
        let behind = self.clone();
        let ready = mem::replace(self, behind);
        Box::pin(ready.run(request.refresh_token().clone()))
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
