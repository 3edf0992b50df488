//! A refusal is what the user's predicate makes of the heads of a request and of its response.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode, header::WWW_AUTHENTICATE};
use http_body_util::Full;
use tower::Layer;
use tower_refresh::{RefreshLayer, RequestHead, ResponseHead};

use crate::support::{World, live, request, send};

fn to(uri: &str) -> Request<Full<Bytes>> {
    Request::get(uri).body(Full::default()).unwrap()
}

/// Answers every request like this.
fn refuse_with(world: &World, status: u16, challenge: &str) {
    let response = Response::builder().status(status).header(WWW_AUTHENTICATE, challenge);
    world.api.refuse_all();
    world.api.refuse_with(response.body("").unwrap());
}

/// How often a request is sent whose answer is judged by this, and how often the endpoint is called.
async fn sent<F>(world: &World, predicate: F, request: Request<Full<Bytes>>) -> (usize, usize)
where
    F: Fn(&RequestHead<'_>, &ResponseHead<'_>) -> bool + Send + Sync + 'static,
{
    let before = (world.api.seen().len(), world.endpoint.calls());
    let layer = RefreshLayer::new(world.session.clone()).refused_when(predicate);
    send(layer.layer(world.api.clone()), request).await.unwrap();
    (world.api.seen().len() - before.0, world.endpoint.calls() - before.1)
}

// S81: the user's predicate sees the heads of request and response
#[tokio::test(start_paused = true)]
async fn a_403_means_expired_on_one_route_and_forbidden_on_another() {
    let world = World::new(live());
    refuse_with(&world, 403, "Bearer");
    let expired = |request: &RequestHead<'_>, response: &ResponseHead<'_>| {
        let is_old = request.method() == "GET" && request.uri().path().starts_with("/v1/");
        is_old && response.status() == StatusCode::FORBIDDEN
    };
    assert_eq!(sent(&world, expired, to("https://api.example.com/v2/me")).await, (1, 0));
    let mut post = to("https://api.example.com/v1/me");
    *post.method_mut() = http::Method::POST;
    assert_eq!(sent(&world, expired, post).await, (1, 0));
    assert_eq!(sent(&world, expired, to("https://api.example.com/v1/me")).await, (2, 1));
}

#[derive(Clone)]
struct Interactive;

// S81: the user's predicate sees the heads of request and response
#[tokio::test(start_paused = true)]
async fn a_predicate_goes_by_a_header_or_an_extension_of_the_request() {
    let world = World::new(live());
    refuse_with(&world, 403, "Bearer");
    let name = HeaderName::from_static("x-kind");
    let by_header = move |request: &RequestHead<'_>, _: &ResponseHead<'_>| {
        request.header(&name).is_some_and(|kind| kind == "interactive")
    };
    let by_extension = |request: &RequestHead<'_>, _: &ResponseHead<'_>| {
        request.extension::<Interactive>().is_some()
    };
    let mut with_header = request("");
    with_header.headers_mut().insert("x-kind", "interactive".parse().unwrap());
    let mut with_extension = request("");
    with_extension.extensions_mut().insert(Interactive);

    assert_eq!(sent(&world, by_header.clone(), with_extension.clone()).await, (1, 0));
    assert_eq!(sent(&world, by_header, with_header.clone()).await, (2, 1));
    assert_eq!(sent(&world, by_extension, with_header).await, (1, 0));
    assert_eq!(sent(&world, by_extension, with_extension).await, (2, 1));
}

// S81: the user's predicate sees the heads of request and response
#[tokio::test(start_paused = true)]
async fn a_predicate_sees_the_request_as_the_caller_made_it() {
    let world = World::new(live());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let predicate = {
        let seen = seen.clone();
        move |request: &RequestHead<'_>, _: &ResponseHead<'_>| {
            assert!(!format!("{request:?}").contains("hunter2"));
            let header = |(name, value): (&HeaderName, &http::HeaderValue)| {
                format!("{name}: {}", value.to_str().unwrap())
            };
            seen.lock().unwrap().extend(request.headers().map(header));
            false
        }
    };
    let mut asked = to("https://api.example.com/?key=hunter2");
    for value in ["one", "two"] {
        asked.headers_mut().append("x-note", value.parse().unwrap());
    }
    assert_eq!(sent(&world, predicate, asked).await, (1, 0));
    assert_eq!(world.api.tokens(), ["seed"]);
    assert_eq!(*seen.lock().unwrap(), ["x-note: one", "x-note: two"]);
}

// S81: the user's predicate sees the heads of request and response
// S28: `insufficient_scope` and every other status refresh nothing
#[tokio::test(start_paused = true)]
async fn what_no_refresh_can_cure_is_not_the_predicates_business() {
    for error in ["insufficient_scope", "insufficient_user_authentication"] {
        for status in [401, 403] {
            let world = World::new(live());
            refuse_with(&world, status, &format!("Bearer error=\"{error}\""));
            assert_eq!(sent(&world, |_, _| true, request("")).await, (1, 0), "{status} {error}");
        }
    }
    let world = World::new(live());
    refuse_with(&world, 403, "Bearer error=\"invalid_token\"");
    assert_eq!(sent(&world, |_, _| true, request("")).await, (2, 1));
}

// S81: the user's predicate sees the heads of request and response
#[tokio::test(start_paused = true)]
async fn a_predicate_can_build_on_the_standard_judgement() {
    let or_419 = |_: &RequestHead<'_>, response: &ResponseHead<'_>| {
        response.is_refusal() || response.status().as_u16() == 419
    };
    let scope = "Bearer error=\"insufficient_scope\"";
    for (status, challenge, expected) in
        [(419, "Bearer", (2, 1)), (401, "Bearer", (2, 1)), (401, scope, (1, 0)), (403, "", (1, 0))]
    {
        let world = World::new(live());
        refuse_with(&world, status, challenge);
        assert_eq!(sent(&world, or_419, request("")).await, expected, "{status} {challenge}");
    }
    // gRPC's, which comes with a 200.
    let world = World::new(live());
    let response = Response::builder().header("grpc-status", "16").body("").unwrap();
    world.api.refuse_all();
    world.api.refuse_with(response);
    assert_eq!(sent(&world, or_419, request("")).await, (2, 1));
    assert_eq!(sent(&world, |_, _| false, request("")).await, (1, 0));
}
