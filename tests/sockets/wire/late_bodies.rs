//! Refusals over HTTP/2 whose bodies come after their heads.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::{
    StreamExt,
    future::join_all,
    stream::{self, BoxStream},
};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};
use tower::Layer;
use tower_refresh::{RefreshLayer, Session, Tokens, testing::GatedEndpoint};

use super::support::{Version, bearer, http, in_time, post, send};

/// An API that accepts one token, and whose refusals end long after they began.
#[derive(Clone)]
struct Api {
    url: String,
    accepted: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    /// How many bodies of refusals have yet to end.
    open: watch::Sender<usize>,
}

/// How long after its head the body of a refusal comes.
const LATE: Duration = Duration::from_millis(400);

/// How long the way to the API is: a stream that the client resets is still answered.
const WAY: Duration = Duration::from_millis(600);

impl Api {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (accepted, connections) = Default::default();
        let api = Self { url, accepted, connections, open: watch::Sender::new(0) };
        let served = api.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                served.connections.fetch_add(1, SeqCst);
                let api = served.clone();
                let service = service_fn(move |request| {
                    let api = api.clone();
                    async move { Ok::<_, Infallible>(api.answer(request).await) }
                });
                tokio::spawn(async move {
                    let mut builder = auto::Builder::new(TokioExecutor::new());
                    builder.http2().max_concurrent_streams(4096);
                    let io = TokioIo::new(far(stream));
                    let _ = builder.serve_connection(io, service).await;
                });
            }
        });
        api
    }

    /// A request that is accepted is answered once all refusals have ended.
    async fn answer(self, request: Request<Incoming>) -> Response<Late> {
        let accepted = format!("access-{}", self.accepted.load(SeqCst));
        let is_refused = bearer(request.headers()) != accepted;
        let open = is_refused.then(|| Open::new(self.open.clone()));
        if !is_refused {
            self.open.subscribe().wait_for(|&open| open == 0).await.unwrap();
        }
        let body = stream::once(async move {
            if let Some(_open) = open {
                sleep(LATE).await;
            }
            Ok(Frame::data(Bytes::from_static(b"no or yes")))
        });
        let status = if is_refused { 401 } else { 200 };
        Response::builder().status(status).body(StreamBody::new(body.boxed())).unwrap()
    }
}

type Late = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

/// The body of a refusal that has not ended.
struct Open(watch::Sender<usize>);

impl Open {
    fn new(open: watch::Sender<usize>) -> Self {
        open.send_modify(|open| *open += 1);
        Self(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

/// A connection on which what the client sends is some time under way.
fn far(stream: TcpStream) -> DuplexStream {
    let (near, server) = tokio::io::duplex(1 << 20);
    let (mut from_client, mut to_client) = stream.into_split();
    let (mut from_server, mut to_server) = tokio::io::split(near);
    let (sender, mut receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let mut sent = BytesMut::with_capacity(1 << 16);
            if from_client.read_buf(&mut sent).await.unwrap_or(0) == 0 {
                return;
            }
            let _ = sender.send((Instant::now() + WAY, sent));
        }
    });
    tokio::spawn(async move {
        while let Some((at, sent)) = receiver.recv().await {
            sleep_until(at).await;
            if to_server.write_all(&sent).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
    });
    server
}

/// Lets `requests` requests be refused at once, so many times, and sees all of them answered.
async fn refuse_at_once(requests: usize, rounds: usize) {
    crate::room::for_many();
    let (api, endpoint) = (Api::start().await, GatedEndpoint::new());
    let session = Session::builder(endpoint.clone())
        .initial_tokens(Tokens::from_refresh_token("refresh-0").unwrap())
        .min_interval(Duration::ZERO)
        .refusal_limit(100, Duration::from_secs(30))
        .build();
    session.ready().await.unwrap();
    api.accepted.store(1, SeqCst);
    let client = RefreshLayer::new(session).layer(http(Version::Two));
    for round in 1..=rounds {
        api.accepted.store(round + 1, SeqCst);
        let answers = (0..requests).map(|_| send(client.clone(), post(&api.url)));
        for answer in in_time(join_all(answers)).await {
            let answer = answer.unwrap_or_else(|error| panic!("round {round}: {error:?}"));
            assert_eq!(answer.status, 200);
        }
        assert_eq!(endpoint.calls(), round + 1);
    }
    assert_eq!(api.connections.load(SeqCst), 1);
}

// S99: a refusal over HTTP/2 is held until its retry is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_refusals_at_once_whose_bodies_come_late_fail_no_request() {
    refuse_at_once(2000, 1).await;
}

// S99: over HTTP/2 many refusals whose bodies come after their heads fail no request of the
// connection
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_refusals_ten_times_over_one_connection_fail_no_request() {
    refuse_at_once(200, 10).await;
}
