//! The HTTP client that token endpoints use unless they are given another: hyper and rustls.

use std::{
    error::Error as StdError,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, uri::Scheme};
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{
        Client, ResponseFuture,
        connect::{Connect, HttpConnector},
    },
    rt::TokioExecutor,
};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, Error as TlsError, crypto::CryptoProvider,
};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::{runtime::Handle, time::timeout};
use tower_service::Service;

use super::{
    dead_peer,
    error::{EndpointError, IS_IT_UP},
    heads,
    no_proxy::NoProxy,
    proxy::{self, Route},
    tunnel::{Refused, Tunnel},
};
use crate::error::{BoxError, chain};

/// What takes longer does not answer at all. A connection given up here is known to have sent
/// nothing, which a time-out around the whole call could not tell.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// HTTP/1.1 over TLS with the platform's roots. It follows no redirects: a 307 would post the
/// refresh token to the server that it names.
#[derive(Clone, Copy, Debug)]
pub(super) struct DefaultTransport;

impl Service<Request<Full<Bytes>>> for DefaultTransport {
    type Response = Response<hyper::body::Incoming>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let response = send(request);
        Box::pin(async move { Ok(response?.await?) })
    }
}

/// Every call has a client of its own: there is nothing in one that a second call could use.
fn send(request: Request<Full<Bytes>>) -> Result<ResponseFuture, EndpointError> {
    // The resolver would panic.
    if Handle::try_current().is_err() {
        return Err(EndpointError::misconfigured(
            "the token endpoint's HTTP client was called outside of a Tokio runtime",
        ));
    }
    let may_use_a_proxy = request.extensions().get::<NoProxy>().is_none();
    let route = proxy::route(request.uri(), may_use_a_proxy)?;
    let http = connector();
    // A sidecar on loopback needs neither a platform with roots nor a crypto provider.
    if request.uri().scheme() == Some(&Scheme::HTTP) {
        return Ok(client(http, route).request(request));
    }
    let tls = tls()?;
    let Route::Through(proxy) = &route else {
        let mut https = HttpsConnector::from((http, tls));
        https.enforce_https();
        return Ok(client(https, route).request(request));
    };
    // The proxy may itself be spoken to over TLS.
    let tunnel = Tunnel::new(HttpsConnector::from((http, tls.clone())), proxy.clone());
    let mut https = HttpsConnector::from((tunnel, tls));
    https.enforce_https();
    Ok(client(https, route).request(request))
}

fn connector() -> HttpConnector {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    // Divided among the addresses of a name, so that a dead one leaves time for the others.
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    http.set_keepalive(Some(dead_peer::KEEP_ALIVE_IDLE));
    http.set_keepalive_interval(Some(dead_peer::KEEP_ALIVE_INTERVAL));
    http.set_keepalive_retries(Some(dead_peer::KEEP_ALIVE_PROBES));
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    http.set_tcp_user_timeout(Some(dead_peer::UNACKNOWLEDGED));
    http
}

/// A client that uses no connection twice.
///
/// Refreshes are minutes apart, and servers close idle connections without a word: a request that
/// runs into such a close may have spent the refresh token. And because a connection ends with its
/// one answer, whatever is left unread on it (an answer over the cap, bytes after the body) can
/// never be taken for the answer to another call.
fn client<C>(connector: C, route: Route) -> Client<InTime<C>, Full<Bytes>>
where
    InTime<C>: Connect + Clone,
{
    let mut client = Client::builder(TokioExecutor::new());
    client.pool_max_idle_per_host(0).retry_canceled_requests(false);
    // Safe only because no connection is used twice: see `heads`.
    client
        .http1_max_headers(heads::MOST_LINES)
        .http1_ignore_invalid_headers_in_responses(true)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_allow_spaces_after_header_name_in_responses(true);
    client.build(InTime { connector, route })
}

/// Gives up a connection that does not come to be in time: its name, its address and its handshake
/// together, any of which a broken network may leave without an answer. Says which way it was to
/// go.
#[derive(Clone)]
struct InTime<C> {
    connector: C,
    route: Route,
}

impl<C> Service<Uri> for InTime<C>
where
    C: Service<Uri, Error: Into<BoxError>, Future: Send + 'static>,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connection = timeout(CONNECT_TIMEOUT, self.connector.call(uri));
        let route = self.route.clone();
        Box::pin(async move {
            let source = match connection.await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => error.into(),
                Err(elapsed) => elapsed.into(),
            };
            Err(Unconnected { route, source }.into())
        })
    }
}

/// A connection that did not come to be, and the way that it was to go.
#[derive(Debug)]
struct Unconnected {
    route: Route,
    source: BoxError,
}

impl fmt::Display for Unconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no connection")
    }
}

impl StdError for Unconnected {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}

/// The one TLS configuration of the process, for all endpoints. To read the platform's roots takes
/// milliseconds, and they and the provider may come later, so a failure is not remembered.
fn tls() -> Result<Arc<ClientConfig>, EndpointError> {
    static SHARED: Mutex<Option<Arc<ClientConfig>>> = Mutex::new(None);

    made_once(&SHARED, new_tls)
}

fn made_once<T, E>(
    slot: &Mutex<Option<Arc<T>>>,
    make: impl FnOnce() -> Result<T, E>,
) -> Result<Arc<T>, E> {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    match &*slot {
        Some(made) => Ok(made.clone()),
        None => Ok(slot.insert(Arc::new(make()?)).clone()),
    }
}

fn new_tls() -> Result<ClientConfig, EndpointError> {
    let installed = CryptoProvider::get_default().cloned();
    let provider = installed.or_else(of_a_feature).ok_or_else(no_provider)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| {
            EndpointError::misconfigured(
                "the crypto provider that this program has installed speaks no version of TLS \
                 that rustls offers by default: install another, or give the token endpoint \
                 another client with `transport`",
            )
            .with_source(error)
        })?;
    let config = config.with_platform_verifier().map_err(|error| {
        EndpointError::misconfigured(
            "the platform has no root certificates to check the token endpoint's with: install \
             them (`ca-certificates`), or give it another client with `transport`",
        )
        .with_source(error)
    })?;
    Ok(config.with_no_client_auth())
}

/// The provider that a feature of this crate brings along. rustls itself would choose only where
/// no other crate has turned on another, and panic elsewhere.
fn of_a_feature() -> Option<Arc<CryptoProvider>> {
    #[cfg(feature = "ring")]
    return Some(Arc::new(rustls::crypto::ring::default_provider()));
    #[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
    return Some(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    #[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
    None
}

fn no_provider() -> EndpointError {
    EndpointError::misconfigured(
        "there is no crypto provider for TLS: turn on tower-refresh's feature `ring` or \
         `aws-lc-rs`, or install one at the start of `main` with \
         `CryptoProvider::install_default`",
    )
}

/// What to do about a connection that did not come to be; `None` if that is not what `error` is
/// about. Proxies are named in it, whether they were used or not.
pub(super) fn hint(error: &(dyn StdError + 'static)) -> Option<String> {
    let Some(unconnected) = chain(error).find_map(|error| error.downcast_ref::<Unconnected>())
    else {
        return mend_tls(error).map(str::to_owned);
    };
    let refused = chain(error).find_map(|error| error.downcast_ref::<Refused>());
    Some(match (&unconnected.route, refused, mend_tls(error)) {
        (Route::Through(proxy), Some(Refused(StatusCode::PROXY_AUTHENTICATION_REQUIRED)), _) => {
            format!(
                "the proxy {proxy} wants a user name and a password, as http://user:password@host"
            )
        }
        (Route::Through(proxy), Some(Refused(status)), _) => {
            let status = status.as_u16();
            format!("the proxy {proxy} answered {status}: does it let this host through?")
        }
        (Route::Through(proxy), None, Some(hint)) => format!("{hint}; through the proxy {proxy}"),
        (Route::Through(proxy), None, None) => {
            format!("is the proxy {proxy} up, and are its host and port right?")
        }
        (Route::Direct(unused), _, hint) => {
            let hint = hint.unwrap_or(IS_IT_UP);
            match unused {
                Some(unused) => format!("{hint} ({unused})"),
                None => hint.to_owned(),
            }
        }
    })
}

/// What to do about a handshake that failed; `None` if that is not what `error` is about.
fn mend_tls(error: &(dyn StdError + 'static)) -> Option<&'static str> {
    use AlertDescription as Alert;
    use CertificateError as Certificate;
    let error = chain(error).find_map(|error| error.downcast_ref::<TlsError>())?;
    Some(match error {
        TlsError::InvalidCertificate(
            Certificate::Expired
            | Certificate::ExpiredContext { .. }
            | Certificate::NotValidYet
            | Certificate::NotValidYetContext { .. },
        ) => "its certificate is not valid at this time: is this machine's clock right?",
        TlsError::InvalidCertificate(
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
        ) => "its certificate is that of another host: is its URL right?",
        TlsError::InvalidCertificate(_) => {
            "its certificate is not trusted here: install the root that has signed it, or give it \
             another client with `transport` (the guide's chapter `networks` shows how)"
        }
        // In TLS 1.3 it comes when the handshake is over for us.
        TlsError::AlertReceived(
            Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied,
        ) => {
            "it wants a client certificate that it knows: give it a client that has one with \
             `transport`"
        }
        TlsError::InvalidMessage(_) => "it answers, but not in TLS: is its URL right?",
        TlsError::AlertReceived(_) | TlsError::PeerIncompatible(_) => {
            "it refuses TLS as this client speaks it: give it another client with `transport`"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_endpoints_share_one_tls_configuration() {
        let first = tls().expect("roots and a provider");
        assert!(Arc::ptr_eq(&first, &tls().expect("the same")));
    }

    #[test]
    fn what_could_not_be_made_is_tried_again_and_made_once() {
        let slot = Mutex::new(None);
        assert_eq!(made_once(&slot, || Err::<u8, _>("no roots")), Err("no roots"));
        let first = made_once(&slot, || Ok::<_, ()>(1)).unwrap();
        assert!(Arc::ptr_eq(&first, &made_once(&slot, || Ok::<_, ()>(2)).unwrap()));
    }
}
