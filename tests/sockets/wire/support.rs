//! Clients, servers and the worlds that tests build from them.

use std::{
    convert::Infallible,
    future::Future,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use bytes::Bytes;
use futures::channel::mpsc;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::TcpListener,
    sync::watch,
};
use tower::{Layer, Service, ServiceExt};
use tower_refresh::{
    BoxError, Refresh, RefreshLayer, Session, SessionBuilder, Tokens,
    endpoint::JsonEndpoint,
    replay::ReplayBody,
    testing::{AuthServer, GatedEndpoint, Login},
};

pub(crate) use crate::support::{in_time, seed};

/// The HTTP version that the client speaks; the servers speak both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

pub(crate) const BOTH: [Version; 2] = [Version::One, Version::Two];

pub(crate) type Http<B = Full<Bytes>> = Client<HttpConnector, B>;

pub(crate) fn http<B>(version: Version) -> Http<B>
where
    B: Body + Send,
    B::Data: Send,
{
    let two = version == Version::Two;
    Client::builder(TokioExecutor::new()).http2_only(two).build_http()
}

/// A response that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

pub(crate) async fn send<S, B, R>(client: S, request: Request<B>) -> Result<Answer, BoxError>
where
    S: Service<Request<B>, Response = Response<R>, Error = BoxError>,
    R: Body,
    R::Error: Into<BoxError>,
{
    in_time(async {
        let (head, body) = client.oneshot(request).await?.into_parts();
        let body = body.collect().await.map_err(Into::into)?;
        let trailers = body.trailers().cloned();
        Ok(Answer { status: head.status, body: body.to_bytes(), trailers })
    })
    .await
}

/// A server of the kit, a user who has logged in there, and a client of theirs.
pub(crate) struct World {
    pub(crate) server: AuthServer,
    pub(crate) login: Login,
    pub(crate) session: Session,
    pub(crate) client: Refresh<Http>,
}

impl World {
    /// A server that rotates refresh tokens and a session with the login's live tokens.
    pub(crate) async fn new(version: Version) -> Self {
        let server = AuthServer::builder().rotate(true).start().await.unwrap();
        Self::with(server, version, |builder, login| {
            builder.initial_tokens(login.tokens().unwrap())
        })
    }

    /// The same, but the session takes the access token for expired.
    pub(crate) async fn expired(version: Version) -> Self {
        let server = AuthServer::builder().rotate(true).start().await.unwrap();
        Self::with(server, version, |builder, login| builder.initial_tokens(expired(login)))
    }

    pub(crate) fn with(
        server: AuthServer,
        version: Version,
        set_up: impl FnOnce(SessionBuilder, &Login) -> SessionBuilder,
    ) -> Self {
        let login = server.log_in();
        let endpoint = JsonEndpoint::new(server.refresh_url()).unwrap();
        let session = set_up(Session::builder(endpoint), &login).build();
        let client = RefreshLayer::new(session.clone()).layer(http(version));
        Self { server, login, session, client }
    }

    /// Sends a POST to the protected API.
    pub(crate) async fn send(&self) -> Result<Answer, BoxError> {
        send(self.client.clone(), post(&format!("{}/orders", self.server.api_url()))).await
    }

    /// Sends a POST that is expected to have an answer, and returns its status.
    pub(crate) async fn status(&self) -> u16 {
        self.send().await.unwrap().status.as_u16()
    }
}

pub(crate) fn expired(login: &Login) -> Tokens {
    login.tokens().unwrap().with_expires_at(SystemTime::now())
}

pub(crate) fn post(url: &str) -> Request<Full<Bytes>> {
    Request::post(url).body(Full::from("an order")).unwrap()
}

/// A session with the token `seed` that an endpoint in memory renews, for tests in which another
/// server is the one that matters.
pub(crate) fn seeded() -> (GatedEndpoint, Session) {
    let endpoint = GatedEndpoint::new();
    let session = Session::builder(endpoint.clone()).initial_tokens(seed()).build();
    (endpoint, session)
}

/// Serves an API of the test's own over both versions, for as long as the test's runtime runs;
/// returns its URL.
pub(crate) async fn serve<F, A, B>(answer: F) -> String
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let answer = answer.clone();
            let service = service_fn(move |request| {
                let answer = answer(request);
                async { Ok::<_, Infallible>(answer.await) }
            });
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    url
}

pub(crate) fn answer(status: u16) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::default()).unwrap()
}

/// The bearer token of a request, or nothing.
pub(crate) fn bearer(headers: &HeaderMap) -> String {
    let value = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap());
    value.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default().to_owned()
}

/// One request as a [`Recorder`] got it.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) token: String,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
    /// Whether the body came to its end, and was not cut off.
    pub(crate) whole: bool,
}

/// An API that refuses the token `seed` once it has read the body, and remembers all it got.
#[derive(Clone)]
pub(crate) struct Recorder {
    pub(crate) url: String,
    deliveries: Arc<Mutex<Vec<Delivery>>>,
    /// How many bytes of bodies have come.
    pub(crate) received: watch::Sender<usize>,
}

impl Recorder {
    pub(crate) async fn start() -> Self {
        let deliveries = Arc::new(Mutex::new(Vec::new()));
        let received = watch::Sender::new(0);
        let (record, count) = (deliveries.clone(), received.clone());
        let url = serve(move |request| {
            let (record, count) = (record.clone(), count.clone());
            async move {
                let (head, body) = request.into_parts();
                let delivery = read(bearer(&head.headers), body, &count).await;
                let status = if delivery.token == "seed" { 401 } else { 200 };
                record.lock().unwrap().push(delivery);
                answer(status)
            }
        })
        .await;
        Self { url, deliveries, received }
    }

    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.deliveries.lock().unwrap().clone()
    }
}

/// Reads a body to its end, whichever that is.
pub(crate) async fn read(
    token: String,
    mut body: Incoming,
    received: &watch::Sender<usize>,
) -> Delivery {
    let mut delivery = Delivery { token, body: Vec::new(), trailers: None, whole: true };
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => {
                delivery.body.extend_from_slice(&data);
                received.send_modify(|bytes| *bytes += data.len());
            }
            Ok(Err(frame)) => delivery.trailers = frame.into_trailers().ok(),
            Err(_broken) => {
                delivery.whole = false;
                break;
            }
        }
    }
    delivery
}

pub(crate) type Streamed =
    StreamBody<futures::stream::Map<mpsc::UnboundedReceiver<Frame<Bytes>>, IntoOk>>;
type IntoOk = fn(Frame<Bytes>) -> Result<Frame<Bytes>, BoxError>;

/// A body that goes on when the test says so, and ends when the sender is dropped.
pub(crate) fn streamed() -> (Sender, ReplayBody<Streamed>) {
    use futures::StreamExt;
    let (sender, frames) = mpsc::unbounded();
    let ok: IntoOk = Ok;
    (Sender(sender), ReplayBody::new(StreamBody::new(frames.map(ok))))
}

pub(crate) struct Sender(mpsc::UnboundedSender<Frame<Bytes>>);

impl Sender {
    pub(crate) fn data(&self, data: impl Into<Bytes>) {
        self.0.unbounded_send(Frame::data(data.into())).unwrap();
    }

    /// Sends trailers and ends the body.
    pub(crate) fn end_with(self, trailers: HeaderMap) {
        self.0.unbounded_send(Frame::trailers(trailers)).unwrap();
    }
}

/// Trailers; HTTP/1 sends them only if the request's `Trailer` header names them.
pub(crate) fn checksum() -> HeaderMap {
    HeaderMap::from_iter([("checksum".parse().unwrap(), HeaderValue::from_static("42"))])
}

/// Reads until what has come satisfies `enough` or the connection ends; how, does not matter.
pub(crate) async fn read_until(
    stream: &mut (impl AsyncRead + Unpin),
    enough: impl Fn(&[u8]) -> bool,
) -> Vec<u8> {
    in_time(async {
        let mut read = Vec::new();
        while !enough(&read) && stream.read_buf(&mut read).await.unwrap_or(0) > 0 {}
        read
    })
    .await
}
