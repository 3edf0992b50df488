//! What the contenders' requests are handed on to: nothing.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::Full;
use tower::Service;

/// Where the requests would go. `https`, since some put no token on anything else.
pub(super) const URL: &str = "https://api.example.com/orders";

/// What they accept, and what they send.
pub(super) const JSON: &str = "application/json";

/// A request with headers of its own, as most have: whoever copies it for a retry copies them too.
pub(super) fn request() -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = Uri::from_static(URL);
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static(JSON));
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    request
}

/// An HTTP client that answers at once and allocates nothing.
#[derive(Clone)]
pub(super) struct Api;

impl Service<Request<Full<Bytes>>> for Api {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        debug_assert!(request.headers().contains_key(AUTHORIZATION));
        ready(Ok(Response::new(())))
    }
}
