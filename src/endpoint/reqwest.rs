//! reqwest as the HTTP client of token endpoints.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use reqwest::{Body, Client, ClientBuilder, redirect, retry};
use tower_service::Service;

use super::{dead_peer, heads};
use crate::error::{BoxError, Error, ErrorKind};

/// reqwest as the HTTP client of a token endpoint, for its proxies, its TLS or its resolver.
///
/// ```no_run
/// # fn doc() -> Result<(), tower_refresh::BoxError> {
/// use tower_refresh::endpoint::{JsonEndpoint, ReqwestTransport};
///
/// let proxy = reqwest::Proxy::https("https://proxy.example.com")?;
/// let transport = ReqwestTransport::new(reqwest::Client::builder().proxy(proxy))?;
/// let endpoint = JsonEndpoint::freddy().transport(transport);
/// # Ok(())
/// # }
/// ```
///
/// It is made from a builder, as a finished client cannot be told what a refresh token needs:
///
/// - no redirect is followed: a 307 or 308 would post the refresh token to the host that it names;
/// - no call is sent twice, and each gets a connection of its own: one that the server closes
///   while it is reused leaves open whether the token was spent;
/// - odd lines in the head of an answer are left out, as browsers do, and there may be many;
/// - a peer that is gone without a word ends the call after some ten seconds (TCP keep-alive, and
///   `TCP_USER_TIMEOUT` where the system has it), in place of what the builder says of these.
///
/// Leave the builder's `timeout` and `read_timeout` alone. They would give up a call whose answer
/// is still on its way, and the refresh token would be presented once more. The session has a limit
/// of its own, and goes on listening for the answer where a refresh token may have been spent.
///
/// A connection that never came to be counts as [not spent](super::Spent::No); so
/// give the builder a `connect_timeout` that is shorter than the session's time-out, which cannot
/// tell. The endpoint alone decides what it talks to: [`EndpointUrl`](super::EndpointUrl) says
/// which URLs will do.
///
/// reqwest takes proxies from the environment too, and what goes to plain http they can read: for
/// an endpoint on loopback, tell the builder `no_proxy()`.
#[derive(Clone)]
pub struct ReqwestTransport {
    client: Client,
}

impl ReqwestTransport {
    /// Builds the client. All other settings of `builder` stay as they are.
    ///
    /// # Errors
    ///
    /// Those of [`ClientBuilder::build`]: no TLS, or no resolver.
    pub fn new(builder: ClientBuilder) -> Result<Self, Error> {
        let builder = builder
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .pool_max_idle_per_host(0)
            // Safe only because no connection is used twice: see `heads`.
            .http1_max_headers(heads::MOST_LINES)
            .http1_ignore_invalid_headers_in_responses(true)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .http1_allow_spaces_after_header_name_in_responses(true)
            .tcp_keepalive(dead_peer::KEEP_ALIVE_IDLE)
            .tcp_keepalive_interval(dead_peer::KEEP_ALIVE_INTERVAL)
            .tcp_keepalive_retries(dead_peer::KEEP_ALIVE_PROBES);
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        let builder = builder.tcp_user_timeout(dead_peer::UNACKNOWLEDGED);
        let client = builder.build();
        let message = "the HTTP client of the token endpoint cannot be built";
        let client =
            client.map_err(|error| Error::with_source(ErrorKind::InvalidInput, message, error))?;
        Ok(Self { client })
    }
}

impl Service<Request<Full<Bytes>>> for ReqwestTransport {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let call = reqwest::Request::try_from(request.map(Body::wrap))
            .map(|request| self.client.execute(request));
        Box::pin(async move {
            let answer = match call {
                Ok(call) => call.await,
                Err(error) => Err(error),
            };
            // Its query may hold a key.
            Ok(answer.map_err(reqwest::Error::without_url)?.into())
        })
    }
}

impl fmt::Debug for ReqwestTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its default headers may hold a key.
        f.debug_struct("ReqwestTransport").finish_non_exhaustive()
    }
}
