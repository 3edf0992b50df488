//! Servers that remember what they got, and the two ways to put a layer in front of reqwest.

use std::{
    convert::Infallible,
    future::Future,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rcgen::CertificateParams;
use reqwest::Body;
use reqwest_middleware::ClientWithMiddleware;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use tower::{ServiceBuilder, ServiceExt};
use tower_refresh::{BoxError, RefreshLayer, Session, SessionBuilder, testing::GatedEndpoint};
use tower_reqwest::HttpClientLayer;

pub(crate) use crate::support::in_time;

/// How a layer gets in front of reqwest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Through {
    Middleware,
    Tower,
}

pub(crate) const EITHER: [Through; 2] = [Through::Middleware, Through::Tower];

/// A response that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Through {
    pub(crate) async fn send(
        self,
        layer: &RefreshLayer,
        request: Request<Body>,
    ) -> Result<Answer, BoxError> {
        self.send_by(client().build()?, layer, request).await
    }

    pub(crate) async fn send_by(
        self,
        client: reqwest::Client,
        layer: &RefreshLayer,
        request: Request<Body>,
    ) -> Result<Answer, BoxError> {
        in_time(async {
            match self {
                Self::Middleware => {
                    let request = reqwest::Request::try_from(request)?;
                    let response = with(client, layer).execute(request).await?;
                    Ok(Answer { status: response.status(), body: response.bytes().await? })
                }
                Self::Tower => {
                    let client = ServiceBuilder::new()
                        .layer(layer.clone())
                        .layer(HttpClientLayer)
                        .service(client);
                    let response = client.oneshot(request).await?;
                    let status = response.status();
                    Ok(Answer { status, body: response.into_body().collect().await?.to_bytes() })
                }
            }
        })
        .await
    }
}

pub(crate) fn with(client: reqwest::Client, layer: &RefreshLayer) -> ClientWithMiddleware {
    reqwest_middleware::ClientBuilder::new(client).with(layer.clone()).build()
}

/// reqwest with ring, as its own provider is not compiled in.
pub(crate) fn client() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy()
}

/// A session with the token `seed` that an endpoint in memory renews.
pub(crate) fn seeded() -> (GatedEndpoint, Session) {
    let (endpoint, builder) = seed();
    (endpoint, builder.build())
}

/// The same, with tokens that are for this origin only.
pub(crate) fn seeded_for(origin: &str) -> (GatedEndpoint, Session) {
    let (endpoint, builder) = seed();
    (endpoint, builder.origins([origin.parse().unwrap()]).build())
}

fn seed() -> (GatedEndpoint, SessionBuilder) {
    let endpoint = GatedEndpoint::new();
    let tokens = crate::support::seed();
    (endpoint.clone(), Session::builder(endpoint).initial_tokens(tokens))
}

pub(crate) fn post(url: &str) -> Request<Body> {
    Request::post(url).body(Body::from("an order")).unwrap()
}

pub(crate) fn answer(status: u16) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::default()).unwrap()
}

/// Refuses the token `seed`, with something to read.
pub(crate) fn refuse_seed(request: &Request<Bytes>) -> Response<Full<Bytes>> {
    match value(request, "authorization") {
        "Bearer seed" => answer(401).map(|_| "try another".into()),
        _ => answer(200),
    }
}

pub(crate) fn value<'a, B>(request: &'a Request<B>, header: &str) -> &'a str {
    request.headers().get(header).map_or("", |value| value.to_str().unwrap())
}

/// A server of the test's own, over both versions of HTTP, and what it got.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Request<Bytes>>>>,
}

impl Server {
    pub(crate) async fn start<F>(answer: F) -> Self
    where
        F: Fn(&Request<Bytes>) -> Response<Full<Bytes>> + Clone + Send + Sync + 'static,
    {
        Self::start_async(move |request| {
            let answer = answer(&request);
            async { answer }
        })
        .await
    }

    pub(crate) async fn start_async<F, A>(answer: F) -> Self
    where
        F: Fn(Request<Bytes>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        Self::listen("http://127.0.0.1", None, answer).await
    }

    /// Over TLS, at `https://localhost`.
    pub(crate) async fn start_tls<F>(tls: &Tls, answer: F) -> Self
    where
        F: Fn(&Request<Bytes>) -> Response<Full<Bytes>> + Clone + Send + Sync + 'static,
    {
        let answer = move |request: Request<Bytes>| {
            let answer = answer(&request);
            async { answer }
        };
        Self::listen("https://localhost", Some(tls.acceptor.clone()), answer).await
    }

    async fn listen<F, A>(host: &str, tls: Option<TlsAcceptor>, answer: F) -> Self
    where
        F: Fn(Request<Bytes>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{host}:{}", listener.local_addr().unwrap().port());
        let server = Self { url, seen: Arc::default() };
        let seen = server.seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, seen, answer) = (tls.clone(), seen.clone(), answer.clone());
                tokio::spawn(async move {
                    match tls {
                        None => connection(stream, seen, answer).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                connection(stream, seen, answer).await;
                            }
                        }
                    }
                });
            }
        });
        server
    }

    pub(crate) fn seen(&self) -> Vec<Request<Bytes>> {
        self.seen.lock().unwrap().clone()
    }

    /// That header of each request, in order.
    pub(crate) fn values(&self, header: &str) -> Vec<String> {
        self.seen().iter().map(|request| value(request, header).to_owned()).collect()
    }
}

async fn connection<S, F, A>(stream: S, seen: Arc<Mutex<Vec<Request<Bytes>>>>, answer: F)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Bytes>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (seen, answer) = (seen.clone(), answer.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let request = Request::from_parts(head, body);
            seen.lock().unwrap().push(request.clone());
            Ok::<_, Infallible>(answer(request).await)
        }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// A certificate for `localhost` that this test alone trusts.
pub(crate) struct Tls {
    pub(crate) certificate: CertificateDer<'static>,
    acceptor: TlsAcceptor,
}

impl Tls {
    pub(crate) fn new() -> Self {
        Self::of(CertificateParams::new(["localhost".to_owned()]).unwrap())
    }

    pub(crate) fn of(certificate: CertificateParams) -> Self {
        Self::asking(certificate, None)
    }

    /// A server that asks its clients for a certificate with this root.
    pub(crate) fn asking(
        certificate: CertificateParams,
        clients: Option<CertificateDer<'static>>,
    ) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = certificate.self_signed(&key).unwrap().der().clone();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(root) => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(root).unwrap();
                let clients =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                config.with_client_cert_verifier(clients.build().unwrap())
            }
        };
        let mut config = config.with_single_cert(vec![certificate.clone()], key.into()).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self { certificate, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }

    /// As reqwest wants it.
    pub(crate) fn root(&self) -> reqwest::Certificate {
        reqwest::Certificate::from_der(&self.certificate).unwrap()
    }
}
