//! The layer among other layers.

use std::{fmt, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use http::{HeaderName, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::Full;
use tower::{
    Layer, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer, util::BoxCloneService,
};
use tower_refresh::{
    BoxError, Error, RefreshLayer, Session, endpoint::EndpointError, testing::GatedEndpoint,
};
use tower_test::mock;

use crate::support::{Api, World, expired, get, live, request};

type Req = Request<Full<Bytes>>;
type Resp = Response<Full<Bytes>>;
type Client = BoxCloneService<Req, Resp, BoxError>;

fn stacks(world: &World) -> Vec<(&'static str, Client)> {
    let (layer, api) = (RefreshLayer::new(world.session.clone()), world.api.clone());
    let secs = Duration::from_secs;
    let builder = ServiceBuilder::new;
    vec![
        (
            "buffer around",
            builder().buffer(2).layer(layer.clone()).service(api.clone()).boxed_clone(),
        ),
        (
            "buffer below",
            builder().layer(layer.clone()).buffer(1).service(api.clone()).boxed_clone(),
        ),
        (
            "limit around",
            builder().concurrency_limit(1).layer(layer.clone()).service(api.clone()).boxed_clone(),
        ),
        (
            "limit below",
            builder().layer(layer.clone()).concurrency_limit(1).service(api.clone()).boxed_clone(),
        ),
        (
            "timeout around",
            builder().timeout(secs(9)).layer(layer.clone()).service(api.clone()).boxed_clone(),
        ),
        (
            "timeout below",
            builder().layer(layer.clone()).timeout(secs(9)).service(api.clone()).boxed_clone(),
        ),
        (
            "box below",
            builder().layer(layer.clone()).service(api.clone().boxed_clone()).boxed_clone(),
        ),
        (
            "all around and below",
            builder()
                .timeout(secs(9))
                .buffer(1)
                .concurrency_limit(1)
                .layer(layer)
                .buffer(1)
                .concurrency_limit(1)
                .timeout(secs(9))
                .service(api.boxed_clone())
                .boxed_clone(),
        ),
    ]
}

// S57: it works around and below other middlewares
#[tokio::test(start_paused = true)]
async fn the_layer_works_around_and_below_other_middlewares() {
    let names: Vec<_> = stacks(&World::new(live())).into_iter().map(|(name, _)| name).collect();
    for (stack, name) in names.into_iter().enumerate() {
        for tokens in [live(), expired()] {
            let world = World::new(tokens);
            world.api.refuse("seed");
            let client = stacks(&world).swap_remove(stack).1;
            let callers = (0..20).map(|_| tokio::spawn(get(client.clone())));
            for status in join_all(callers.collect::<Vec<_>>()).await {
                assert_eq!(status.unwrap().unwrap(), StatusCode::OK, "{name}");
            }
            assert_eq!(world.endpoint.calls(), 1, "{name}");
        }
    }
}

// S57: it works around and below other middlewares
#[tokio::test(start_paused = true)]
async fn its_errors_are_found_under_other_middlewares() {
    let world = World::new(expired());
    world.endpoint.answer_always(|| EndpointError::invalid_grant("over").into());
    for (name, client) in stacks(&world) {
        let error = get(client).await.unwrap_err();
        let found = Error::find(error.as_ref()).unwrap_or_else(|| panic!("{name}: {error}"));
        assert!(found.is_login_required(), "{name}");
    }
    let client = world.client.clone().map_err(|error| BoxError::from(Wrapped(error)));
    let error = get(client).await.unwrap_err();
    assert!(Error::find(error.as_ref()).unwrap().is_login_required());
}

/// An error of somebody else's, with the session's behind it.
#[derive(Debug)]
struct Wrapped(BoxError);

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the order cannot be sent")
    }
}

impl std::error::Error for Wrapped {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.0.as_ref())
    }
}

// S57: it works around and below other middlewares
#[tokio::test(start_paused = true)]
async fn a_time_out_around_it_ends_the_caller_and_not_the_refresh() {
    let world = World::new(expired());
    let hold = world.endpoint.hold();
    let client =
        ServiceBuilder::new().timeout(Duration::from_secs(1)).service(world.client.clone());
    assert!(get(client.clone()).await.unwrap_err().is::<tower::timeout::error::Elapsed>());
    hold.release();
    assert_eq!(get(client).await.unwrap(), StatusCode::OK);
    assert_eq!(world.endpoint.calls(), 1);
}

// S58: one session serves several layers, and several sessions one stack
#[tokio::test(start_paused = true)]
async fn one_session_in_two_layers_refreshes_once_for_both() {
    let world = World::new(live());
    let other = Api::new();
    let layer = RefreshLayer::new(world.session.clone());
    let limited = layer.layer(ConcurrencyLimitLayer::new(1).layer(other.clone()));
    world.api.refuse("seed");
    other.refuse("seed");
    let (one, two) = futures::join!(world.get(), get(limited));
    assert_eq!((one.unwrap(), two.unwrap()), (StatusCode::OK, StatusCode::OK));
    assert_eq!(world.endpoint.calls(), 1);

    // In one stack, the second finds the header put in and leaves it alone.
    let both = layer.layer(layer.layer(other.clone()));
    assert_eq!(get(both).await.unwrap(), StatusCode::OK);
    assert_eq!(other.seen().pop().unwrap().token(), Some("access-1"));
}

// S58: one session serves several layers, and several sessions one stack
#[tokio::test(start_paused = true)]
async fn two_sessions_with_headers_of_their_own_live_in_one_stack() {
    let (user, device) = (World::new(live()), World::new(live()));
    let header = HeaderName::from_static("x-device");
    let (service, mut handle) = mock::pair::<Req, Resp>();
    let client = ServiceBuilder::new()
        .layer(RefreshLayer::new(user.session.clone()))
        .layer(
            RefreshLayer::new(device.session.clone())
                .header(header.clone())
                .refused_when(|_, response| response.status() == StatusCode::FORBIDDEN),
        )
        .service(service);
    let call = tokio::spawn(client.oneshot(request("")));
    let seen = [
        ("Bearer seed", "Bearer seed", StatusCode::FORBIDDEN),
        ("Bearer seed", "Bearer access-1", StatusCode::UNAUTHORIZED),
        ("Bearer access-1", "Bearer access-1", StatusCode::OK),
    ];
    for (of_user, of_device, status) in seen {
        let (request, answer) = handle.next_request().await.unwrap();
        assert_eq!(request.headers()[AUTHORIZATION], of_user);
        assert_eq!(request.headers()[&header], of_device);
        answer.send_response(Response::builder().status(status).body(Full::default()).unwrap());
    }
    assert_eq!(call.await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!((user.endpoint.calls(), device.endpoint.calls()), (1, 1));
}

// S58: one session serves several layers, and several sessions one stack
#[tokio::test(start_paused = true)]
async fn two_sessions_for_origins_of_their_own_live_in_one_stack() {
    let (here, there) = (World::new(live()), World::new(live()));
    there.session.refresh().await.unwrap();
    let api = Api::new();
    let bound = |world: &World, origin: &str| {
        RefreshLayer::new(world.session.clone()).only_for([origin.parse().unwrap()])
    };
    let client = ServiceBuilder::new()
        .layer(bound(&here, "https://here.example.com"))
        .layer(bound(&there, "https://there.example.com"))
        .service(api.clone());
    for host in ["here", "there", "elsewhere"] {
        let uri = format!("https://{host}.example.com/");
        let request = Request::get(uri).body(Full::default()).unwrap();
        client.clone().oneshot(request).await.unwrap();
    }
    assert_eq!(api.tokens(), ["seed", "access-1", "-"]);
}

// S57: it works around and below other middlewares
#[tokio::test(start_paused = true)]
async fn a_token_endpoint_is_a_service_like_any_other() {
    let inner = GatedEndpoint::new();
    let endpoint = ServiceBuilder::new()
        .buffer(1)
        .concurrency_limit(1)
        .timeout(Duration::from_secs(3))
        .service(inner.clone());
    let world = World::of(inner, Session::builder(endpoint).initial_tokens(expired()).build());
    world.endpoint.answer(tower_refresh::testing::Answer::Never);
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.endpoint.calls(), 2);
}
