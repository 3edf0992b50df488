//! The gateway of the examples, over sockets, and with it axum's body under the layer.

#[path = "../../../examples/axum_gateway/gateway.rs"]
mod example;

use std::sync::{Arc, Mutex};

use axum::{Router, body::Body, extract::Request};
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower_refresh::{
    Session, Tokens, endpoint::EndpointError, testing::Answer, testing::GatedEndpoint,
};

use crate::support::{in_time, seed};

/// A request as the API got it.
#[derive(Clone, Debug)]
struct Seen {
    uri: String,
    headers: HeaderMap,
    body: Bytes,
}

/// An API that refuses some tokens, the gateway before it, and the session between them.
struct World {
    gateway: String,
    endpoint: GatedEndpoint,
    seen: Arc<Mutex<Vec<Seen>>>,
    upstream: String,
}

impl World {
    async fn new(refused: &'static [&'static str], tokens: Tokens) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = seen.clone();
        let api = Router::new().fallback(move |request: Request| async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let token = head.headers.get("authorization").map(|it| it.to_str().unwrap().to_owned());
            let uri = head.uri.to_string();
            record.lock().unwrap().push(Seen { uri, headers: head.headers, body });
            let refused = token.is_none_or(|token| refused.contains(&&*token));
            Response::builder()
                .status(if refused { StatusCode::UNAUTHORIZED } else { StatusCode::OK })
                .header("connection", "x-hop")
                .header("x-hop", "of the API's connection")
                .header("keep-alive", "timeout=5")
                .header("proxy-authenticate", "Basic")
                .header("set-cookie", "session=the-gateways")
                .header("x-kept", "for the user")
                .body(Body::from("an answer"))
                .unwrap()
        });
        let upstream = serve(api).await;
        let endpoint = GatedEndpoint::new();
        let session = Session::builder(endpoint.clone()).initial_tokens(tokens).build();
        let router = example::gateway(session, format!("http://{upstream}").parse().unwrap());
        Self { gateway: serve(router.unwrap()).await, endpoint, seen, upstream }
    }

    /// Sends these very bytes to the gateway, and returns all that comes back.
    async fn send(&self, request: &str) -> String {
        in_time(async {
            let mut stream = TcpStream::connect(&self.gateway).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        })
        .await
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async { axum::serve(listener, router).await });
    address
}

/// A request with all that must not travel on.
const LOADED: &str = "POST /v1/orders?number=7 HTTP/1.1\r\n\
    Host: gateway.example.com\r\n\
    Authorization: Bearer the-users-own\r\n\
    Cookie: session=the-users-own\r\n\
    Proxy-Authorization: Basic the-users-own\r\n\
    Proxy-Connection: keep-alive\r\n\
    Connection: close, X-Secret-Of-The-Hop\r\n\
    Connection: X-Another\r\n\
    X-Secret-Of-The-Hop: the-users-own\r\n\
    x-another: the-users-own\r\n\
    Keep-Alive: timeout=5\r\n\
    TE: trailers\r\n\
    Trailer: checksum\r\n\
    Upgrade: websocket\r\n\
    Transfer-Encoding: chunked\r\n\
    X-Kept: for the API\r\n\
    \r\n\
    8\r\nan order\r\n0\r\n\r\n";

#[tokio::test]
async fn the_users_credential_and_what_belongs_to_a_connection_stay_behind() {
    let world = World::new(&["Bearer seed"], seed()).await;
    let answer = world.send(LOADED).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let seen = world.seen();
    assert_eq!(seen.len(), 2);
    for (seen, token) in seen.iter().zip(["Bearer seed", "Bearer access-1"]) {
        assert!(!format!("{seen:?}").contains("the-users-own"), "{seen:?}");
        assert_eq!(seen.headers.get_all("authorization").iter().count(), 1);
        assert_eq!(seen.headers["authorization"], token);
        assert_eq!(seen.headers["host"], *world.upstream);
        assert_eq!(seen.headers["x-kept"], "for the API");
        let hop = ["connection", "keep-alive", "te", "trailer", "upgrade", "proxy-connection"];
        for name in hop {
            assert!(!seen.headers.contains_key(name), "{name}: {seen:?}");
        }
        // Streamed, recorded, and sent again as it was.
        assert_eq!((&*seen.uri, &*seen.body), ("/v1/orders?number=7", &b"an order"[..]));
    }
}

#[tokio::test]
async fn what_belongs_to_the_apis_connection_stays_there() {
    let world = World::new(&[], seed()).await;
    let answer = world.send(LOADED).await.to_ascii_lowercase();
    assert!(answer.contains("\r\nx-kept: for the user\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nan answer"), "{answer}");
    for name in ["x-hop", "keep-alive", "proxy-authenticate", "set-cookie", "the-gateways"] {
        assert!(!answer.contains(name), "{name}: {answer}");
    }
}

#[tokio::test]
async fn a_request_is_forwarded_to_no_other_host() {
    let world = World::new(&[], seed()).await;
    for (target, status) in [("http://other.example.net/v1", 200), ("//other/v1", 200), ("*", 400)]
    {
        let method = if target == "*" { "OPTIONS" } else { "GET" };
        let request = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = world.send(&request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{target}: {answer}");
    }
    let uris: Vec<_> = world.seen().into_iter().map(|seen| seen.uri).collect();
    assert_eq!(uris, ["/v1", "//other/v1"]);
}

#[tokio::test]
async fn that_the_gateway_is_refused_does_not_log_its_user_out() {
    let world = World::new(&["Bearer seed", "Bearer access-1"], seed()).await;
    assert!(world.send(LOADED).await.starts_with("HTTP/1.1 502"));
    assert_eq!((world.seen().len(), world.endpoint.calls()), (2, 1));
}

#[tokio::test]
async fn failures_to_refresh_are_told_apart() {
    let over: fn() -> Answer = || EndpointError::invalid_grant("over").into();
    let busy: fn() -> Answer = || EndpointError::transient("busy").into();
    for (failure, status) in [(over, 502), (busy, 503)] {
        let expired = seed().with_expires_at(std::time::SystemTime::now());
        let world = World::new(&[], expired).await;
        world.endpoint.answer_always(failure);
        let answer = world.send(LOADED).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(world.seen().is_empty());
    }
}
