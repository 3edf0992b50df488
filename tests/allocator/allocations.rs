//! What a request with a fresh token costs in allocations: the header map's own, and none of ours.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::FutureExt;
use http::{
    HeaderValue, Request, Response, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, USER_AGENT},
};
use http_body_util::Full;
use tower::{Layer, Service};
use tower_refresh::{RefreshLayer, Session, Tokens, testing::GatedEndpoint};

use crate::{ALLOCATIONS, TURN};

/// An API that answers at once and allocates nothing.
#[derive(Clone)]
struct Api;

impl Service<Request<Full<Bytes>>> for Api {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
        ready(Ok(Response::new(())))
    }
}

fn request() -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = Uri::from_static("https://api.example.com/orders");
    request
}

/// The fewest of some tries: the first ones set up what later ones use.
fn allocations(mut work: impl FnMut()) -> usize {
    let count = || {
        let before = ALLOCATIONS.get();
        work();
        ALLOCATIONS.get() - before
    };
    std::iter::repeat_with(count).take(10).min().unwrap()
}

#[test]
fn a_fresh_token_costs_no_allocation_of_our_own() {
    let _turn = TURN.blocking_lock();
    let (by_hand, through_the_layer) = compare(request);
    assert_eq!(through_the_layer, by_hand);
}

#[test]
fn headers_of_the_caller_cost_one_allocation_for_all_of_them() {
    let _turn = TURN.blocking_lock();
    let (by_hand, through_the_layer) = compare(|| {
        let mut request = request();
        for name in [ACCEPT, CONTENT_TYPE, ETAG, USER_AGENT] {
            request.headers_mut().insert(name, HeaderValue::from_static("application/json"));
        }
        request
    });
    assert_eq!(through_the_layer, by_hand + 1);
}

/// What a request costs with a token put in by hand, and through the layer.
fn compare(request: impl Fn() -> Request<Full<Bytes>>) -> (usize, usize) {
    let header = HeaderValue::from_static("Bearer token");
    let by_hand = allocations(|| {
        let mut request = request();
        request.headers_mut().insert(AUTHORIZATION, header.clone());
        Api.call(request).now_or_never().unwrap().unwrap();
    });
    let session = Session::builder(GatedEndpoint::new())
        .initial_tokens(Tokens::new("token").unwrap())
        .build();
    let mut client = RefreshLayer::new(session).layer(Api);
    let through_the_layer = allocations(|| {
        client.call(request()).now_or_never().unwrap().unwrap();
    });
    (by_hand, through_the_layer)
}
