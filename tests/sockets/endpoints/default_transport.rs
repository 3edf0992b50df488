//! The default HTTP client against real sockets.
#![cfg(feature = "transport")]

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket},
    time::timeout,
};
use tower_refresh::endpoint::{
    EndpointUrl, FailureClass, JsonEndpoint, OAuth2Client, OAuth2Endpoint, Spent,
};

use super::{
    canned::{Canned, ok},
    refresh,
};

#[tokio::test]
async fn a_token_over_a_real_socket() {
    let server = Canned::new(ok(r#"{"token":"a"}"#)).await;
    let tokens = server.refreshed().await.expect("a token");
    assert_eq!(tokens.access_token().expose(), "a");
}

// S101: which is why the head of an answer may be odd
#[tokio::test]
async fn every_call_has_a_connection_of_its_own() {
    let server = Canned::new(ok(r#"{"access_token":"a"}"#)).await;
    let mut endpoint = OAuth2Endpoint::refresh_token(server.url(), OAuth2Client::public("app"))
        .unwrap()
        .param("the", "end");
    let mut open = Vec::new();
    for _ in 0..3 {
        let serve = async {
            let mut stream = server.accept().await;
            stream.write_all(&server.answer).await.unwrap();
            // Left open: an invitation to use it again.
            stream
        };
        let both = async { tokio::join!(refresh(&mut endpoint), serve) };
        let (tokens, stream) =
            timeout(Duration::from_secs(20), both).await.expect("a second connection");
        tokens.expect("a token");
        open.push(stream);
    }
}

// S38: whatever a token endpoint answers instead of tokens is an error, in time and within the size
// cap
#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = elsewhere.local_addr().unwrap();
    let answer = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{target}/steal\r\n\
         content-length: 0\r\n\r\n"
    );
    let error = Canned::new(answer).await.refreshed().await.unwrap_err();
    assert_eq!(error.class(), FailureClass::Misconfigured);
    assert!(error.to_string().contains("redirects are not followed"));
    let nobody = timeout(Duration::from_millis(50), elsewhere.accept()).await;
    assert!(nobody.is_err(), "somebody came");
}

// S33: a 401 of the token endpoint is a failed refresh; an endpoint behind its own session is an
// error
#[tokio::test]
async fn a_401_from_the_endpoint_is_its_answer() {
    let answer = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 17\r\n\r\n{\"detail\":\"gone\"}";
    let error = Canned::new(answer).await.refreshed().await.unwrap_err();
    assert_eq!(error.class(), FailureClass::InvalidGrant);
}

#[tokio::test]
async fn a_refused_connection_has_spent_nothing() {
    // Its port is taken, and it does not listen.
    let deaf = TcpSocket::new_v4().unwrap();
    deaf.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/token", deaf.local_addr().unwrap());
    let mut endpoint = JsonEndpoint::new(url).unwrap();
    let error = refresh(&mut endpoint).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::Transient);
    assert_eq!(error.spent(), Spent::No);
    assert!(error.to_string().contains("is it up, and are the host and the port"), "{error}");
}

#[tokio::test]
async fn a_failed_tls_handshake_has_spent_nothing() {
    let server = Canned::new("").await;
    let url = server.url().replace("http://", "https://");
    let mut endpoint = JsonEndpoint::new(url).unwrap();
    let serve = async {
        let mut stream = server.listener.accept().await.unwrap().0;
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Speak plainly\r\n\r\n").await;
    };
    // Without roots to trust nobody connects.
    let serve = timeout(Duration::from_secs(20), serve);
    let error = tokio::join!(refresh(&mut endpoint), serve).0.unwrap_err();
    assert_eq!(error.class(), FailureClass::Transient, "{error:?}");
    assert_eq!(error.spent(), Spent::No);
    assert!(error.to_string().contains("it answers, but not in TLS"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_tls_handshake_that_never_ends_is_given_up_and_has_spent_nothing() {
    let server = Canned::new("").await;
    let url = server.url().replace("http://", "https://");
    let mut endpoint = JsonEndpoint::new(url).unwrap();
    // Accepted by the system, and never by us. A session's time-out could not tell.
    let answer = timeout(Duration::from_secs(9), refresh(&mut endpoint)).await;
    let error = answer.expect("an end before that of a session's time-out").unwrap_err();
    assert_eq!(error.class(), FailureClass::Transient, "{error:?}");
    assert_eq!(error.spent(), Spent::No);
}

#[tokio::test]
async fn a_connection_that_drops_after_the_request_may_have_spent_the_token() {
    let partly = "HTTP/1.1 200 OK\r\ncontent-le";
    let body = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"token\":";
    let chunk = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n64\r\n{\"token\":";
    for answer in ["", partly, body, chunk] {
        let error = Canned::new(answer).await.refreshed().await.unwrap_err();
        assert_eq!(error.class(), FailureClass::Transient, "{answer}");
        assert_eq!(error.spent(), Spent::Maybe, "{answer}");
    }
}

// S38: whatever a token endpoint answers instead of tokens is an error, in time and within the size
// cap
#[tokio::test]
async fn what_never_ends_is_an_error() {
    let line = "x-more: and more and more and more and more and more and more\r\n";
    let header = format!("HTTP/1.1 200 OK\r\n{}", line.repeat(100_000));
    let value = format!("HTTP/1.1 200 OK\r\nx-more: {}", "x".repeat(4 << 20));
    let body = format!("HTTP/1.1 200 OK\r\n\r\n{}", " ".repeat(4 << 20));
    for answer in [header, value, body] {
        let start = answer[..40].to_owned();
        let error = Canned::new(answer).await.refreshed().await.unwrap_err();
        assert_eq!(error.class(), FailureClass::Transient, "{start}");
        assert_eq!(error.spent(), Spent::Maybe, "{start}");
    }
}

#[test]
fn no_runtime_is_an_error_and_no_panic() {
    let url = EndpointUrl::parse("http://127.0.0.1:9/").unwrap();
    let mut endpoint = JsonEndpoint::new(url).unwrap();
    let error = futures::executor::block_on(refresh(&mut endpoint)).unwrap_err();
    assert!(error.to_string().contains("Tokio runtime"), "{error}");
    assert_eq!(error.spent(), Spent::No);
}
