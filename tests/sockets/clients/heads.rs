//! A refusal is what the user's predicate makes of both heads, as a middleware and as a service.

use http::{HeaderName, Request, StatusCode, header::WWW_AUTHENTICATE};
use reqwest::Body;
use tower_refresh::{RefreshLayer, RequestHead, ResponseHead};

use super::support::{EITHER, Server, Through, answer, client, post, seeded, value, with};

/// An API that answers 403 to `seed`.
async fn forbidding() -> Server {
    Server::start(|request| {
        answer(if value(request, "authorization") == "Bearer seed" { 403 } else { 200 })
    })
    .await
}

/// The status of the answer, and how often the endpoint was called.
async fn judged<F>(through: Through, predicate: F, request: Request<Body>) -> (u16, usize)
where
    F: Fn(&RequestHead<'_>, &ResponseHead<'_>) -> bool + Send + Sync + 'static,
{
    let (endpoint, session) = seeded();
    let layer = RefreshLayer::new(session).refused_when(predicate);
    let answer = through.send(&layer, request).await.unwrap();
    (answer.status.as_u16(), endpoint.calls())
}

// S81: the user's predicate sees the heads of request and response
#[tokio::test]
async fn a_403_means_expired_on_one_route_and_forbidden_on_another() {
    let server = forbidding().await;
    for through in EITHER {
        let expired = |request: &RequestHead<'_>, response: &ResponseHead<'_>| {
            request.method() == "POST"
                && request.uri().path() == "/v1/orders"
                && response.status() == StatusCode::FORBIDDEN
        };
        let to = |path: &str| post(&format!("{}{path}", server.url.trim_end_matches('/')));
        assert_eq!(judged(through, expired, to("/v1/orders")).await, (200, 1), "{through:?}");
        assert_eq!(judged(through, expired, to("/v2/orders")).await, (403, 0), "{through:?}");
    }
}

// S81: the user's predicate sees the heads of request and response
#[tokio::test]
async fn a_predicate_goes_by_a_header_of_the_request_and_sees_none_of_ours() {
    let server = forbidding().await;
    for through in EITHER {
        let marked = |request: &RequestHead<'_>, _: &ResponseHead<'_>| {
            assert_eq!(request.header(&http::header::AUTHORIZATION), None);
            request.header(&HeaderName::from_static("x-kind")).is_some_and(|kind| kind == "old")
        };
        let mut request = post(&server.url);
        request.headers_mut().insert("x-kind", "old".parse().unwrap());
        assert_eq!(judged(through, marked, request).await, (200, 1), "{through:?}");
        assert_eq!(judged(through, marked, post(&server.url)).await, (403, 0), "{through:?}");
    }
}

#[derive(Clone)]
struct Old;

// S81: the user's predicate sees the heads of request and response
#[tokio::test]
async fn a_predicate_goes_by_an_extension_of_the_request() {
    let server = forbidding().await;
    let (endpoint, session) = seeded();
    let layer =
        RefreshLayer::new(session).refused_when(|request, _| request.extension::<Old>().is_some());
    let client = with(client().build().unwrap(), &layer);
    assert_eq!(client.get(&server.url).send().await.unwrap().status(), 403);
    assert_eq!(endpoint.calls(), 0);
    assert_eq!(client.get(&server.url).with_extension(Old).send().await.unwrap().status(), 200);
    assert_eq!(endpoint.calls(), 1);
}

// S81: the user's predicate sees the heads of request and response
// S28: `insufficient_scope` and every other status refresh nothing
#[tokio::test]
async fn what_no_refresh_can_cure_is_not_the_predicates_business() {
    for through in EITHER {
        for status in [401, 403] {
            let server = Server::start(move |_| {
                let mut response = answer(status);
                let challenge = "Bearer error=\"insufficient_scope\"".parse().unwrap();
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                response
            })
            .await;
            assert_eq!(judged(through, |_, _| true, post(&server.url)).await, (status, 0));
            assert_eq!(server.seen().len(), 1);
        }
    }
}
