//! Where a token travels, seen by the server at the other end.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use tokio::{net::TcpStream, sync::Mutex};
use tower::{Layer, Service};
use tower_refresh::{BoxError, Error, ErrorKind, NoToken, RefreshLayer};

use super::support::{BOTH, World, post, send};

type Connection = TokioIo<TcpStream>;

/// A client that reaches the server whatever the host, as if its name resolved there; and how
/// often it has connected.
fn anywhere(
    world: &World,
) -> (
    impl Service<
        Request<Full<Bytes>>,
        Response = Response<Incoming>,
        Error = hyper_util::client::legacy::Error,
        Future: Send,
    > + Clone,
    Arc<AtomicUsize>,
) {
    let address = world.server.url().strip_prefix("http://").unwrap().to_owned();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    let connector = tower::service_fn(move |_: Uri| -> BoxFuture<'static, _> {
        count.fetch_add(1, SeqCst);
        let address = address.clone();
        Box::pin(async move {
            let stream: Result<Connection, std::io::Error> =
                TcpStream::connect(address).await.map(TokioIo::new);
            stream
        })
    });
    (Client::builder(TokioExecutor::new()).build(connector), connections)
}

// S7: a token travels over https or to this machine only, unless plaintext is allowed
#[tokio::test]
async fn plain_http_to_another_host_is_an_error_before_anything_is_sent() {
    let world = World::new(BOTH[0]).await;
    let (http, connections) = anywhere(&world);
    let layer = RefreshLayer::new(world.session.clone());
    let strict = layer.clone().layer(http.clone());
    for url in ["http://api.example.com/api", "http://localhost.example.com/api"] {
        let error = send(strict.clone(), post(url)).await.unwrap_err();
        let error = Error::find(&*error).unwrap();
        assert_eq!(error.kind(), ErrorKind::Plaintext);
        assert!(error.to_string().contains("RefreshLayer::allow_plaintext"), "{error}");
    }
    assert_eq!(connections.load(SeqCst), 0);

    let lax = layer.allow_plaintext().layer(http);
    let answer = send(lax, post("http://api.example.com/api")).await.unwrap();
    assert_eq!(answer.status, 200);
    // What looks like this very machine is fine.
    for host in ["localhost", "127.0.0.2"] {
        let answer = send(strict.clone(), post(&format!("http://{host}/api"))).await.unwrap();
        assert_eq!(answer.status, 200, "{host}");
    }
}

// S8: the rules are looked at in one order, and origins compare by scheme, host and port
// S2: a request with its own `Authorization` keeps it, and its 401 is its own
// S3: a request that opted out gets no token and causes no refresh
#[tokio::test]
async fn requests_that_are_none_of_its_business_go_out_without_a_token() {
    let world = World::new(BOTH[0]).await;
    let (http, _) = anywhere(&world);
    let layer = RefreshLayer::new(world.session.clone());
    let bound = layer.clone().only_for(["http://LOCALHOST:80".parse().unwrap()]);
    let (bound, unbound) = (bound.layer(http.clone()), layer.layer(http));

    for url in ["http://localhost/api", "http://localhost:80/api"] {
        assert_eq!(send(bound.clone(), post(url)).await.unwrap().status, 200, "{url}");
    }
    // Not even the wrong scheme is an error for them.
    for url in ["http://localhost:81/api", "http://127.0.0.1/api", "http://api.example.com/api"] {
        assert_eq!(send(bound.clone(), post(url)).await.unwrap().status, 401, "{url}");
    }
    let mut opted_out = post("http://api.example.com/api");
    opted_out.extensions_mut().insert(NoToken);
    let mut own = post("http://api.example.com/api");
    own.headers_mut().insert(header::AUTHORIZATION, "Bearer mine".parse().unwrap());
    for request in [opted_out, own] {
        assert_eq!(send(unbound.clone(), request).await.unwrap().status, 401);
    }
    let counts = world.server.counts();
    assert_eq!((counts.requests, counts.refused, counts.calls), (7, 5, 0));
}

// S8: the rules are looked at in one order, and origins compare by scheme, host and port
#[tokio::test]
async fn a_uri_without_an_authority_takes_the_origin_of_the_layer() {
    let world = World::new(BOTH[0]).await;
    let address = world.server.url().strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    // One connection, as a proxy or a gRPC channel has it: requests name the path alone.
    let sender = Arc::new(Mutex::new(sender));
    let channel = tower::service_fn(move |request: Request<Full<Bytes>>| {
        let sender = sender.clone();
        async move { sender.lock().await.send_request(request).await.map_err(BoxError::from) }
    });
    let request = || {
        let mut request = post("/api/orders");
        request.headers_mut().insert(header::HOST, "localhost".parse().unwrap());
        request
    };
    let layer = RefreshLayer::new(world.session.clone());

    let error = send(layer.clone().layer(channel.clone()), request()).await.unwrap_err();
    let error = Error::find(&*error).unwrap();
    assert_eq!(error.kind(), ErrorKind::UnknownOrigin);
    assert!(error.to_string().contains("RefreshLayer::origin"), "{error}");
    assert_eq!(world.server.counts().requests, 0, "`Host` is not believed");

    let known = layer.origin(world.server.url().parse().unwrap());
    assert_eq!(send(known.layer(channel), request()).await.unwrap().status, 200);
}
