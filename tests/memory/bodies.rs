//! The bodies of refusals, and of requests that cannot be sent twice.

use std::{
    future::ready,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_refresh::{
    BoxError, RefreshLayer,
    endpoint::EndpointError,
    replay::{Backup, Policy, ReplayBody},
};

use crate::support::{World, get, live, request, send, settle};

/// Keeps nothing of a body.
#[derive(Clone, Debug)]
struct Once;

impl<B> Policy<B> for Once {
    fn backup(&self, _: &mut B) -> Backup<B> {
        Backup::none()
    }
}

fn refusal() -> Response<&'static str> {
    let builder = Response::builder().status(StatusCode::UNAUTHORIZED);
    builder.header("x-request-id", "7").body("no, because").unwrap()
}

// S30: when the refresh fails, the refusal reaches the caller whole
#[tokio::test(start_paused = true)]
async fn if_the_refresh_fails_the_refusal_is_handed_through_whole() {
    for error in
        [EndpointError::transient, EndpointError::misconfigured, EndpointError::invalid_grant]
    {
        let world = World::new(live());
        world.endpoint.answer_always(move || error("no").into());
        world.api.refuse("seed");
        world.api.refuse_with(refusal());
        let response = world.client.clone().oneshot(request("body")).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()["x-request-id"], "7");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "no, because");
        assert!(world.endpoint.calls() > 0);
        assert_eq!(world.api.tokens(), ["seed"]);
    }
}

// S31: a body that cannot be sent again gets its refusal, and the next request a new token
#[tokio::test(start_paused = true)]
async fn a_body_that_cannot_be_sent_twice_gets_its_refusal_and_the_next_request_a_new_token() {
    let world = World::new(live());
    let layer = RefreshLayer::new(world.session.clone()).replay_with(Once);
    let client = layer.layer(world.api.clone());
    world.api.refuse("seed");
    world.api.refuse_with(refusal());
    let hold = world.endpoint.hold();
    let started = tokio::time::Instant::now();
    let response = client.clone().oneshot(request("body")).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(started.elapsed(), Duration::ZERO, "it did not wait for the refresh");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "no, because");

    settle().await;
    assert_eq!(world.endpoint.calls(), 1);
    hold.release();
    assert_eq!(get(client).await.unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens(), ["seed", "access-1"]);
}

// S22: a refused request is sent again with the next token
#[tokio::test(start_paused = true)]
async fn the_second_sending_is_the_request_that_the_caller_made() {
    let world = World::new(live());
    world.api.refuse("seed");
    let request = request("the same bytes");
    let status = send(world.client.clone(), request).await.unwrap();
    assert_eq!(status, StatusCode::OK);
    let bodies: Vec<_> = world.api.seen().into_iter().map(|seen| seen.body).collect();
    assert_eq!(bodies, ["the same bytes"; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_first_sending_goes_on_if_there_is_no_second() {
    let world = World::new(live());
    world.endpoint.answer_always(|| EndpointError::invalid_grant("no").into());
    let sent = Arc::new(Mutex::new(None));
    let api = service_fn({
        let sent = sent.clone();
        move |request: Request<ReplayBody<Full<Bytes>>>| {
            // The server refuses before it has read the body, and goes on to read it.
            *sent.lock().unwrap() = Some(request.into_body());
            let response = Response::builder().status(StatusCode::UNAUTHORIZED).body(());
            ready(response.map_err(BoxError::from))
        }
    });
    let client = RefreshLayer::new(world.session.clone()).layer(api);
    let request = request("body").map(ReplayBody::new);
    let response = client.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let body = sent.lock().unwrap().take().unwrap();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "body");
}
