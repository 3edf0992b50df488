//! The world of a test: an API in memory, a gated token endpoint, and a session between them.

use std::{
    collections::HashSet,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http::{HeaderValue, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full};
use tokio::{
    sync::watch,
    task::{JoinHandle, yield_now},
};
use tower::{Layer, Service, ServiceExt};
use tower_refresh::{
    BoxError, Error, Refresh, RefreshLayer, Session, Tokens,
    testing::{GatedEndpoint, GatedStore},
};

/// An API in memory. It answers 200, or 401 to the tokens that it was told to refuse.
#[derive(Clone)]
pub(crate) struct Api {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    held: watch::Sender<bool>,
    arrived: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    refused: HashSet<String>,
    refuse_all: bool,
    refusal: Option<Response<Full<Bytes>>>,
    seen: Vec<Seen>,
}

/// One request as the API got it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) authorization: Vec<HeaderValue>,
    pub(crate) body: Bytes,
}

impl Seen {
    /// The bearer token, if there is exactly one.
    pub(crate) fn token(&self) -> Option<&str> {
        match self.authorization.as_slice() {
            [only] => only.to_str().ok()?.strip_prefix("Bearer "),
            _ => None,
        }
    }
}

impl Api {
    pub(crate) fn new() -> Self {
        let shared = Shared {
            state: Mutex::default(),
            held: watch::Sender::new(false),
            arrived: watch::Sender::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Answers this token with a 401 from now on.
    pub(crate) fn refuse(&self, token: &str) {
        self.state().refused.insert(token.to_owned());
    }

    /// Answers everything with a 401.
    pub(crate) fn refuse_all(&self) {
        self.state().refuse_all = true;
    }

    /// Changes what a refusal looks like; before, it is a bare 401.
    pub(crate) fn refuse_with(&self, refusal: Response<&'static str>) {
        self.state().refusal = Some(refusal.map(Full::from));
    }

    /// Lets requests arrive and not go on, until `false`.
    pub(crate) fn hold(&self, held: bool) {
        self.shared.held.send_replace(held);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// The bearer tokens of the requests so far, in order.
    pub(crate) fn tokens(&self) -> Vec<String> {
        let token = |seen: &Seen| seen.token().unwrap_or("-").to_owned();
        self.state().seen.iter().map(token).collect()
    }

    pub(crate) async fn arrived(&self, requests: usize) {
        let mut arrived = self.shared.arrived.subscribe();
        arrived.wait_for(|&arrived| arrived >= requests).await.unwrap();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    fn answer(&self, seen: Seen) -> Response<Full<Bytes>> {
        let mut state = self.state();
        let refused = state.refuse_all || seen.token().is_some_and(|t| state.refused.contains(t));
        state.seen.push(seen);
        if !refused {
            return Response::new(Full::from("fine"));
        }
        state.refusal.clone().unwrap_or_else(|| {
            let mut refusal = Response::new(Full::from("refused"));
            *refusal.status_mut() = StatusCode::UNAUTHORIZED;
            refusal
        })
    }
}

impl Service<Request<Full<Bytes>>> for Api {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let api = self.clone();
        async move {
            let authorization = request.headers().get_all(AUTHORIZATION).iter().cloned().collect();
            let body = request.into_body().collect().await?.to_bytes();
            api.shared.arrived.send_modify(|arrived| *arrived += 1);
            let mut held = api.shared.held.subscribe();
            held.wait_for(|&held| !held).await.unwrap();
            Ok(api.answer(Seen { authorization, body }))
        }
        .boxed()
    }
}

/// An API, an endpoint, and the session of a client with a layer around it.
pub(crate) struct World {
    pub(crate) api: Api,
    pub(crate) endpoint: GatedEndpoint,
    pub(crate) session: Session,
    pub(crate) client: Refresh<Api>,
}

impl World {
    /// A session with these tokens and no other settings.
    pub(crate) fn new(tokens: Tokens) -> Self {
        let endpoint = GatedEndpoint::new();
        let session = Session::builder(endpoint.clone()).initial_tokens(tokens).build();
        Self::of(endpoint, session)
    }

    pub(crate) fn of(endpoint: GatedEndpoint, session: Session) -> Self {
        let api = Api::new();
        let client = RefreshLayer::new(session.clone()).layer(api.clone());
        Self { api, endpoint, session, client }
    }

    /// Sends a GET and returns the status.
    pub(crate) async fn get(&self) -> Result<StatusCode, BoxError> {
        get(self.client.clone()).await
    }

    /// The same in a task of its own.
    pub(crate) fn start(&self) -> JoinHandle<Result<StatusCode, BoxError>> {
        tokio::spawn(get(self.client.clone()))
    }
}

/// A process of a fleet over this store, with an API of its own.
pub(crate) fn process(store: &GatedStore, endpoint: &GatedEndpoint) -> World {
    let builder = Session::builder(endpoint.clone()).initial_tokens(expired());
    World::of(endpoint.clone(), builder.store(store.other()).build())
}

pub(crate) async fn get<S>(client: S) -> Result<StatusCode, BoxError>
where
    S: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = BoxError>,
{
    send(client, request("")).await
}

/// Sends a request and returns the status.
pub(crate) async fn send<S>(
    client: S,
    request: Request<Full<Bytes>>,
) -> Result<StatusCode, BoxError>
where
    S: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = BoxError>,
{
    Ok(client.oneshot(request).await?.status())
}

/// The session's error in a request's outcome.
pub(crate) fn error_of(outcome: Result<StatusCode, BoxError>) -> Error {
    Error::find(outcome.unwrap_err().as_ref()).expect("an error of the session").clone()
}

pub(crate) fn request(body: &'static str) -> Request<Full<Bytes>> {
    Request::post("https://api.example.com/v1").body(Full::from(body)).unwrap()
}

/// `seed` and the refresh token `refresh-0`, live for so long.
pub(crate) fn live_for(life: Duration) -> Tokens {
    let tokens = Tokens::new("seed").unwrap().with_refresh_token("refresh-0").unwrap();
    tokens.with_expires_at(std::time::SystemTime::now() + life)
}

/// The same, live for an hour.
pub(crate) fn live() -> Tokens {
    live_for(Duration::from_secs(3600))
}

/// The same, but past its life.
pub(crate) fn expired() -> Tokens {
    live_for(Duration::ZERO)
}

/// Lets all tasks run until they wait for something.
pub(crate) async fn settle() {
    for _ in 0..100 {
        yield_now().await;
    }
}
