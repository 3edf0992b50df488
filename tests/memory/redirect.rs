//! Clients that follow redirects below the layer, or above it.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::LOCATION};
use http_body_util::Full;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_http::follow_redirect::FollowRedirectLayer;
use tower_refresh::{BoxError, Error, ErrorKind, RefreshLayer, Session, testing::GatedEndpoint};

use crate::support::{World, live, request};

type Req = Request<Full<Bytes>>;

/// The hosts that were asked, and whether with a token.
type Seen = Arc<Mutex<Vec<(String, bool)>>>;

/// An API that redirects to `target`, where everything is refused.
fn servers(
    target: &'static str,
) -> (
    impl Service<Req, Response = Response<Full<Bytes>>, Error = BoxError, Future: Send> + Clone,
    Seen,
) {
    let seen = Seen::default();
    let servers = tower::service_fn({
        let seen = seen.clone();
        move |request: Req| {
            let signed = request.headers().contains_key("authorization");
            let host = request.uri().host().unwrap().to_owned();
            let path = request.uri().path().to_owned();
            seen.lock().unwrap().push((host, signed));
            let response = match path.as_str() {
                "/v1" => Response::builder().status(307).header(LOCATION, target),
                _ => Response::builder().status(401),
            };
            async move { Ok::<_, BoxError>(response.body(Full::<Bytes>::default())?) }
        }
    });
    (servers, seen)
}

/// Sends a request through a client that follows redirects below the layer, and returns the status
/// and which of the requests carried a token.
async fn redirected(world: &World, target: &'static str) -> (StatusCode, Vec<(String, bool)>) {
    let (servers, seen) = servers(target);
    let client = ServiceBuilder::new().layer(FollowRedirectLayer::new()).service(servers);
    let client = RefreshLayer::new(world.session.clone()).layer(client);
    let status = client.oneshot(request("")).await.unwrap().status();
    let seen = seen.lock().unwrap().clone();
    (status, seen)
}

// S68: a 401 of another origin is no refusal
#[tokio::test(start_paused = true)]
async fn a_refusal_of_another_origin_is_none_of_ours() {
    let world = World::new(live());
    let (status, seen) = redirected(&world, "https://other.example.net/login").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let seen: Vec<_> = seen.iter().map(|(host, signed)| (host.as_str(), *signed)).collect();
    assert_eq!(seen, [("api.example.com", true), ("other.example.net", false)]);
    assert_eq!(world.endpoint.calls(), 0);
}

// S68: a 401 of another origin is no refusal
#[tokio::test(start_paused = true)]
async fn a_refusal_at_the_end_of_a_redirect_within_the_origin_is_ours() {
    let world = World::new(live());
    let (status, seen) = redirected(&world, "https://API.example.com:443/v2").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(seen.len(), 4, "each sending follows the redirect: {seen:?}");
    assert_eq!(world.endpoint.calls(), 1);
}

// S87: a token of an identity that has origins of its own reaches no other
#[tokio::test(start_paused = true)]
async fn a_redirect_takes_no_token_to_an_origin_that_is_not_its_identitys() {
    let own = "https://api.example.com".parse().unwrap();
    let builder = Session::builder(GatedEndpoint::new()).initial_tokens(live());
    let world = World::of(GatedEndpoint::new(), builder.origins([own]).build());
    // Below the layer it is the client that takes the token off.
    let (status, seen) = redirected(&world, "https://other.example.net/login").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(seen.iter().map(|(_, signed)| *signed).collect::<Vec<_>>(), [true, false]);

    // Above it each hop comes through the layer.
    let target = "https://other.example.net/login";
    let (servers, seen) = servers(target);
    let client = ServiceBuilder::new()
        .layer(FollowRedirectLayer::new())
        .layer(RefreshLayer::new(world.session.clone()))
        .service(servers);
    let error = client.oneshot(request("")).await.unwrap_err();
    let error = Error::find(&*error).unwrap();
    assert_eq!(error.kind(), ErrorKind::WrongOrigin);
    assert!(error.to_string().contains("https://other.example.net,"), "{error}");
    assert_eq!(*seen.lock().unwrap(), [("api.example.com".to_owned(), true)]);
}
