//! The HTTP client that token endpoints use unless they are given another: hyper and rustls.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, Uri, uri::Scheme};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, ResponseFuture, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::runtime::Handle;
use tower_service::Service;

use super::error::EndpointError;
use crate::error::BoxError;

/// An address that takes longer does not answer at all. A connection given up here is known to
/// have sent nothing, which a time-out around the whole call could not tell.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

type HttpsClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// HTTP/1.1 over TLS with the platform's roots. It follows no redirects: a 307 would post the
/// refresh token to whoever it names.
#[derive(Default)]
pub(super) struct DefaultTransport {
    /// Made at the first call, as reading the platform's roots takes milliseconds and may fail.
    client: Option<HttpsClient>,
}

impl DefaultTransport {
    fn send(&mut self, request: Request<Full<Bytes>>) -> Result<ResponseFuture, EndpointError> {
        // The resolver would panic.
        if Handle::try_current().is_err() {
            return Err(EndpointError::rejected(
                "the token endpoint's HTTP client was called outside of a Tokio runtime",
            ));
        }
        let client = match &self.client {
            Some(client) => client,
            None => self.client.insert(client(request.uri())?),
        };
        Ok(client.request(request))
    }
}

impl Service<Request<Full<Bytes>>> for DefaultTransport {
    type Response = Response<hyper::body::Incoming>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let response = self.send(request);
        Box::pin(async move { Ok(response?.await?) })
    }
}

fn client(uri: &Uri) -> Result<HttpsClient, EndpointError> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let tls = tls(uri).map_err(|error| {
        EndpointError::rejected(
            "the platform has no root certificates to check the token endpoint's with: install \
             them (`ca-certificates`), or give it another client with `transport`",
        )
        .with_source(error)
    })?;
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    Ok(Client::builder(TokioExecutor::new())
        // Refreshes are minutes apart, and servers close idle connections without a word. A
        // request that runs into such a close may have spent the refresh token, so every call
        // gets a connection of its own and is never sent twice.
        .pool_max_idle_per_host(0)
        .retry_canceled_requests(false)
        .build(https))
}

/// The crypto provider is named, never the process's default: which that is, and whether there
/// is one, depends on every other crate in the program.
fn tls(uri: &Uri) -> Result<ClientConfig, rustls::Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?;
    // A sidecar on loopback should not need a platform with roots; an empty store trusts nobody.
    let config = match uri.scheme() == Some(&Scheme::HTTP) {
        true => config.with_root_certificates(RootCertStore::empty()),
        false => config.with_platform_verifier()?,
    };
    Ok(config.with_no_client_auth())
}
