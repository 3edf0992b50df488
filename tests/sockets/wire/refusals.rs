//! What a 401 leads to.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use bytes::Bytes;
use futures::future::join_all;
use http::{Response, StatusCode, header};
use serde_json::json;
use tokio::sync::watch;
use tower::Layer;
use tower_refresh::{
    Error, ErrorKind, RefreshLayer,
    testing::{AuthServer, Fault, Issuer, Refusal},
};

use super::support::{
    BOTH, World, answer, bearer, expired, http, in_time, post, seeded, send, serve,
};

// S22: a refused request is sent again with the next token
// S26: a refusal of the new token is a refresh of its own
#[tokio::test]
async fn each_revocation_costs_one_refresh_and_one_retry_and_nobody_sees_it() {
    for version in BOTH {
        let world = World::new(version).await;
        for round in 1..=3 {
            world.server.revoke_access_tokens();
            assert_eq!(world.status().await, 200);
            assert_eq!(world.status().await, 200);
            let counts = world.server.counts();
            assert_eq!((counts.calls, counts.refused, counts.requests), (round, round, 3 * round));
            assert_eq!(counts.reuses, 0);
        }
    }
}

// S23: the second refusal is the answer
#[tokio::test]
async fn the_second_refusal_is_the_answer() {
    for version in BOTH {
        let world = World::new(version).await;
        world.server.refuse_everything(true);
        assert_eq!(world.status().await, 401);
        let counts = world.server.counts();
        assert_eq!((counts.calls, counts.requests), (1, 2));
    }
}

// S27: an API that refuses everything causes a bounded number of refreshes
#[tokio::test]
async fn an_api_that_refuses_everything_on_one_route_costs_one_refresh() {
    let server = AuthServer::builder().rotate(true).start().await.unwrap();
    let world = World::with(server, BOTH[0], |builder, login| {
        builder.initial_tokens(login.tokens().unwrap()).min_interval(std::time::Duration::ZERO)
    });
    world.server.refuse_everything(true);
    for _ in 0..20 {
        assert_eq!(world.status().await, 401);
    }
    assert_eq!(world.server.counts().calls, 1);
    assert_eq!(world.server.counts().requests, 20 + 1);
}

// S24: many refusals at once cost one refresh and one retry each
#[tokio::test]
async fn a_hundred_requests_refused_at_once_cost_one_refresh_and_one_retry_each() {
    const REQUESTS: usize = 100;
    crate::room::for_many();
    for version in BOTH {
        let (endpoint, session) = seeded();
        let refused = watch::Sender::new(0);
        let retried = Arc::new(AtomicUsize::new(0));
        let (refuse, retry) = (refused.clone(), retried.clone());
        let url = serve(move |request| {
            let (refuse, retry) = (refuse.clone(), retry.clone());
            async move {
                if bearer(request.headers()) != "seed" {
                    retry.fetch_add(1, SeqCst);
                    return answer(200);
                }
                // Nobody is refused before everybody has sent the old token.
                refuse.send_modify(|refused| *refused += 1);
                refuse.subscribe().wait_for(|&refused| refused >= REQUESTS).await.unwrap();
                answer(401)
            }
        })
        .await;
        let client = RefreshLayer::new(session).layer(http(version));
        let requests = (0..REQUESTS).map(|_| send(client.clone(), post(&url)));
        for answer in join_all(requests).await {
            assert_eq!(answer.unwrap().status, 200);
        }
        assert_eq!(endpoint.calls(), 1);
        assert_eq!((*refused.borrow(), retried.load(SeqCst)), (REQUESTS, REQUESTS));
    }
}

// S25: a late refusal of an old token is retried with the current one and refreshes nothing
#[tokio::test]
async fn a_late_refusal_of_the_old_token_is_retried_without_another_refresh() {
    for version in BOTH {
        let (endpoint, session) = seeded();
        let late = watch::Sender::new((false, false));
        let gate = late.clone();
        let url = serve(move |request| {
            let gate = gate.clone();
            async move {
                let old = bearer(request.headers()) == "seed";
                if old && request.uri().path() == "/late" {
                    gate.send_modify(|(arrived, _)| *arrived = true);
                    gate.subscribe().wait_for(|&(_, go_on)| go_on).await.unwrap();
                }
                answer(if old { 401 } else { 200 })
            }
        })
        .await;
        let client = RefreshLayer::new(session).layer(http(version));
        let waiting = tokio::spawn(send(client.clone(), post(&format!("{url}/late"))));
        in_time(late.subscribe().wait_for(|&(arrived, _)| arrived)).await.unwrap();
        assert_eq!(send(client, post(&url)).await.unwrap().status, 200);
        assert_eq!(endpoint.calls(), 1);

        late.send_modify(|(_, go_on)| *go_on = true);
        assert_eq!(waiting.await.unwrap().unwrap().status, 200);
        assert_eq!(endpoint.calls(), 1);
    }
}

// S28: `insufficient_scope` and every other status refresh nothing
#[tokio::test]
async fn what_a_new_token_would_not_cure_causes_no_refresh() {
    for version in BOTH {
        let world = World::new(version).await;
        world.server.refuse_everything(true);
        let not_enough = Response::builder()
            .status(401)
            .header(header::WWW_AUTHENTICATE, r#"Basic realm="a, b""#)
            .header(header::WWW_AUTHENTICATE, r#"Bearer realm="x", error="insufficient_scope""#)
            .body(Bytes::new())
            .unwrap();
        let statuses = [403, 404, 407, 419, 429, 500, 503].map(|status| {
            Refusal::Answer(Response::builder().status(status).body(Bytes::new()).unwrap())
        });
        let refusals = [Refusal::InsufficientScope, Refusal::Answer(not_enough)];
        for (sent, refusal) in (1..).zip(refusals.into_iter().chain(statuses)) {
            world.server.refuse_with(refusal);
            assert_ne!(world.status().await, 200);
            assert_eq!(world.server.counts().requests, sent);
        }
        assert_eq!(world.server.counts().calls, 0);
    }
}

// S32: gRPC's `UNAUTHENTICATED` in the headers is a refusal
#[tokio::test]
async fn a_grpc_status_in_the_headers_is_a_refusal() {
    let world = World::new(BOTH[1]).await;
    world.server.refuse_with(Refusal::Grpc);
    world.server.revoke_access_tokens();
    assert!(!world.send().await.unwrap().body.is_empty(), "that is the API's own answer");
    assert_eq!((world.server.counts().calls, world.server.counts().refused), (1, 1));
}

// S30: when the refresh fails, the refusal reaches the caller whole
#[tokio::test]
async fn if_the_refresh_fails_the_caller_reads_the_original_refusal() {
    for version in BOTH {
        for length in [12, 1024 * 1024] {
            let server = AuthServer::builder().rotate(true).start().await.unwrap();
            let world = World::with(server, version, |builder, login| {
                builder.initial_tokens(login.tokens().unwrap()).attempts(1)
            });
            let why = Bytes::from(vec![b'y'; length]);
            let refusal = Response::builder().status(401).body(why.clone()).unwrap();
            world.server.refuse_with(Refusal::Answer(refusal));
            world.server.revoke_access_tokens();
            world.server.faults_always(Fault::status(StatusCode::SERVICE_UNAVAILABLE));
            let answer = world.send().await.unwrap();
            assert_eq!(answer.status, 401);
            assert_eq!(answer.body, why);
            assert_eq!((world.server.counts().calls, world.server.counts().requests), (1, 1));
        }
    }
}

// S33: a 401 of the token endpoint is a failed refresh; an endpoint behind its own session is an
// error
#[tokio::test]
async fn a_401_from_the_token_endpoint_is_a_failed_refresh_and_no_refusal() {
    for version in BOTH {
        let world = World::new(version).await;
        world.server.revoke_all();
        assert_eq!(world.status().await, 401, "the API's own answer");
        let counts = world.server.counts();
        assert_eq!((counts.calls, counts.rejected, counts.requests), (1, 1, 1));

        // From here on nothing is sent to anybody.
        for _ in 0..5 {
            let error = world.send().await.unwrap_err();
            assert!(Error::find(&*error).unwrap().is_login_required());
        }
        assert_eq!(world.server.counts(), counts);
    }
}

// S39: the refused token again, or an expired one, causes no loop
#[tokio::test]
async fn an_endpoint_that_answers_with_the_refused_token_causes_no_loop() {
    let server = AuthServer::start().await.unwrap();
    let world = World::with(server, BOTH[0], |builder, login| {
        builder.initial_tokens(login.tokens().unwrap()).min_interval(std::time::Duration::ZERO)
    });
    world.server.revoke_access_tokens();
    let same = json!({ "token": world.login.access_token }).to_string();
    world.server.faults_always(Fault::body(same));
    assert_eq!(world.status().await, 401);
    assert_eq!((world.server.counts().calls, world.server.counts().requests), (1, 1));
    for _ in 0..20 {
        assert_eq!(world.status().await, 401);
    }
    assert_eq!(world.server.counts().calls, 3, "as many as refusals may cause");
}

// S39: the refused token again, or an expired one, causes no loop
#[tokio::test]
async fn an_endpoint_that_answers_with_an_expired_token_causes_no_loop() {
    let server = AuthServer::start().await.unwrap();
    let world = World::with(server, BOTH[0], |builder, login| {
        builder.initial_tokens(expired(login)).min_interval(std::time::Duration::from_millis(50))
    });
    let old = Issuer::random().sign(&json!({ "iat": 1758000000, "exp": 1758000000 }));
    world.server.faults_always(Fault::body(json!({ "token": old }).to_string()));
    // It serves the one who waited for it; the API refuses it, and the next is the same.
    assert_eq!(world.status().await, 401);
    assert_eq!((world.server.counts().calls, world.server.counts().requests), (2, 1));
}

// S33: a 401 of the token endpoint is a failed refresh; an endpoint behind its own session is an
// error
#[tokio::test]
async fn an_endpoint_whose_calls_wait_for_its_own_session_is_told_so() {
    use std::sync::OnceLock;
    use tower_refresh::{Session, endpoint::JsonEndpoint};

    let server = AuthServer::start().await.unwrap();
    let own = Arc::new(OnceLock::<Session>::new());
    let session = own.clone();
    // What it is to hand the endpoint the client of the program, layer and all.
    let transport = tower::service_fn(move |request| {
        let session = session.get().unwrap().clone();
        async move {
            use tower::ServiceExt;
            RefreshLayer::new(session).layer(http(BOTH[0])).oneshot(request).await
        }
    });
    let endpoint = JsonEndpoint::new(server.refresh_url()).unwrap().transport(transport);
    let tokens = expired(&server.log_in());
    let session = Session::builder(endpoint).initial_tokens(tokens).attempts(1).build();
    own.set(session.clone()).unwrap();
    let error = in_time(session.token()).await.unwrap_err();
    let chain = format!("{error:?}");
    assert!(chain.contains("without this session's layer"), "{chain}");
    assert_eq!(error.kind(), ErrorKind::Recursion);
    assert_eq!(server.counts().calls, 0);
}
