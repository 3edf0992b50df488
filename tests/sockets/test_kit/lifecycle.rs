use std::{sync::Arc, time::Duration};

use tokio::net::TcpStream;
use tower_refresh::testing::{AuthServer, Fault};

use super::client::{accepts, freddy, http, http2, send};

fn address(server: &AuthServer) -> String {
    server.url().strip_prefix("http://").unwrap().to_owned()
}

#[tokio::test]
async fn a_test_server_is_gone_after_its_shutdown() {
    let server = AuthServer::start().await.unwrap();
    let address = address(&server);
    TcpStream::connect(&address).await.unwrap();
    server.shutdown().await;
    TcpStream::connect(&address).await.unwrap_err();
}

#[tokio::test]
async fn calls_that_hang_end_with_the_server() {
    for http in [http(), http2()] {
        let server = AuthServer::start().await.unwrap();
        server.faults_always(Fault::hang());
        let request = http::Request::post(server.token_url()).body(Default::default());
        let call = tokio::spawn(async move { send(&http, request.unwrap()).await });
        server.calls_reached(1).await;
        server.shutdown().await;
        call.await.unwrap().err().unwrap();
    }
}

#[tokio::test]
async fn dropping_it_stops_it_too() {
    let server = AuthServer::start().await.unwrap();
    let hold = server.hold();
    let request = http::Request::post(server.token_url()).body(Default::default());
    let call = tokio::spawn(async move { send(&http(), request.unwrap()).await });
    server.calls_reached(1).await;
    drop(server);
    call.await.unwrap().err().unwrap();
    hold.release();
}

#[tokio::test]
async fn nothing_public_prints_a_secret() {
    let builder = AuthServer::builder().client("id", "hush");
    let printed = format!("{builder:?}");
    let server = builder.start().await.unwrap();
    let login = server.log_in();
    let printed = format!("{printed}{server:?}{login:?}{:?}", server.hold());
    for secret in ["hush", &login.access_token, &login.refresh_token] {
        assert!(!printed.contains(secret), "{printed}");
    }
    login.tokens().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_refresh_and_request_at_once() {
    let server = Arc::new(AuthServer::builder().rotate(true).start().await.unwrap());
    let http = http2();
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (server, http) = (server.clone(), http.clone());
            tokio::spawn(async move {
                let mut refresh_token = server.log_in().refresh_token;
                for _ in 0..10 {
                    let answer = freddy(&server, &refresh_token).await.unwrap();
                    refresh_token = answer.text("refresh_token");
                    for _ in 0..5 {
                        let request = http::Request::get(server.api_url())
                            .header("authorization", format!("Bearer {}", answer.text("token")))
                            .body(Default::default());
                        let answer = send(&http, request.unwrap()).await.unwrap();
                        assert_eq!(answer.status, 200);
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let counts = server.counts();
    assert_eq!((counts.refreshes, counts.reuses), (160, 0));
    assert_eq!((counts.requests, counts.refused), (800, 0));
}

#[tokio::test]
async fn a_long_run_forgets_what_has_died() {
    // Enough tokens for many sweeps; the living must survive each of them.
    let server = AuthServer::start().await.unwrap();
    let survivor = server.log_in();
    server.set_access_life(Duration::ZERO);
    for _ in 0..10_000 {
        server.log_in();
    }
    assert!(accepts(&server, &survivor.access_token).await);
}
