//! A peer that is gone without a word, and one that is only slow. The kernel drops what the test's
//! server would get, as if the machine had lost its power: nothing is acknowledged any more.
#![cfg(all(target_os = "linux", any(feature = "transport", feature = "reqwest")))]

use std::time::Duration;

use socket2::{SockFilter, SockRef};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tower_refresh::endpoint::{EndpointError, FailureClass, JsonEndpoint, Spent, TokenResponse};

use super::refresh;

/// The time-out of a session, a second for the kernel's timers, and room for a busy machine.
const NOTICED: Duration = Duration::from_secs(20);

/// No segment arrives.
const NOTHING: [SockFilter; 1] = [SockFilter::new(0x06, 0, 0, 0)];

/// No segment of more than 64 bytes arrives: a connection is made, and no request gets through.
const NO_DATA: [SockFilter; 4] = [
    SockFilter::new(0x80, 0, 0, 0),
    SockFilter::new(0x25, 0, 1, 64),
    SockFilter::new(0x06, 0, 0, 0),
    SockFilter::new(0x06, 0, 0, u32::MAX),
];

async fn server() -> (TcpListener, JsonEndpoint) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/token", listener.local_addr().expect("an address"));
    (listener, JsonEndpoint::new(url).expect("a URL"))
}

async fn request(listener: &TcpListener) -> TcpStream {
    let mut stream = listener.accept().await.expect("a connection").0;
    let mut request = Vec::new();
    while !request.ends_with(b"}") {
        assert_ne!(stream.read_buf(&mut request).await.expect("a request"), 0);
    }
    stream
}

type With = fn(JsonEndpoint) -> JsonEndpoint;

async fn gone_before_the_request(with: With) -> Result<TokenResponse, EndpointError> {
    let (listener, endpoint) = server().await;
    SockRef::from(&listener).attach_filter(&NO_DATA).expect("a filter");
    refresh(&mut with(endpoint)).await
}

async fn gone_after_the_request(with: With) -> Result<TokenResponse, EndpointError> {
    let (listener, endpoint) = server().await;
    let serve = async {
        let stream = request(&listener).await;
        SockRef::from(&stream).attach_filter(&NOTHING).expect("a filter");
        stream
    };
    let mut endpoint = with(endpoint);
    tokio::join!(refresh(&mut endpoint), serve).0
}

async fn slow(with: With) -> Result<TokenResponse, EndpointError> {
    let (listener, endpoint) = server().await;
    let serve = async {
        let mut stream = request(&listener).await;
        sleep(Duration::from_secs(13)).await;
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"token\":\"a\"}";
        stream.write_all(answer).await.expect("a client that waits");
        stream
    };
    let mut endpoint = with(endpoint);
    tokio::join!(refresh(&mut endpoint), serve).0
}

/// All at once, because each takes its ten seconds.
async fn is_noticed_and_a_slow_one_is_waited_for(with: With) {
    let (before, after, slow) = tokio::join!(
        timeout(NOTICED, gone_before_the_request(with)),
        timeout(NOTICED, gone_after_the_request(with)),
        slow(with),
    );
    for (gone, when) in [(before, "before the request"), (after, "after the request")] {
        let answer = gone.unwrap_or_else(|_| panic!("nobody noticed: {when}"));
        let error = answer.expect_err(when);
        assert_eq!(error.class(), FailureClass::Transient, "{when}: {error:?}");
        assert_eq!(error.spent(), Spent::Maybe, "{when}: {error:?}");
    }
    assert_eq!(slow.expect("an answer, late").access_token().expose(), "a");
}

#[cfg(feature = "transport")]
#[tokio::test]
async fn a_dead_peer_is_noticed_and_a_slow_one_is_waited_for() {
    is_noticed_and_a_slow_one_is_waited_for(|endpoint| endpoint).await;
}

#[cfg(feature = "reqwest")]
#[tokio::test]
async fn through_reqwest_a_dead_peer_is_noticed_and_a_slow_one_is_waited_for() {
    is_noticed_and_a_slow_one_is_waited_for(|endpoint| {
        endpoint.transport(super::through_reqwest())
    })
    .await;
}
