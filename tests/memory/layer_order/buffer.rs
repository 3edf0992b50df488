//! tower's `Buffer`.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Service, ServiceBuilder};
use tower_refresh::{Error, RefreshLayer, endpoint::EndpointError};

use crate::support::{Api, World, expired, get, live};

/// A service that cannot be cloned, as one that owns its connection.
struct Only(Api);

impl Service<Request<Full<Bytes>>> for Only {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = <Api as Service<Request<Full<Bytes>>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        self.0.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn a_buffer_inside_makes_a_service_one_that_can_be_sent_through_twice() {
    let world = World::new(live());
    world.api.refuse("seed");
    let client = ServiceBuilder::new()
        .layer(RefreshLayer::new(world.session.clone()))
        .buffer(1)
        .service(Only(world.api.clone()));
    assert_eq!(get(client).await.unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens(), ["seed", "access-1"]);
}

#[tokio::test(start_paused = true)]
async fn callers_that_wait_for_a_token_do_not_fill_a_buffer_outside() {
    let world = World::new(expired());
    let hold = world.endpoint.hold();
    let client = ServiceBuilder::new()
        .buffer(1)
        .layer(RefreshLayer::new(world.session.clone()))
        .service(world.api.clone());
    let callers: Vec<_> = (0..10).map(|_| tokio::spawn(get(client.clone()))).collect();
    world.endpoint.calls_reached(1).await;
    assert_eq!(super::concurrency_limit::unsigned(client).await, StatusCode::OK);
    hold.release();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap(), StatusCode::OK);
    }
}

#[tokio::test(start_paused = true)]
async fn a_buffer_outside_wraps_errors_and_they_are_found() {
    let world = World::new(expired());
    world.endpoint.answer_always(|| EndpointError::invalid_grant("over").into());
    let client = ServiceBuilder::new()
        .buffer(1)
        .layer(RefreshLayer::new(world.session.clone()))
        .service(world.api.clone());
    let error = get(client).await.unwrap_err();
    assert!(Error::find(error.as_ref()).unwrap().is_login_required());
}
