//! Bodies that are sent twice, and those that cannot be.

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, header};
use http_body::{Body, Frame};
use http_body_util::{
    BodyExt, Empty, Full, StreamBody,
    combinators::{BoxBody, UnsyncBoxBody},
};
use hyper::body::Incoming;
use tower::{Layer, Service, ServiceExt};
use tower_refresh::{
    BoxError, RefreshLayer,
    replay::{Never, Replay, ReplayBody, Rewrap},
};

use super::support::{
    BOTH, Delivery, Recorder, Version, World, checksum, http, in_time, post, seeded, send, serve,
    streamed,
};

/// Sends a body to an API that refuses the first token: the two bodies that it got.
async fn delivered<B>(version: Version, body: B) -> [Delivery; 2]
where
    B: Replay + Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let (endpoint, session) = seeded();
    let api = Recorder::start().await;
    let client = RefreshLayer::new(session).layer(http(version));
    let request = Request::post(&api.url).header(header::TRAILER, "checksum").body(body).unwrap();
    assert_eq!(send(client, request).await.unwrap().status, 200);
    assert_eq!(endpoint.calls(), 1);
    let deliveries = api.deliveries().try_into().expect("two deliveries");
    let [first, second]: &[Delivery; 2] = &deliveries;
    assert_eq!((&*first.token, &*second.token), ("seed", "access-1"));
    assert!(first.whole && second.whole);
    deliveries
}

fn frames() -> impl Body<Data = Bytes, Error = BoxError> + Send + Sync + Unpin + 'static {
    let mut frames = (0..20u8).map(|n| Frame::data(vec![n; 1024].into())).collect::<Vec<_>>();
    frames.push(Frame::trailers(checksum()));
    StreamBody::new(stream::iter(frames).map(Ok))
}

// S51: after a refusal the server gets the same bytes in the same order, trailers included
#[tokio::test]
async fn every_kind_of_body_arrives_twice_as_it_was() {
    let streamed: Vec<u8> = (0..20).flat_map(|n| [n; 1024]).collect();
    for version in BOTH {
        for delivery in delivered(version, Empty::<Bytes>::new()).await {
            assert!(delivery.body.is_empty() && delivery.trailers.is_none());
        }
        for delivery in delivered(version, Full::from("an order")).await {
            assert_eq!(delivery.body, b"an order");
        }
        for delivery in delivered(version, String::from("an order")).await {
            assert_eq!(delivery.body, b"an order");
        }
        let boxed = BoxBody::<Bytes, BoxError>::new(frames());
        let unsync = UnsyncBoxBody::<Bytes, BoxError>::new(frames());
        let deliveries = [
            delivered(version, boxed).await,
            delivered(version, unsync).await,
            delivered(version, ReplayBody::<_>::new(frames())).await,
        ];
        for delivery in deliveries.into_iter().flatten() {
            assert!(delivery.body == streamed);
            assert_eq!(delivery.trailers, Some(checksum()));
        }
        // A body of exactly the cap.
        let whole = Full::<Bytes>::from(vec![7; 64 * 1024]).map_err(BoxError::from);
        for delivery in delivered(version, ReplayBody::<_>::new(whole)).await {
            assert!(delivery.body == [7; 64 * 1024]);
        }
    }
}

// S51: after a refusal the server gets the same bytes in the same order, trailers included
#[tokio::test]
async fn a_body_of_a_foreign_type_is_rewrapped() {
    // Its error cannot carry ours, so it knows of itself no way to be sent twice.
    type Foreign = UnsyncBoxBody<Bytes, std::io::Error>;
    let rewrap = |body: ReplayBody<Foreign>| Foreign::new(body.map_err(std::io::Error::other));
    for version in BOTH {
        let (_, session) = seeded();
        let api = Recorder::start().await;
        let layer = RefreshLayer::new(session).replay_with(Rewrap(rewrap));
        let body = Foreign::new(frames().map_err(std::io::Error::other));
        let request = Request::post(&api.url).body(body).unwrap();
        assert_eq!(send(layer.layer(http(version)), request).await.unwrap().status, 200);
        let [first, second] = &api.deliveries()[..] else { panic!("two deliveries") };
        assert!(first.body == second.body && second.whole);
    }
}

// S31: a body that cannot be sent again gets its refusal, and the next request a new token
#[tokio::test]
async fn what_is_sent_once_gets_the_refusal_and_the_next_request_a_new_token() {
    for version in BOTH {
        let world = World::new(version).await;
        let layer = RefreshLayer::new(world.session.clone()).replay_with(Never);
        let client = layer.layer(http(version));
        world.server.revoke_access_tokens();
        let url = world.server.api_url();
        assert_eq!(send(client.clone(), post(&url)).await.unwrap().status, 401);
        in_time(world.server.calls_reached(1)).await;
        assert_eq!(send(client, post(&url)).await.unwrap().status, 200);
        let counts = world.server.counts();
        assert_eq!((counts.calls, counts.requests, counts.refused), (1, 2, 1));
    }
}

// S31: a body that cannot be sent again gets its refusal, and the next request a new token
#[tokio::test]
async fn a_stream_over_the_cap_is_streamed_whole_once_and_its_sender_sees_the_refusal() {
    const HALF: usize = 128 * 1024;
    for version in BOTH {
        let (endpoint, session) = seeded();
        let api = Recorder::start().await;
        let client = RefreshLayer::new(session).layer(http(version));
        let (sender, body) = streamed();
        let request = Request::post(&api.url).header(header::TRAILER, "checksum").body(body);
        let request = tokio::spawn(send(client.clone(), request.unwrap()));
        (0..HALF / 1024).for_each(|_| sender.data(vec![1; 1024]));
        // The second half is not there yet, and the first has come.
        let mut received = api.received.subscribe();
        in_time(received.wait_for(|&bytes| bytes == HALF)).await.unwrap();
        (0..HALF / 1024).for_each(|_| sender.data(vec![2; 1024]));
        sender.end_with(checksum());
        assert_eq!(request.await.unwrap().unwrap().status, 401);

        let [only] = &api.deliveries()[..] else { panic!("one delivery") };
        assert!(only.whole && only.body == [[1; HALF], [2; HALF]].concat());
        assert_eq!(only.trailers, Some(checksum()));
        in_time(endpoint.calls_reached(1)).await;
        let (sender, body) = streamed();
        sender.data("small");
        drop(sender);
        let request = Request::post(&api.url).body(body).unwrap();
        assert_eq!(send(client, request).await.unwrap().status, 200);
        assert_eq!(api.deliveries()[1].token, "access-1");
        assert_eq!(endpoint.calls(), 1);
    }
}

// What a handler awaits has to be `Send`, and rustc has to see that it is.
#[tokio::test]
async fn a_boxed_body_can_be_sent_from_a_task() {
    let world = World::new(BOTH[0]).await;
    let layer = RefreshLayer::new(world.session.clone());
    let mut client = layer.layer(http::<UnsyncBoxBody<Bytes, BoxError>>(BOTH[0]));
    let request = Request::post(world.server.api_url()).body(UnsyncBoxBody::new(frames()));
    let task = tokio::spawn(async move {
        let response = client.ready().await?.call(request?).await?;
        Ok::<_, BoxError>(response.status())
    });
    assert_eq!(task.await.unwrap().unwrap(), 200);
}

/// A reverse proxy that puts the session's token on what it forwards.
async fn proxy(world: &World, version: Version) -> String {
    let layer = RefreshLayer::new(world.session.clone());
    let client = layer.layer(http::<ReplayBody<Incoming>>(version));
    let upstream = world.server.url().to_owned();
    serve(move |request| {
        let mut client = client.clone();
        let (mut head, body) = request.into_parts();
        head.uri = format!("{upstream}{}", head.uri.path()).parse().unwrap();
        head.version = Default::default();
        head.headers.remove(header::HOST);
        let request = Request::from_parts(head, ReplayBody::new(body));
        async move { client.ready().await.unwrap().call(request).await.unwrap() }
    })
    .await
}

// S51: after a refusal the server gets the same bytes in the same order, trailers included
#[tokio::test]
async fn a_proxy_forwards_what_comes_in_and_forwards_it_again() {
    let sent: Vec<u8> = (0..20).flat_map(|n| [n; 1024]).collect();
    for version in BOTH {
        let world = World::new(version).await;
        let url = format!("{}/api/echo", proxy(&world, version).await);
        world.server.revoke_access_tokens();
        for round in 1..=2 {
            let request = Request::post(&url)
                .header(header::TRAILER, "checksum")
                .header(header::TE, "trailers")
                .body(UnsyncBoxBody::new(frames()))
                .unwrap();
            let front = http(version);
            let answer = send(front.map_err(BoxError::from), request).await.unwrap();
            assert_eq!(answer.status, 200);
            assert!(answer.body == sent, "{version:?}");
            assert_eq!(answer.trailers, Some(checksum()));
            let counts = world.server.counts();
            assert_eq!((counts.calls, counts.requests), (1, round + 1));
        }
    }
}
