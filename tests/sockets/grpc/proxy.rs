//! A proxy in between, which knows nothing of gRPC and refuses with a plain 401.

use std::io;

use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::net::TcpListener;
use tonic::{Code, body::Body};

use super::{
    echo::{Echo, Refuses},
    support::{World, in_time, seed},
};

/// Starts a proxy before `upstream` that lets `token` pass and says `refusal` to others; returns
/// its URL.
async fn proxy(upstream: String, token: &'static str, refusal: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Incoming>();
    let forward = move |mut request: Request<Incoming>| {
        let (client, upstream) = (client.clone(), upstream.clone());
        async move {
            if request.headers()[AUTHORIZATION] != format!("Bearer {token}") {
                let mut refusal = Response::new(Body::new(refusal.to_owned()));
                *refusal.status_mut() = StatusCode::UNAUTHORIZED;
                return Ok(refusal);
            }
            let uri = format!("{upstream}{}", request.uri().path());
            *request.uri_mut() = uri.parse().unwrap();
            // An `io::Error`, as rustc cannot prove the task `Send` with a boxed one.
            let response = client.request(request).await.map_err(io::Error::other)?;
            Ok::<_, io::Error>(response.map(Body::new))
        }
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(forward.clone());
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    url
}

// S32: gRPC's `UNAUTHENTICATED` in the headers is a refusal
#[tokio::test]
async fn a_plain_401_of_a_proxy_is_a_refusal() {
    let echo = Echo::start(Refuses::AtOnce).await;
    let url = proxy(echo.url(), "access-1", "log in").await;
    *echo.url.lock().unwrap() = url;
    let mut world = World::with(echo, seed(), |channel| channel).await;
    let answer = in_time(world.client.unary("hello".to_owned())).await.unwrap();
    assert_eq!(answer.into_inner(), "HELLO");
    assert_eq!(world.echo.tokens(), ["access-1"]);
    assert_eq!(world.endpoint.calls(), 1);
}

#[tokio::test]
async fn a_proxy_that_refuses_every_token_is_seen_for_what_it_is() {
    let echo = Echo::start(Refuses::AtOnce).await;
    // With a body, tonic would take it for a message that it cannot decode.
    let url = proxy(echo.url(), "another", "").await;
    *echo.url.lock().unwrap() = url;
    let mut world = World::with(echo, seed(), |channel| channel).await;
    let status = in_time(world.client.unary("hello".to_owned())).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(world.echo.seen().is_empty());
    assert_eq!(world.endpoint.calls(), 1);
}
