//! Clients that follow redirects below the layer, or around it: what gets to the other host.

use bytes::Bytes;
use http::{HeaderName, Request, header::LOCATION};
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use reqwest::redirect;
use tower::{ServiceBuilder, ServiceExt};
use tower_http::follow_redirect::FollowRedirectLayer;
use tower_refresh::RefreshLayer;

use super::support::{EITHER, Server, answer, client, post, seeded};

const X_TOKEN: HeaderName = HeaderName::from_static("x-token");

/// An API that redirects to another host, and the other host, which refuses everybody.
async fn two_hosts() -> (Server, Server) {
    let other = Server::start(|_| answer(401)).await;
    let target = other.url.parse().unwrap();
    let api = Server::start(move |_| {
        let mut response = answer(307);
        response.headers_mut().insert(LOCATION, http::HeaderValue::clone(&target));
        response
    })
    .await;
    (api, other)
}

// S68: a 401 of another origin is no refusal
#[tokio::test]
async fn reqwest_takes_authorization_off_and_a_refusal_there_is_none_of_ours() {
    for through in EITHER {
        let (api, other) = two_hosts().await;
        let (endpoint, session) = seeded();
        let answer = through.send(&RefreshLayer::new(session), post(&api.url)).await.unwrap();
        assert_eq!(answer.status, 401);
        assert_eq!(api.values("authorization"), ["Bearer seed"]);
        assert_eq!(other.values("authorization"), [""]);
        assert_eq!(endpoint.calls(), 0, "{through:?}");
    }
}

#[tokio::test]
async fn a_redirect_within_the_origin_keeps_the_token_and_its_refusal_is_ours() {
    for through in EITHER {
        let api = Server::start(|request| {
            let moved = request.uri().path() == "/v2";
            let mut response = answer(if moved { 401 } else { 307 });
            response.headers_mut().insert(LOCATION, "/v2".parse().unwrap());
            response
        })
        .await;
        let (endpoint, session) = seeded();
        let answer = through.send(&RefreshLayer::new(session), post(&api.url)).await.unwrap();
        assert_eq!(answer.status, 401);
        let (old, new) = ("Bearer seed", "Bearer access-1");
        assert_eq!(api.values("authorization"), [old, old, new, new]);
        assert_eq!(endpoint.calls(), 1);
    }
}

/// Why the documentation of `RefreshLayer::header` warns: reqwest does not know that the header
/// is a secret, and a binding of the layer does not reach what happens below it.
#[tokio::test]
async fn a_header_of_ones_own_leaks_if_reqwest_follows_a_redirect() {
    for through in EITHER {
        let (api, other) = two_hosts().await;
        let (_, session) = seeded();
        let layer = RefreshLayer::new(session).header(X_TOKEN).only_for([api.url.parse().unwrap()]);
        through.send(&layer, post(&api.url)).await.unwrap();
        assert_eq!(other.values("x-token"), ["Bearer seed"]);
    }
}

#[tokio::test]
async fn a_header_of_ones_own_stays_if_reqwest_leaves_redirects_to_other_hosts_alone() {
    let within_origin = redirect::Policy::custom(|attempt| {
        match attempt.previous().first().map(reqwest::Url::origin) {
            Some(origin) if origin == attempt.url().origin() => attempt.follow(),
            _ => attempt.stop(),
        }
    });
    for (through, policy) in EITHER.into_iter().zip([redirect::Policy::none(), within_origin]) {
        let (api, other) = two_hosts().await;
        let (_, session) = seeded();
        let layer = RefreshLayer::new(session).header(X_TOKEN);
        let client = client().redirect(policy).build().unwrap();
        let answer = through.send_by(client, &layer, post(&api.url)).await.unwrap();
        assert_eq!(answer.status, 307);
        assert_eq!(api.values("x-token"), ["Bearer seed"]);
        assert_eq!(other.seen().len(), 0);
    }
}

/// Tower's own way: each hop comes through the layer, which is bound to the API.
#[tokio::test]
async fn a_header_of_ones_own_stays_if_the_layer_is_bound_and_inside_of_what_follows() {
    let (api, other) = two_hosts().await;
    let (_, session) = seeded();
    let layer = RefreshLayer::new(session).header(X_TOKEN).only_for([api.url.parse().unwrap()]);
    let client = ServiceBuilder::new()
        .layer(FollowRedirectLayer::new())
        .layer(layer)
        .service(Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>());
    let request = Request::get(&api.url).body(Full::default()).unwrap();
    assert_eq!(client.oneshot(request).await.unwrap().status(), 401);
    assert_eq!(api.values("x-token"), ["Bearer seed"]);
    assert_eq!(other.values("x-token"), [""]);
}
