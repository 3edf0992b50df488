//! A refused token costs one refresh, and a refused request is sent once more.

use std::time::Duration;

use futures::future::join_all;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::advance;
use tower::Layer;
use tower_refresh::RefreshLayer;

use crate::support::{World, live, request, send};

/// A refusal in other words than a bare 401.
fn refusal(status: StatusCode, header: &str, value: &str) -> Response<&'static str> {
    let builder = Response::builder().status(status).header(header, value);
    builder.body("refused").unwrap()
}

// S22: a refused request is sent again with the next token
#[tokio::test(start_paused = true)]
async fn a_refused_request_is_sent_again_with_the_next_token() {
    let world = World::new(live());
    world.api.refuse("seed");
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens(), ["seed", "access-1"]);
    assert_eq!(world.endpoint.calls(), 1);
}

// S23: the second refusal is the answer
#[tokio::test(start_paused = true)]
async fn the_second_refusal_is_the_answer() {
    let world = World::new(live());
    world.api.refuse_all();
    assert_eq!(world.get().await.unwrap(), StatusCode::UNAUTHORIZED);
    assert_eq!(world.api.tokens(), ["seed", "access-1"]);
    assert_eq!(world.endpoint.calls(), 1);
}

// S24: many refusals at once cost one refresh and one retry each
#[tokio::test(start_paused = true)]
async fn a_hundred_refusals_cost_one_refresh_and_one_retry_each() {
    let world = World::new(live());
    world.api.refuse("seed");
    world.api.hold(true);
    let requests: Vec<_> = (0..100).map(|_| world.start()).collect();
    world.api.arrived(100).await;
    world.api.hold(false);
    for request in join_all(requests).await {
        assert_eq!(request.unwrap().unwrap(), StatusCode::OK);
    }
    assert_eq!(world.endpoint.calls(), 1);
    let tokens = world.api.tokens();
    assert_eq!(tokens.len(), 200);
    assert_eq!(tokens.iter().filter(|&token| token == "access-1").count(), 100);
}

// S25: a late refusal of an old token is retried with the current one and refreshes nothing
#[tokio::test(start_paused = true)]
async fn a_late_refusal_is_retried_with_the_token_that_is_current_by_then() {
    for refreshes in 1..=3 {
        let world = World::new(live());
        world.api.refuse("seed");
        world.api.hold(true);
        let request = world.start();
        world.api.arrived(1).await;
        for _ in 0..refreshes {
            world.session.refresh().await.unwrap();
        }
        world.api.hold(false);
        assert_eq!(request.await.unwrap().unwrap(), StatusCode::OK);
        assert_eq!(world.api.tokens(), ["seed".to_owned(), format!("access-{refreshes}")]);
        assert_eq!(world.endpoint.calls(), refreshes);
    }
}

// S26: a refusal of the new token is a refresh of its own
#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_new_token_is_a_refresh_of_its_own() {
    let world = World::new(live());
    world.api.refuse("seed");
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    advance(Duration::from_secs(60)).await;
    world.api.refuse("access-1");
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens(), ["seed", "access-1", "access-1", "access-2"]);
    assert_eq!(world.endpoint.calls(), 2);
}

// S27: an API that refuses everything causes a bounded number of refreshes
#[tokio::test(start_paused = true)]
async fn an_api_that_refuses_everything_causes_three_refreshes_in_thirty_seconds() {
    let world = World::new(live());
    world.api.refuse_all();
    let get = |route: &str| {
        let request = Request::get(format!("https://api.example.com/{route}"));
        send(world.client.clone(), request.body(Full::default()).unwrap())
    };
    for (window, routes) in (1..).zip(["abcde", "fghij", "klmno", "pqrst"]) {
        for route in routes.split("").filter(|route| !route.is_empty()) {
            for status in join_all((0..20).map(|_| get(route))).await {
                assert_eq!(status.unwrap(), StatusCode::UNAUTHORIZED);
            }
        }
        assert_eq!(world.endpoint.calls(), 3 * window);
        advance(Duration::from_secs(30)).await;
    }
}

// S28: `insufficient_scope` and every other status refresh nothing
#[tokio::test(start_paused = true)]
async fn what_no_new_token_can_mend_is_handed_through() {
    let world = World::new(live());
    world.api.refuse("seed");
    let challenges = [
        "Bearer error=\"insufficient_scope\", scope=\"admin\"",
        "Basic realm=\"a, b\", bearer realm=x , error=insufficient_scope",
        "Bearer error=\"insufficient_user_authentication\", max_age=5",
    ];
    for challenge in challenges {
        let status = StatusCode::UNAUTHORIZED;
        world.api.refuse_with(refusal(status, "www-authenticate", challenge));
        assert_eq!(world.get().await.unwrap(), status, "{challenge}");
    }
    let statuses = (200..600).filter_map(|status| StatusCode::from_u16(status).ok());
    for status in statuses.filter(|&status| status != StatusCode::UNAUTHORIZED) {
        let challenge = "Bearer error=\"invalid_token\"";
        world.api.refuse_with(refusal(status, "www-authenticate", challenge));
        assert_eq!(world.get().await.unwrap(), status);
    }
    assert_eq!(world.endpoint.calls(), 0);
    assert_eq!(world.api.seen().len(), challenges.len() + 399, "each was sent once");
}

// S98: what a challenge says is wrong with a valid token counts under any scheme, and nothing in
// front of it hides it.
#[tokio::test(start_paused = true)]
async fn a_challenge_that_no_refresh_cures_is_found_behind_whatever_stands_in_front_of_it() {
    let world = World::new(live());
    world.api.refuse_all();
    let challenges: [&[u8]; 6] = [
        b"Negotiate oRQwEqADCgEBoQsGCSqGSIb3EgECAg==, Bearer error=\"insufficient_scope\"",
        b"Bearer realm=\"r\xe9serv\xe9\", error=\"insufficient_scope\"",
        "Bearer realm=\"r\u{e9}serv\u{e9}\", error=\"insufficient_scope\"".as_bytes(),
        b"DPoP error=\"use_dpop_nonce\", error_description=\"a nonce is required\"",
        b"DPoP algs=\"ES256 PS256\", error=\"invalid_dpop_proof\"",
        b"Bearer realm=\"\", error=\"insufficient_claims\", claims=\"eyJhY2Nlc3NfdG9rZW4iOnt9fQ==\"",
    ];
    let layer = RefreshLayer::new(world.session.clone()).refused_when(|_, _| true);
    for challenge in challenges {
        let value = HeaderValue::from_bytes(challenge).unwrap();
        let refusal = Response::builder().status(401).header("www-authenticate", "NTLM");
        world.api.refuse_with(refusal.header("www-authenticate", &value).body("").unwrap());
        assert_eq!(world.get().await.unwrap(), StatusCode::UNAUTHORIZED);
        // Whatever a predicate says.
        send(layer.layer(world.api.clone()), request("")).await.unwrap();
        assert_eq!(world.endpoint.calls(), 0, "{value:?}");
    }
    assert_eq!(world.api.seen().len(), 2 * challenges.len(), "each was sent once");
    world.api.refuse_with(refusal(
        StatusCode::UNAUTHORIZED,
        "www-authenticate",
        "Basic realm=\"x\"",
    ));
    world.get().await.unwrap();
    assert_eq!(world.endpoint.calls(), 1);
}

// S32: gRPC's `UNAUTHENTICATED` in the headers is a refusal
#[tokio::test(start_paused = true)]
async fn grpc_unauthenticated_in_the_headers_is_a_refusal() {
    let world = World::new(live());
    world.api.refuse("seed");
    for other in ["0", "7", "160"] {
        world.api.refuse_with(refusal(StatusCode::OK, "grpc-status", other));
        assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    }
    assert_eq!(world.endpoint.calls(), 0);
    world.api.refuse_with(refusal(StatusCode::OK, "grpc-status", "16"));
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens().split_off(3), ["seed", "access-1"]);
    assert_eq!(world.endpoint.calls(), 1);
}
