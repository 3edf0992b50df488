//! Refusals that arrive while the body is still being sent.

use std::{
    str,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use http::{Request, header};
use http_body_util::BodyExt;
use tokio::{io::AsyncWriteExt, net::TcpListener, sync::mpsc};
use tower::Layer;
use tower_refresh::{RefreshLayer, testing::AuthServer};

use super::support::{
    BOTH, Delivery, Version, World, answer, bearer, checksum, http, in_time, read, read_until,
    seeded, send, serve, streamed,
};

/// The body of an HTTP/1 request as far as it has come, read by its chunks (RFC 9112 §7.1).
#[derive(Debug, Default, PartialEq, Eq)]
struct Chunked {
    data: String,
    trailers: String,
    /// Whether the last chunk and the empty line after the trailers have come.
    whole: bool,
}

impl Chunked {
    fn of(request: &[u8]) -> Self {
        let mut read = Self::default();
        read.parse(str::from_utf8(request).unwrap());
        read
    }

    /// `None` where the bytes end too early.
    fn parse(&mut self, request: &str) -> Option<()> {
        let (head, mut rest) = request.split_once("\r\n\r\n")?;
        assert!(head.to_ascii_lowercase().contains("transfer-encoding: chunked"), "{head}");
        loop {
            let (size, after) = rest.split_once("\r\n")?;
            let size = usize::from_str_radix(size, 16).expect("the size of a chunk");
            rest = after;
            if size == 0 {
                break;
            }
            self.data.push_str(rest.get(..size)?);
            rest = rest[size..].strip_prefix("\r\n")?;
        }
        let end = format!("\r\n{rest}");
        let (trailers, _) = end.split_once("\r\n\r\n")?;
        self.trailers = trailers.trim().to_owned();
        self.whole = true;
        Some(())
    }
}

/// A server that refuses after the first part of the body and keeps the connection open.
async fn refused_over_http_1(refusal: Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (endpoint, session) = seeded();
    let client = RefreshLayer::new(session).layer(http(Version::One));
    let (sender, body) = streamed();
    let request = Request::post(url).header(header::TRAILER, "checksum").body(body).unwrap();
    let request = tokio::spawn(send(client, request));
    sender.data("the first part, ");

    let first_part = |read: &[u8]| Chunked::of(read).data == "the first part, ";
    let (first, _) = in_time(listener.accept()).await.unwrap();
    let (mut first, mut answer) = first.into_split();
    let mut to_first = read_until(&mut first, first_part).await;
    // The client need not take all of it.
    let refuse = tokio::spawn(async move {
        let _ = answer.write_all(&refusal).await;
        answer
    });

    // The rest of the body comes only when the retry is on its way.
    let (mut second, _) = in_time(listener.accept()).await.unwrap();
    let mut to_second = read_until(&mut second, first_part).await;
    sender.data("and the rest");
    sender.end_with(checksum());
    let begun = to_second.clone();
    let whole = |read: &[u8]| Chunked::of(&[&begun, read].concat()).whole;
    to_second.extend(read_until(&mut second, whole).await);
    assert_eq!(
        Chunked::of(&to_second),
        Chunked {
            data: "the first part, and the rest".to_owned(),
            trailers: "checksum: 42".to_owned(),
            whole: true,
        }
    );
    let fine = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone";
    second.write_all(fine).await.unwrap();
    let answer = request.await.unwrap().unwrap();
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, &b"done"[..]));
    assert_eq!(endpoint.calls(), 1);

    // The first connection ends, and what it got could not pass for a body.
    to_first.extend(read_until(&mut first, |_| false).await);
    let superseded = Chunked::of(&to_first);
    assert_eq!((&*superseded.data, superseded.whole), ("the first part, ", false));
    drop(refuse.await);
}

// S53: an early 401 keeps no body from the retry, and a cut-off upload never passes for complete
#[tokio::test]
async fn over_http_1_a_small_refusal_in_mid_body_is_retried_with_the_whole_of_it() {
    let refusal = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 4\r\n\r\nnope";
    refused_over_http_1(refusal.into()).await;
}

// S53: an early 401 keeps no body from the retry, and a cut-off upload never passes for complete
#[tokio::test]
async fn over_http_1_a_large_refusal_in_mid_body_is_retried_with_the_whole_of_it() {
    let length = 1024 * 1024;
    let head = format!("HTTP/1.1 401 Unauthorized\r\ncontent-length: {length}\r\n\r\n");
    refused_over_http_1([head.as_bytes(), &vec![b'x'; length]].concat()).await;
}

// S53: an early 401 keeps no body from the retry, and a cut-off upload never passes for complete
#[tokio::test]
async fn over_http_1_a_refusal_that_never_ends_is_retried_with_the_whole_body() {
    let head = "HTTP/1.1 401 Unauthorized\r\ntransfer-encoding: chunked\r\n\r\n4\r\nnope\r\n";
    refused_over_http_1(head.into()).await;
}

// S53: an early 401 keeps no body from the retry, and a cut-off upload never passes for complete
#[tokio::test]
async fn over_http_2_a_refusal_in_mid_body_is_retried_and_the_first_stream_is_reset() {
    let (endpoint, session) = seeded();
    let received = tokio::sync::watch::Sender::new(0);
    let (ended, mut deliveries) = mpsc::unbounded_channel::<Delivery>();
    let (begun, mut requests) = mpsc::unbounded_channel::<String>();
    let requested = Arc::new(AtomicUsize::new(0));
    let count = received.clone();
    let url = serve(move |request| {
        let (ended, begun, count) = (ended.clone(), begun.clone(), count.clone());
        let first = requested.fetch_add(1, SeqCst) == 0;
        async move {
            let (head, mut body) = request.into_parts();
            let token = bearer(&head.headers);
            let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(data, "the first part, ");
            begun.send(token.clone()).unwrap();
            // What comes after is read to its end whatever the answer.
            let rest = async move {
                let delivery = read(token, body, &count).await;
                ended.send(delivery).unwrap();
            };
            if first {
                tokio::spawn(rest);
                return answer(401);
            }
            rest.await;
            answer(200)
        }
    })
    .await;
    let client = RefreshLayer::new(session).layer(http(Version::Two));
    let (sender, body) = streamed();
    let request = tokio::spawn(send(client, Request::post(url).body(body).unwrap()));
    sender.data("the first part, ");
    assert_eq!(in_time(requests.recv()).await.unwrap(), "seed");
    assert_eq!(in_time(requests.recv()).await.unwrap(), "access-1");
    sender.data("and the rest");
    sender.end_with(checksum());
    assert_eq!(request.await.unwrap().unwrap().status, 200);
    assert_eq!(endpoint.calls(), 1);

    for _ in 0..2 {
        let delivery = in_time(deliveries.recv()).await.unwrap();
        if delivery.token == "seed" {
            assert!(!delivery.whole, "reset, and not ended");
            assert_eq!(delivery.body, b"");
        } else {
            assert!(delivery.whole);
            assert_eq!(delivery.body, b"and the rest");
            assert_eq!(delivery.trailers, Some(checksum()));
        }
    }
}

// S53: an early 401 keeps no body from the retry, and a cut-off upload never passes for complete
#[tokio::test]
async fn a_server_that_hangs_up_after_an_early_refusal_gets_the_whole_body_again() {
    for version in BOTH {
        let server = AuthServer::builder().refuse_early(true).start().await.unwrap();
        let world = World::with(server, version, |builder, login| {
            builder.initial_tokens(login.tokens().unwrap())
        });
        world.server.revoke_access_tokens();
        let layer = RefreshLayer::new(world.session.clone());
        let (sender, body) = streamed();
        let request = Request::post(format!("{}/echo", world.server.api_url()))
            .header(header::TRAILER, "checksum")
            .header(header::TE, "trailers")
            .body(body)
            .unwrap();
        let request = tokio::spawn(send(layer.layer(http(version)), request));
        sender.data("the first part, ");
        // Refused, refreshed, and sent again.
        in_time(world.server.reached(|counts| counts.requests == 2)).await;
        sender.data("and the rest");
        sender.end_with(checksum());
        let answer = request.await.unwrap().unwrap();
        assert_eq!(answer.status, 200, "{version:?}");
        assert_eq!(answer.body, "the first part, and the rest");
        assert_eq!(answer.trailers, Some(checksum()));
        assert_eq!((world.server.counts().calls, world.server.counts().refused), (1, 1));
    }
}
