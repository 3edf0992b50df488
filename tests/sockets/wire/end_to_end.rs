//! What the front page promises: many tasks, tokens that live for a moment, no failed request.

use std::time::{Duration, Instant};

use futures::future::join_all;
use tower::Layer;
use tower_refresh::{
    RefreshLayer, Session,
    endpoint::{JsonEndpoint, OAuth2Client, OAuth2Endpoint},
    testing::{AuthServer, AuthServerBuilder},
};

use super::support::{BOTH, Version, World, http, in_time, post, send};

const LIFE: Duration = Duration::from_secs(2);
const TASKS: usize = 24;

fn short_lived() -> AuthServerBuilder {
    AuthServer::builder().access_life(LIFE).rotate(true)
}

/// Sends requests from many tasks through three lives of the token, and counts them.
async fn live_through_three_lives(server: &AuthServer, session: &Session, version: Version) {
    crate::room::for_many();
    let client = RefreshLayer::new(session.clone()).layer(http(version));
    let url = format!("{}/orders", server.api_url());
    let (start, before) = (Instant::now(), session.status().generation());
    let tasks = (0..TASKS).map(|_| {
        let (client, url, session) = (client.clone(), url.clone(), session.clone());
        tokio::spawn(async move {
            while session.status().generation() < before + 3 {
                assert_eq!(send(client.clone(), post(&url)).await.unwrap().status, 200);
                // For the others' sake.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    });
    for task in in_time(join_all(tasks)).await {
        task.expect("a request failed");
    }
    let counts = server.counts();
    assert_eq!((counts.calls, counts.refreshes, counts.reuses), (3, 3, 0));
    // A life is used for four fifths of it at least before the next begins.
    assert!(start.elapsed() >= LIFE.mul_f64(0.8) * 2, "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn freddys_protocol_keeps_many_tasks_going() {
    let server = short_lived().start().await.unwrap();
    let login = server.log_in();
    let session = Session::builder(JsonEndpoint::new(server.refresh_url()).unwrap())
        .initial_tokens(login.tokens().unwrap())
        .build();
    live_through_three_lives(&server, &session, Version::One).await;

    let tokens = session.tokens().unwrap();
    assert_eq!(tokens.extra()["device_id"], "device-123");
    assert_ne!(tokens.refresh_token().unwrap().expose(), login.refresh_token);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_refresh_token_grant_keeps_many_tasks_going() {
    let server = short_lived().client("app", "s3cret&=+ %").start().await.unwrap();
    let client = OAuth2Client::basic("app", "s3cret&=+ %");
    let endpoint = OAuth2Endpoint::refresh_token(server.token_url(), client).unwrap();
    let login = server.log_in();
    let session = Session::builder(endpoint).initial_tokens(login.tokens().unwrap()).build();
    live_through_three_lives(&server, &session, Version::Two).await;

    let tokens = session.tokens().unwrap();
    assert_eq!(tokens.extra()["scope"], "read write");
    assert_ne!(tokens.refresh_token().unwrap().expose(), login.refresh_token);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_credentials_grant_keeps_many_tasks_going() {
    let server = short_lived().client("billing", "s3cret").start().await.unwrap();
    let client = OAuth2Client::post("billing", "s3cret");
    let endpoint = OAuth2Endpoint::client_credentials(server.token_url(), client).unwrap();
    let session = Session::builder(endpoint.scope("read")).build();
    live_through_three_lives(&server, &session, Version::One).await;
    assert!(session.tokens().unwrap().refresh_token().is_none());
}

#[tokio::test]
async fn a_revocation_in_the_middle_of_everything_costs_one_refresh() {
    for version in BOTH {
        let world = World::new(version).await;
        for request in join_all((0..TASKS).map(|_| world.send())).await {
            assert_eq!(request.unwrap().status, 200);
        }
        world.server.revoke_access_tokens();
        let before = world.server.counts();
        for request in join_all((0..TASKS).map(|_| world.send())).await {
            assert_eq!(request.unwrap().status, 200);
        }
        let counts = world.server.counts();
        assert_eq!((counts.calls, counts.refreshes, counts.reuses), (1, 1, 0));
        let (refused, sent) = (counts.refused, counts.requests - before.requests);
        assert!(refused >= 1);
        assert_eq!(sent, TASKS as u64 + refused, "each refused request is sent once more");
    }
}
