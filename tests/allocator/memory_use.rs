//! What a session costs in memory, and what a body that is recorded costs while it is streamed: no
//! more than the cap.

use std::{convert::Infallible, sync::atomic::Ordering::Relaxed};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use tower::{Layer, ServiceExt, service_fn};
use tower_refresh::{
    BoxError, RefreshLayer, Session, Tokens,
    endpoint::TokenResponse,
    replay::{Replay, ReplayBody},
    testing::GatedEndpoint,
};

use crate::{LIVE, PEAK, TURN};

const GIB: usize = 1 << 30;
const MIB: usize = 1 << 20;
const CHUNK: usize = 16 * 1024;

/// 1 GiB in chunks that are allocated one by one, as a connection would read them.
fn gibibyte() -> impl http_body::Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static {
    let chunks = stream::iter(0..GIB / CHUNK);
    StreamBody::new(chunks.map(|_| Ok(Frame::data(vec![7; CHUNK].into()))))
}

/// Sends a body through the layer to a service that reads all of it: the status, how much it
/// read, and how far memory rose meanwhile.
async fn stream<B>(body: B, status: StatusCode) -> (StatusCode, usize, usize)
where
    B: Replay + http_body::Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: std::fmt::Debug,
{
    let tokens = Tokens::new("seed").unwrap().with_refresh_token("refresh-0").unwrap();
    let session = Session::builder(GatedEndpoint::new()).initial_tokens(tokens).build();
    let api = service_fn(move |request: Request<B>| async move {
        let mut body = request.into_body();
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            read += frame.unwrap().into_data().unwrap().len();
        }
        let mut response = Response::new(Empty::<Bytes>::new());
        *response.status_mut() = status;
        response.extensions_mut().insert(read);
        Ok::<_, Infallible>(response)
    });
    let client = RefreshLayer::new(session).layer(api);
    let request = Request::post("https://api.example.com/upload").body(body).unwrap();
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let response = client.oneshot(request).await.unwrap();
    let rise = PEAK.load(Relaxed) - before;
    (response.status(), *response.extensions().get::<usize>().unwrap(), rise)
}

#[tokio::test]
async fn a_session_that_nobody_listens_to_takes_little() {
    let _turn = TURN.lock().await;
    let before = LIVE.load(Relaxed);
    let sessions: Vec<_> = (0..1000)
        .map(|_| {
            let endpoint = service_fn(async |_| Err::<TokenResponse, BoxError>("none".into()));
            Session::builder(endpoint).initial_tokens(Tokens::new("token").unwrap()).build()
        })
        .collect();
    let each = (LIVE.load(Relaxed) - before) / sessions.len();
    assert!(each < 2 * 1024, "{each} bytes");
}

#[tokio::test]
async fn a_request_that_waits_for_a_token_takes_little() {
    let _turn = TURN.lock().await;
    let endpoint = GatedEndpoint::new();
    let tokens = Tokens::from_refresh_token("refresh-0").unwrap();
    let session = Session::builder(endpoint.clone()).initial_tokens(tokens).build();
    let api = service_fn(async |_: Request<Empty<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let client = RefreshLayer::new(session).layer(api);
    let hold = endpoint.hold();
    let request = || Request::get("https://api.example.com/").body(Empty::new()).unwrap();
    let first = tokio::spawn(client.clone().oneshot(request()));
    endpoint.calls_reached(1).await;
    let mut requests = Vec::with_capacity(1000);
    let before = LIVE.load(Relaxed);
    for _ in 0..1000 {
        requests.push(tokio::spawn(client.clone().oneshot(request())));
    }
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    let each = (LIVE.load(Relaxed) - before) / requests.len();
    hold.release();
    first.await.unwrap().unwrap();
    for request in requests {
        request.await.unwrap().unwrap();
    }
    assert!(each < 1_800, "{each} bytes");
}

#[tokio::test]
async fn a_gibibyte_is_streamed_in_less_than_a_mebibyte() {
    let _turn = TURN.lock().await;
    for status in [StatusCode::OK, StatusCode::UNAUTHORIZED] {
        let (answer, read, rise) = stream(ReplayBody::new(gibibyte()), status).await;
        assert_eq!((answer, read), (status, GIB));
        assert!(rise < MIB, "{rise} bytes");
        // It does record: this is no test of a body that is merely passed on.
        assert!(rise > 64 * 1024, "{rise} bytes");
    }

    // With another cap it costs that much and not more.
    let large = ReplayBody::with_limit(gibibyte(), 8 * MIB);
    let (_, read, rise) = stream(large, StatusCode::OK).await;
    assert_eq!(read, GIB);
    assert!((8 * MIB..9 * MIB).contains(&rise), "{rise} bytes");
}
