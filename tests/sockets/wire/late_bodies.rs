//! Refusals over HTTP/2 whose bodies come after their heads.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{future::join_all, stream};
use http::Response;
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{net::TcpListener, time::sleep};
use tower::Layer;
use tower_refresh::{RefreshLayer, Session, Tokens, testing::GatedEndpoint};

use super::support::{Version, bearer, http, in_time, post, send};

/// An API that accepts one token, and whose refusals end long after they began.
#[derive(Clone)]
struct Api {
    url: String,
    accepted: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl Api {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let api = Self { url, accepted: Arc::default(), connections: Arc::default() };
        let served = api.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                served.connections.fetch_add(1, SeqCst);
                let api = served.clone();
                let service = service_fn(move |request: http::Request<Incoming>| {
                    let accepted = format!("access-{}", api.accepted.load(SeqCst));
                    let is_refused = bearer(request.headers()) != accepted;
                    async move { Ok::<_, Infallible>(answer(is_refused)) }
                });
                tokio::spawn(async move {
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        api
    }
}

type Late = StreamBody<
    std::pin::Pin<Box<dyn futures::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>,
>;

fn answer(is_refused: bool) -> Response<Late> {
    let body = stream::once(async move {
        if is_refused {
            sleep(Duration::from_millis(100)).await;
        }
        Ok(Frame::data(Bytes::from_static(b"no or yes")))
    });
    let status = if is_refused { 401 } else { 200 };
    Response::builder().status(status).body(StreamBody::new(Box::pin(body) as _)).unwrap()
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
