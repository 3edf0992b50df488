//! The client under the layer, and what counts between them.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use http::{Request, Response, StatusCode, uri::Scheme};
use http_body::{Frame, SizeHint};
use http_body_util::{Either, Full, StreamBody};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_platform_verifier::BuilderVerifierExt;
use tower::{Layer, Service};
use tower_refresh::{
    BoxError,
    replay::{Backup, Replay, ReplayBody},
};

use crate::timeline::Timeline;

/// Whole, or a stream that the layer records while it is sent.
///
/// A type of its own, as the compiler cannot prove that a task is `Send` if there is a `dyn` among
/// the parameters of the types in it.
pub(crate) struct Body(Either<Full<Bytes>, ReplayBody<Chunks>>);

type Chunks = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

const CHUNK: usize = 16 * 1024;

/// HTTP/1.1 and HTTP/2, as the server prefers.
pub(crate) fn https_or_http(
    scheme: Option<&Scheme>,
) -> Result<Client<HttpsConnector<HttpConnector>, Body>, BoxError> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?;
    // A server on loopback can be tried on a machine that has no roots.
    let tls = match scheme == Some(&Scheme::HTTP) {
        true => tls.with_root_certificates(RootCertStore::empty()),
        false => tls.with_platform_verifier()?,
    };
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls.with_no_client_auth())
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(http);
    Ok(Client::builder(TokioExecutor::new()).build(https))
}

impl Body {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self(Either::Left(Full::new(bytes)))
    }

    pub(crate) fn streamed(bytes: Bytes) -> Self {
        let chunks = stream::unfold(bytes, |mut left| async {
            let chunk = left.split_to(left.len().min(CHUNK));
            (!chunk.is_empty()).then(|| (Ok(Frame::data(chunk)), left))
        });
        Self(Either::Right(ReplayBody::new(StreamBody::new(chunks.boxed()))))
    }
}

impl Replay for Body {
    fn backup(&mut self) -> Backup<Self> {
        self.0.backup().map(Self)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// Notes each 401, also of requests that are well in the end. Goes below the `RefreshLayer`.
pub(crate) fn note_refusals<B>(
    timeline: Arc<Timeline>,
) -> impl Fn(Response<B>) -> Response<B> + Clone {
    move |response| {
        if response.status() == StatusCode::UNAUTHORIZED {
            timeline.refused();
        }
        response
    }
}

/// A request's own mark. The layer above copies a request's extensions for the retry, so both
/// sendings carry the same one.
#[derive(Clone, Default)]
pub(crate) struct Sent(Arc<AtomicBool>);

/// Counts the requests that were sent a second time. Goes below the `RefreshLayer`.
#[derive(Clone, Default)]
pub(crate) struct CountRetries(Arc<AtomicU64>);

impl CountRetries {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl<S> Layer<S> for CountRetries {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Counting<S> {
        Counting { inner, retries: self.0.clone() }
    }
}

#[derive(Clone)]
pub(crate) struct Counting<S> {
    inner: S,
    retries: Arc<AtomicU64>,
}

impl<S, B> Service<Request<B>> for Counting<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        let sent = request.extensions().get::<Sent>();
        if sent.is_some_and(|sent| sent.0.swap(true, Relaxed)) {
            self.retries.fetch_add(1, Relaxed);
        }
        self.inner.call(request)
    }
}
