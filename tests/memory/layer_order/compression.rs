//! Compression of answers, by tower-http, and of requests, by anybody.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_http::{compression::CompressionLayer, decompression::DecompressionLayer};
use tower_refresh::{BoxError, RefreshLayer};

use crate::support::{World, get, live, request};

type Req = Request<Full<Bytes>>;

async fn answer<S, B>(client: S) -> (StatusCode, Bytes)
where
    S: Service<Req, Response = Response<B>, Error = BoxError>,
    B: Body<Error: Into<BoxError>>,
{
    let (head, body) = client.oneshot(request("")).await.unwrap().into_parts();
    let body = body.collect().await.map_err(Into::into).unwrap().to_bytes();
    (head.status, body)
}

#[tokio::test(start_paused = true)]
async fn answers_may_be_decompressed_on_either_side() {
    let world = World::new(live());
    world.api.refuse("seed");
    // Refusals are told by their heads, so it does not matter that this one is compressed.
    let long: &'static str = Box::leak("no! ".repeat(100).into_boxed_str());
    world.api.refuse_with(Response::builder().status(401).body(long).unwrap());
    let api = ServiceBuilder::new().layer(CompressionLayer::new()).service(world.api.clone());
    let layer = RefreshLayer::new(world.session.clone());
    let fine = (StatusCode::OK, Bytes::from("fine"));

    let outside = ServiceBuilder::new()
        .layer(DecompressionLayer::new())
        .layer(layer.clone())
        .service(api.clone());
    assert_eq!(answer(outside).await, fine);

    world.api.refuse("access-1");
    let inside = ServiceBuilder::new().layer(layer).layer(DecompressionLayer::new()).service(api);
    assert_eq!(answer(inside).await, fine);
    assert_eq!(world.api.tokens(), ["seed", "access-1", "access-1", "access-2"]);

    // A refusal that is handed through can be read.
    world.api.refuse_all();
    let api = ServiceBuilder::new().layer(CompressionLayer::new()).service(world.api.clone());
    let client = ServiceBuilder::new()
        .layer(DecompressionLayer::new())
        .layer(RefreshLayer::new(world.session.clone()))
        .service(api);
    assert_eq!(answer(client).await, (StatusCode::UNAUTHORIZED, Bytes::from(long)));
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_compressed_outside_are_compressed_once() {
    let compressed = Arc::new(AtomicUsize::new(0));
    let compress = {
        let compressed = compressed.clone();
        move |request: Req| {
            compressed.fetch_add(1, Relaxed);
            request
        }
    };
    for (outside, times) in [(true, 1), (false, 2)] {
        let world = World::new(live());
        world.api.refuse("seed");
        let layer = RefreshLayer::new(world.session.clone());
        compressed.store(0, Relaxed);
        let status = if outside {
            let client = ServiceBuilder::new().map_request(compress.clone()).layer(layer);
            get(client.service(world.api.clone())).await
        } else {
            let client = ServiceBuilder::new().layer(layer).map_request(compress.clone());
            get(client.service(world.api.clone())).await
        };
        assert_eq!(status.unwrap(), StatusCode::OK);
        assert_eq!(compressed.load(Relaxed), times);
    }
}
