//! reqwest's bodies.

use bytes::Bytes;
use futures::stream;
use http::Request;
use reqwest::Body;
use tower_refresh::{BoxError, RefreshLayer};

use super::support::{EITHER, Server, Through, in_time, post, refuse_seed, seeded};

const CHUNK: Bytes = Bytes::from_static(&[b'x'; 1024]);

/// A body of so many KiB that comes in pieces and does not say how many.
fn streamed(kib: usize) -> Body {
    Body::wrap_stream(stream::iter((0..kib).map(|_| Ok::<_, BoxError>(CHUNK))))
}

async fn send(through: Through, body: Body) -> (u16, Vec<usize>) {
    let server = Server::start(refuse_seed).await;
    let (endpoint, session) = seeded();
    let layer = RefreshLayer::new(session);
    let request = Request::post(&server.url).body(body).unwrap();
    let status = through.send(&layer, request).await.unwrap().status.as_u16();
    let lengths = server.seen().iter().map(|request| request.body().len()).collect();

    // Whatever came of it, the next request finds a live token.
    in_time(endpoint.calls_reached(1)).await;
    assert_eq!(through.send(&layer, post(&server.url)).await.unwrap().status, 200);
    assert_eq!(endpoint.calls(), 1);
    (status, lengths)
}

// S31: a body that cannot be sent again gets its refusal, and the next request a new token
#[tokio::test]
async fn a_stream_through_the_middleware_is_sent_once_and_is_no_error() {
    for kib in [1, 100] {
        assert_eq!(send(Through::Middleware, streamed(kib)).await, (401, vec![kib << 10]));
    }
}

// S51: after a refusal the server gets the same bytes in the same order, trailers included
// S31: a body that cannot be sent again gets its refusal, and the next request a new token
#[tokio::test]
async fn a_stream_under_tower_is_recorded_up_to_the_cap() {
    assert_eq!(send(Through::Tower, streamed(64)).await, (200, vec![64 << 10; 2]));
    assert_eq!(send(Through::Tower, streamed(65)).await, (401, vec![65 << 10]));
}

// S51: after a refusal the server gets the same bytes in the same order, trailers included
#[tokio::test]
async fn bytes_of_any_size_are_sent_again() {
    for through in EITHER {
        for len in [0, 1, 1 << 20] {
            assert_eq!(send(through, Body::from(vec![b'x'; len])).await, (200, vec![len; 2]));
        }
    }
}
