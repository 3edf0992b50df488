//! Tower's contract: readied before each call, and nothing held while waiting.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, poll};
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::Full;
use tokio::sync::Semaphore;
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt, limit::GlobalConcurrencyLimitLayer, service_fn,
};
use tower_refresh::{
    BoxError, RefreshLayer, Session,
    endpoint::{RefreshRequest, TokenResponse},
};
use tower_test::mock;

use crate::support::{Api, World, expired, get, live, request};

type Req = Request<Full<Bytes>>;
type Resp = Response<Full<Bytes>>;

fn response(status: StatusCode) -> Resp {
    Response::builder().status(status).body(Full::default()).unwrap()
}

fn bearer(request: &Req) -> &str {
    request.headers()[AUTHORIZATION].to_str().unwrap()
}

// S56: Tower's contract is kept: never called unready, nothing held while a refresh is awaited
#[tokio::test(start_paused = true)]
async fn the_service_inside_is_readied_before_each_call() {
    // The mock panics if it is called without.
    let world = World::new(live());
    let (service, mut handle) = mock::pair::<Req, Resp>();
    let mut client = RefreshLayer::new(world.session.clone()).layer(service);
    handle.allow(1);
    let mut call = Box::pin(client.ready().await.unwrap().call(request("")));
    assert!(poll!(call.as_mut()).is_pending());
    let (first, answer) = handle.next_request().await.unwrap();
    assert_eq!(bearer(&first), "Bearer seed");
    answer.send_response(response(StatusCode::UNAUTHORIZED));
    assert!(poll!(call.as_mut()).is_pending());
    world.endpoint.calls_reached(1).await;

    // There is a token, and the service takes no more: the retry waits like any other.
    assert_eq!(world.session.token().await.unwrap().header_value(), "Bearer access-1");
    assert!(poll!(call.as_mut()).is_pending());
    assert!(handle.next_request().now_or_never().is_none());
    handle.allow(1);
    assert!(poll!(call.as_mut()).is_pending());
    let (second, answer) = handle.next_request().await.unwrap();
    assert_eq!(bearer(&second), "Bearer access-1");
    answer.send_response(response(StatusCode::OK));
    assert_eq!(call.await.unwrap().status(), StatusCode::OK);
}

// S56: Tower's contract is kept: never called unready, nothing held while a refresh is awaited
#[tokio::test(start_paused = true)]
async fn a_request_that_waited_for_its_first_token_readies_the_service_anew() {
    let world = World::new(expired());
    let (service, mut handle) = mock::pair::<Req, Resp>();
    let mut client = RefreshLayer::new(world.session.clone()).layer(service);
    let mut call = Box::pin(client.ready().await.unwrap().call(request("")));
    handle.allow(0);
    assert!(poll!(call.as_mut()).is_pending());
    world.session.token().await.unwrap();
    assert!(poll!(call.as_mut()).is_pending());
    handle.send_error("out of order");
    let error = call.await.unwrap_err();
    assert!(error.to_string().contains("out of order"), "{error}");
}

// S56: Tower's contract is kept: never called unready, nothing held while a refresh is awaited
#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_ready_makes_the_caller_wait() {
    let world = World::new(live());
    let (service, mut handle) = mock::pair::<Req, Resp>();
    let mut client = RefreshLayer::new(world.session.clone()).layer(service);
    handle.allow(0);
    assert!(client.ready().now_or_never().is_none());
    handle.allow(1);
    let call = tokio::spawn(client.ready().await.unwrap().call(request("")));
    let (request, answer) = handle.next_request().await.unwrap();
    assert_eq!(bearer(&request), "Bearer seed");
    answer.send_response(response(StatusCode::OK));
    call.await.unwrap().unwrap();
}

// S56: Tower's contract is kept: never called unready, nothing held while a refresh is awaited
#[tokio::test(start_paused = true)]
async fn no_permit_is_held_while_a_refresh_is_awaited() {
    for refused in [false, true] {
        let world = World::new(if refused { live() } else { expired() });
        let permits = Arc::new(Semaphore::new(1));
        let client = ServiceBuilder::new()
            .layer(RefreshLayer::new(world.session.clone()))
            .layer(GlobalConcurrencyLimitLayer::with_semaphore(permits.clone()))
            .service(world.api.clone());
        world.api.refuse("seed");
        let hold = world.endpoint.hold();
        let callers: Vec<_> = (0..10).map(|_| tokio::spawn(get(client.clone()))).collect();
        world.endpoint.calls_reached(1).await;
        // Those who come after the first refusal never get as far as the API.
        tokio::task::yield_now().await;
        assert_eq!(permits.available_permits(), 1);
        hold.release();
        for caller in callers {
            assert_eq!(caller.await.unwrap().unwrap(), StatusCode::OK);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_permit_is_held_by_a_service_that_sent_nothing() {
    let world = World::new(live());
    let permits = Arc::new(Semaphore::new(1));
    let mut client = ServiceBuilder::new()
        .layer(RefreshLayer::new(world.session.clone()))
        .layer(GlobalConcurrencyLimitLayer::with_semaphore(permits.clone()))
        .service(world.api.clone());
    let unencrypted = Request::get("http://api.example.com/").body(Full::default()).unwrap();
    client.ready().await.unwrap().call(unencrypted).await.unwrap_err();
    assert_eq!(permits.available_permits(), 1, "a token does not travel in the open");

    world.session.log_out().await.unwrap();
    client.ready().await.unwrap().call(request("")).await.unwrap_err();
    assert_eq!(permits.available_permits(), 1, "there is no token any more");
}

#[tokio::test(start_paused = true)]
async fn a_service_in_use_goes_by_how_the_session_is_now() {
    let world = World::new(live());
    let mut client = RefreshLayer::new(world.session.clone()).layer(world.api.clone());
    // From the second request on it has a copy of the token.
    for _ in 0..3 {
        client.ready().await.unwrap().call(request("")).await.unwrap();
    }
    world.session.refresh().await.unwrap();
    client.ready().await.unwrap().call(request("")).await.unwrap();
    assert_eq!(world.api.tokens(), ["seed", "seed", "seed", "access-1"]);
    world.session.log_out().await.unwrap();
    client.ready().await.unwrap().call(request("")).await.unwrap_err();
    assert_eq!(world.api.seen().len(), 4);
}

// S56: Tower's contract is kept: never called unready, nothing held while a refresh is awaited
#[tokio::test(start_paused = true)]
async fn a_refresh_may_need_the_very_permit_that_its_caller_had() {
    for refused in [false, true] {
        let (api, server) = (Api::new(), Api::new());
        let limit = GlobalConcurrencyLimitLayer::new(1);
        let through = limit.layer(server.clone());
        let endpoint = service_fn(move |_: RefreshRequest| {
            let through = through.clone();
            async move {
                through.oneshot(request("")).await?;
                Ok::<_, BoxError>(TokenResponse::new("next")?)
            }
        });
        let tokens = if refused { live() } else { expired() };
        let session = Session::builder(endpoint).initial_tokens(tokens).build();
        let client = RefreshLayer::new(session).layer(limit.layer(api.clone()));
        api.refuse("seed");
        assert_eq!(get(client).await.unwrap(), StatusCode::OK);
        assert_eq!(server.seen().len(), 1);
    }
}
