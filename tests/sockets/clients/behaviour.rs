//! What the layer does under hyper, it does under reqwest, as a middleware and as a service.

use std::time::SystemTime;

use bytes::Bytes;
use futures::future::join_all;
use http::{HeaderName, Response, header};
use http_body_util::Full;
use tokio::sync::watch;
use tower_refresh::{
    Error, ErrorKind, NoToken, RefreshLayer, Session, Tokens, endpoint::EndpointError,
    replay::Never, testing::GatedEndpoint,
};

use super::support::{
    EITHER, Server, Through, answer, client, in_time, post, refuse_seed, seeded, value, with,
};

// S22: a refused request is sent again with the next token
// S51: after a refusal the server gets the same bytes in the same order, trailers included
#[tokio::test]
async fn a_refused_request_is_sent_once_more_with_the_next_token_and_the_same_body() {
    for through in EITHER {
        let server = Server::start(refuse_seed).await;
        let (endpoint, session) = seeded();
        let layer = RefreshLayer::new(session);
        assert_eq!(through.send(&layer, post(&server.url)).await.unwrap().status, 200);
        assert_eq!(server.values("authorization"), ["Bearer seed", "Bearer access-1"]);
        assert!(server.seen().iter().all(|request| request.body() == "an order"));
        assert_eq!(endpoint.calls(), 1);
    }
}

// S23: the second refusal is the answer
#[tokio::test]
async fn the_answer_to_the_retry_is_the_answer() {
    for through in EITHER {
        let server = Server::start(|_| answer(401)).await;
        let (endpoint, session) = seeded();
        let layer = RefreshLayer::new(session);
        assert_eq!(through.send(&layer, post(&server.url)).await.unwrap().status, 401);
        assert_eq!((server.seen().len(), endpoint.calls()), (2, 1));
    }
}

// S24: many refusals at once cost one refresh and one retry each
#[tokio::test]
async fn a_hundred_requests_refused_at_once_cost_one_refresh_and_one_retry_each() {
    const REQUESTS: usize = 100;
    crate::room::for_many();
    for through in EITHER {
        let refused = watch::Sender::new(0);
        let server = Server::start_async(move |request| {
            let refused = refused.clone();
            async move {
                if value(&request, "authorization") == "Bearer seed" {
                    // Nobody is refused before everybody has sent the old token.
                    refused.send_modify(|refused| *refused += 1);
                    refused.subscribe().wait_for(|&refused| refused >= REQUESTS).await.unwrap();
                }
                refuse_seed(&request)
            }
        })
        .await;
        let (endpoint, session) = seeded();
        let layer = RefreshLayer::new(session);
        let client = client().build().unwrap();
        let requests =
            (0..REQUESTS).map(|_| through.send_by(client.clone(), &layer, post(&server.url)));
        for answer in join_all(requests).await {
            assert_eq!(answer.unwrap().status, 200);
        }
        assert_eq!((server.seen().len(), endpoint.calls()), (2 * REQUESTS, 1));
    }
}

// S28: `insufficient_scope` and every other status refresh nothing
#[tokio::test]
async fn what_a_new_token_would_not_cure_causes_no_refresh() {
    for through in EITHER {
        for status in [200, 204, 400, 403, 404, 407, 429, 500, 503] {
            let (server, calls, answered) = answered_with(through, answer(status)).await;
            assert_eq!((server, calls, answered), (1, 0, status));
        }
        for error in ["insufficient_scope", "insufficient_user_authentication"] {
            let mut response = answer(401);
            let challenge = format!("Bearer error=\"{error}\"").parse().unwrap();
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            assert_eq!(answered_with(through, response).await, (1, 0, 401));
        }
    }
}

/// How often the API and the endpoint are called if the API has only that answer, and its status.
async fn answered_with(through: Through, response: Response<Full<Bytes>>) -> (usize, usize, u16) {
    let server = Server::start(move |_| response.clone()).await;
    let (endpoint, session) = seeded();
    let answer = through.send(&RefreshLayer::new(session), post(&server.url)).await.unwrap();
    (server.seen().len(), endpoint.calls(), answer.status.as_u16())
}

// S30: when the refresh fails, the refusal reaches the caller whole
#[tokio::test]
async fn a_failed_refresh_leaves_the_caller_the_refusal_with_its_body() {
    for through in EITHER {
        let server = Server::start(refuse_seed).await;
        let (endpoint, session) = seeded();
        endpoint.answer(EndpointError::invalid_grant("the grant is over"));
        let answer = through.send(&RefreshLayer::new(session), post(&server.url)).await.unwrap();
        assert_eq!((answer.status.as_u16(), &*answer.body), (401, &b"try another"[..]));
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_request_on_an_expired_token_waits_for_the_next() {
    for through in EITHER {
        let server = Server::start(refuse_seed).await;
        let endpoint = GatedEndpoint::new();
        let expired = Tokens::new("seed").unwrap().with_expires_at(SystemTime::now());
        let expired = expired.with_refresh_token("refresh-0").unwrap();
        let session = Session::builder(endpoint.clone()).initial_tokens(expired).build();
        let layer = RefreshLayer::new(session);
        let hold = endpoint.hold();
        let url = server.url.clone();
        let waiting = tokio::spawn(async move { through.send(&layer, post(&url)).await });
        in_time(endpoint.calls_reached(1)).await;
        assert_eq!(server.seen().len(), 0);
        hold.release();
        assert_eq!(waiting.await.unwrap().unwrap().status, 200);
        assert_eq!(server.values("authorization"), ["Bearer access-1"]);
    }
}

// S7: a token travels over https or to this machine only, unless plaintext is allowed
#[tokio::test]
async fn errors_of_ours_are_found_under_those_of_the_client() {
    for through in EITHER {
        let (endpoint, session) = seeded();
        let layer = RefreshLayer::new(session.clone());
        let error = through.send(&layer, post("http://api.example.com/")).await.unwrap_err();
        assert_eq!(Error::find(&*error).unwrap().kind(), ErrorKind::Plaintext, "{through:?}");

        session.log_out().await.unwrap();
        let error = through.send(&layer, post("https://api.example.com/")).await.unwrap_err();
        assert!(Error::find(&*error).unwrap().is_login_required(), "{through:?}");
        assert_eq!(endpoint.calls(), 0);
    }
    let (_, session) = seeded();
    let client = with(client().build().unwrap(), &RefreshLayer::new(session));
    let error = client.get("http://api.example.com/").send().await.unwrap_err();
    assert!(error.is_middleware());
    assert_eq!(error.to_string(), "the request was not sent");
    assert!(Error::find(&error).unwrap().to_string().contains("allow_plaintext"), "{error:?}");
}

// S2: a request with its own `Authorization` keeps it, and its 401 is its own
// S8: the rules are looked at in one order, and origins compare by scheme, host and port
#[tokio::test]
async fn requests_that_are_none_of_its_business_go_out_as_they_are() {
    for through in EITHER {
        let server = Server::start(|_| answer(401)).await;
        let (endpoint, session) = seeded();
        let mut own = post(&server.url);
        own.headers_mut().insert(header::AUTHORIZATION, "Bearer mine".parse().unwrap());
        let layer = RefreshLayer::new(session.clone());
        assert_eq!(through.send(&layer, own).await.unwrap().status, 401);

        let bound =
            RefreshLayer::new(session).only_for(["https://api.example.com".parse().unwrap()]);
        assert_eq!(through.send(&bound, post(&server.url)).await.unwrap().status, 401);
        assert_eq!(server.values("authorization"), ["Bearer mine", ""]);
        assert_eq!(endpoint.calls(), 0);
    }
}

// S3: a request that opted out gets no token and causes no refresh
#[tokio::test]
async fn a_request_opts_out_by_an_extension() {
    let server = Server::start(|_| answer(401)).await;
    let (endpoint, session) = seeded();
    let client = with(client().build().unwrap(), &RefreshLayer::new(session));
    let response = client.get(&server.url).with_extension(NoToken).send().await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!((server.values("authorization"), endpoint.calls()), (vec![String::new()], 0));
}

#[tokio::test]
async fn options_of_the_layer_are_options_of_the_middleware() {
    let server = Server::start(|request| {
        answer(match value(request, "x-token") {
            "Bearer seed" => 419,
            _ => 200,
        })
    })
    .await;
    let (endpoint, session) = seeded();
    let layer = RefreshLayer::new(session)
        .header(HeaderName::from_static("x-token"))
        .refused_when(|_, response| response.status().as_u16() == 419);
    for through in EITHER {
        assert_eq!(through.send(&layer, post(&server.url)).await.unwrap().status, 200);
    }
    assert_eq!(endpoint.calls(), 1);
    assert_eq!(server.values("authorization"), ["", "", ""]);

    let (endpoint, session) = seeded();
    let once = RefreshLayer::new(session).replay_with(Never);
    let client =
        reqwest_middleware::ClientBuilder::new(client().build().unwrap()).with(once).build();
    let refusing = Server::start(|_| answer(401)).await;
    assert_eq!(client.get(&refusing.url).send().await.unwrap().status(), 401);
    assert_eq!(refusing.seen().len(), 1);
    in_time(endpoint.calls_reached(1)).await;
}
