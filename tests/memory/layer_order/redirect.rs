//! A client that follows redirects.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode, header::LOCATION};
use http_body_util::Full;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_http::follow_redirect::FollowRedirectLayer;
use tower_refresh::{BoxError, RefreshLayer};

use crate::support::{World, live, request};

type Req = Request<Full<Bytes>>;
type Resp = Response<Full<Bytes>>;

/// Who got a token, by host.
type Seen = Arc<Mutex<Vec<(String, bool)>>>;

/// An API that redirects to another host, which answers, and what both got.
fn servers(
    seen: &Seen,
) -> impl Service<Req, Response = Resp, Error = BoxError, Future: Send> + Clone + use<> {
    let seen = seen.clone();
    service_fn(move |request: Req| {
        let host = request.uri().host().unwrap().to_owned();
        let response = Response::builder();
        let response = match host.as_str() {
            "api.example.com" => {
                response.status(StatusCode::FOUND).header(LOCATION, "https://other.example.net/")
            }
            _ => response,
        };
        let token = |value: &http::HeaderValue| value.as_bytes().ends_with(b"seed");
        seen.lock().unwrap().push((host, request.headers().values().any(token)));
        async move { Ok::<_, BoxError>(response.body(Full::default())?) }
    })
}

async fn signed<S>(client: S, seen: &Seen) -> [bool; 2]
where
    S: Service<Req, Error = BoxError>,
{
    client.oneshot(request("")).await.unwrap_or_else(|_| panic!("it should be answered"));
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let [(one, here), (two, there)] = seen.try_into().unwrap();
    assert_eq!((&*one, &*two), ("api.example.com", "other.example.net"));
    [here, there]
}

#[tokio::test(start_paused = true)]
async fn a_redirect_layer_inside_takes_the_token_off_before_another_host() {
    let (world, seen) = (World::new(live()), Seen::default());
    let client = ServiceBuilder::new()
        .layer(RefreshLayer::new(world.session.clone()))
        .layer(FollowRedirectLayer::new())
        .service(servers(&seen));
    assert_eq!(signed(client, &seen).await, [true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_redirect_layer_outside_hands_the_token_to_another_host() {
    let (world, seen) = (World::new(live()), Seen::default());
    let client = ServiceBuilder::new()
        .layer(FollowRedirectLayer::new())
        .layer(RefreshLayer::new(world.session.clone()))
        .service(servers(&seen));
    assert_eq!(signed(client, &seen).await, [true, true]);
}

#[tokio::test(start_paused = true)]
async fn a_redirect_layer_outside_a_layer_that_is_bound_to_its_origin_hands_over_nothing() {
    let (world, seen) = (World::new(live()), Seen::default());
    let layer = RefreshLayer::new(world.session.clone());
    let client = ServiceBuilder::new()
        .layer(FollowRedirectLayer::new())
        .layer(layer.only_for(["https://api.example.com".parse().unwrap()]))
        .service(servers(&seen));
    assert_eq!(signed(client, &seen).await, [true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_header_of_ones_own_is_only_safe_the_other_way_round() {
    let layer = |world: &World| {
        let layer = RefreshLayer::new(world.session.clone());
        let layer = layer.header(HeaderName::from_static("x-token"));
        layer.only_for(["https://api.example.com".parse().unwrap()])
    };
    // Nobody tells the redirects below that this header is one.
    let (world, seen) = (World::new(live()), Seen::default());
    let client = ServiceBuilder::new()
        .layer(layer(&world))
        .layer(FollowRedirectLayer::new())
        .service(servers(&seen));
    assert_eq!(signed(client, &seen).await, [true, true]);

    let client = ServiceBuilder::new()
        .layer(FollowRedirectLayer::new())
        .layer(layer(&world))
        .service(servers(&seen));
    assert_eq!(signed(client, &seen).await, [true, false]);
}
