//! What a request through the layer is measured against, and the API behind all of them.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    hint::black_box,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header::AUTHORIZATION};
use http_body_util::Full;
use tokio::{
    runtime::{self, Runtime},
    sync::Mutex,
    time::Instant,
};
use tower::{Service, retry::Retry};
use tower_http::auth::AddAuthorization;
use tower_layer::Layer;
use tower_refresh::{Refresh, RefreshLayer, Session, Tokens, testing::GatedEndpoint};

pub(crate) type Body = Full<Bytes>;

/// What is sent.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) headers: usize,
    pub(crate) body: usize,
    pub(crate) token: usize,
}

/// A GET as small as they come.
pub(crate) const SMALL: Shape = Shape { name: "small", headers: 0, body: 0, token: 200 };

/// A POST as services send them.
pub(crate) const USUAL: Shape = Shape { name: "usual", headers: 4, body: 1024, token: 1200 };

pub(crate) const SHAPES: [Shape; 2] = [SMALL, USUAL];

impl Shape {
    /// Makes requests of this shape: as a caller would, and the same for all who are compared.
    pub(crate) fn requests(self) -> impl Fn() -> Request<Body> + Clone + Send + 'static {
        let body = Bytes::from(vec![b'x'; self.body]);
        let names = ["accept", "content-type", "user-agent", "x-request-id"];
        let names = names.map(HeaderName::from_static);
        let value = HeaderValue::from_static("application/json");
        let uri = Uri::from_static("https://api.example.com/orders");
        move || {
            let mut request = Request::new(Full::new(body.clone()));
            *request.uri_mut() = uri.clone();
            for name in &names[..self.headers] {
                request.headers_mut().insert(name.clone(), value.clone());
            }
            request
        }
    }

    pub(crate) fn token(self) -> String {
        "t".repeat(self.token)
    }
}

/// An API that answers at once and does nothing else.
#[derive(Clone)]
pub(crate) struct Bare;

impl Service<Request<Body>> for Bare {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        drop(request);
        ready(Ok(Response::new(())))
    }
}

/// A token that never expires and is never refused.
pub(crate) fn static_header(shape: Shape) -> AddAuthorization<Bare> {
    AddAuthorization::bearer(Bare, &shape.token())
}

/// The same, with Tower's own retry around it: what one needs at least for a 401.
pub(crate) fn retry(shape: Shape) -> Retry<Once, AddAuthorization<Bare>> {
    Retry::new(Once { again: true }, static_header(shape))
}

/// Retries a 401 once.
#[derive(Clone)]
pub(crate) struct Once {
    again: bool,
}

impl<E> tower::retry::Policy<Request<Body>, Response<()>, E> for Once {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _: &mut Request<Body>,
        result: &mut Result<Response<()>, E>,
    ) -> Option<Self::Future> {
        let refused = matches!(result, Ok(r) if r.status() == StatusCode::UNAUTHORIZED);
        (refused && std::mem::take(&mut self.again)).then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        Some(request.clone())
    }
}

/// The first sketch of such a layer: the token and its expiry under an async mutex, which every
/// request takes. It retries nothing.
#[derive(Clone)]
pub(crate) struct NaiveMutex {
    inner: Bare,
    token: Arc<Mutex<(HeaderValue, Instant)>>,
}

pub(crate) fn naive_mutex(shape: Shape) -> NaiveMutex {
    let value = HeaderValue::try_from(format!("Bearer {}", shape.token())).expect("visible ASCII");
    let expires_at = Instant::now() + AN_HOUR;
    NaiveMutex { inner: Bare, token: Arc::new(Mutex::new((value, expires_at))) }
}

impl Service<Request<Body>> for NaiveMutex {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<()>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let (mut inner, token) = (self.inner.clone(), self.token.clone());
        Box::pin(async move {
            let token = token.lock().await;
            assert!(Instant::now() < token.1, "the token lives longer than the bench");
            request.headers_mut().insert(AUTHORIZATION, token.0.clone());
            drop(token);
            inner.call(request).await
        })
    }
}

/// The layer of this crate, with a token that is fresh.
pub(crate) fn fresh(shape: Shape) -> Refresh<Bare> {
    let session = Session::builder(GatedEndpoint::new()).initial_tokens(tokens(shape)).build();
    RefreshLayer::new(session).layer(Bare)
}

/// The same while a refresh is under way, for as long as the runtime lives.
pub(crate) fn refreshing(shape: Shape) -> (Refresh<Bare>, Runtime) {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
    let runtime = runtime.expect("a thread can be started");
    let endpoint = GatedEndpoint::new();
    let session = Session::builder(endpoint.clone())
        .initial_tokens(tokens(shape))
        .attempt_timeout(AN_HOUR)
        .runtime(runtime.handle().clone())
        .build();
    let (hold, refreshed) = (endpoint.hold(), session.clone());
    runtime.spawn(async move {
        let _hold = hold;
        refreshed.refresh().await
    });
    while endpoint.in_flight() == 0 {
        std::thread::yield_now();
    }
    (RefreshLayer::new(session).layer(Bare), runtime)
}

fn tokens(shape: Shape) -> Tokens {
    let tokens = Tokens::new(shape.token()).expect("visible ASCII");
    tokens.with_expires_at(SystemTime::now() + AN_HOUR)
}

/// Longer than any of this takes.
const AN_HOUR: Duration = Duration::from_secs(60 * 60);

/// One request, from readying the service to the answer.
pub(crate) fn send<S>(service: &mut S, request: Request<Body>)
where
    S: Service<Request<Body>, Response = Response<()>>,
{
    let mut cx = Context::from_waker(Waker::noop());
    let ready = service.poll_ready(&mut cx);
    assert!(matches!(ready, Poll::Ready(Ok(()))), "it is always ready");
    let mut answer = pin!(service.call(request));
    // Only a mutex that another thread holds makes it wait, and then not for long.
    loop {
        match answer.as_mut().poll(&mut cx) {
            Poll::Ready(answer) => return drop(black_box(answer.ok().expect("it answers"))),
            Poll::Pending => std::hint::spin_loop(),
        }
    }
}
