//! The words, heads and ends of a server's answers, byte for byte.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower_refresh::testing::{AuthServer, Dialect, Ending, Fault};

/// What the server sends for a refresh, until it closes the connection: head and body.
async fn answer(server: &AuthServer, refresh_token: &str) -> (String, Vec<u8>) {
    let body = format!("grant_type=refresh_token&refresh_token={refresh_token}");
    let address = server.url().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST /oauth2/token HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut wire = Vec::new();
    stream.read_to_end(&mut wire).await.unwrap();
    let end = wire.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;
    let body = wire.split_off(end);
    (String::from_utf8_lossy(&wire).into_owned(), body)
}

/// The answer of a server that always speaks this dialect, to a good refresh token.
async fn good(dialect: Dialect) -> (String, Vec<u8>) {
    let server = AuthServer::builder().rotate(true).dialect(dialect).start().await.unwrap();
    let answer = answer(&server, &server.log_in().refresh_token).await;
    assert_eq!(server.counts().refreshes, 1, "the call is carried out");
    answer
}

fn length(head: &str) -> usize {
    let line = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    line.expect("a length").parse().unwrap()
}

#[tokio::test]
async fn a_good_answer_is_put_otherwise() {
    let (head, body) = good(Dialect::new()).await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\ndate: ") && head.contains("\r\ncontent-type: application/json\r\n"));
    assert_eq!(length(&head), body.len());
    let plain: Value = serde_json::from_slice(&body).unwrap();
    assert!(plain["refresh_token"].is_string());

    let renamed = Dialect::new().fields(|fields| {
        let token = fields.remove("access_token").unwrap();
        fields.insert("token".into(), format!("Bearer {}", token.as_str().unwrap()).into());
        fields["expires_in"] = "3600.5".into();
    });
    let (_, body) = good(renamed.clone()).await;
    let fields: Value = serde_json::from_slice(&body).unwrap();
    assert!(fields["token"].as_str().unwrap().starts_with("Bearer ey"), "{fields}");
    assert_eq!((&fields["expires_in"], fields.get("access_token")), (&json!("3600.5"), None));

    let (_, body) = good(renamed.wrapped(|fields| json!({ "data": fields })).quoted()).await;
    let text: String = serde_json::from_slice(&body).unwrap();
    let fields: Value = serde_json::from_str(&text).unwrap();
    assert!(fields["data"]["token"].is_string(), "{fields}");

    let (head, body) = good(Dialect::new().form()).await;
    assert!(head.contains("content-type: application/x-www-form-urlencoded\r\n"), "{head}");
    let fields: Vec<_> = form_urlencoded::parse(&body).into_owned().collect();
    assert!(fields.contains(&("expires_in".into(), "3600".into())), "{fields:?}");

    let reversed = |body: &[u8]| body.iter().rev().copied().collect::<Vec<_>>();
    let junk = Dialect::new().before("<!-- ").after("\0").content_type("");
    let (head, mut body) = good(junk.encoded("reversed", reversed)).await;
    assert!(head.contains("content-encoding: reversed\r\n"), "{head}");
    assert!(!head.contains("content-type"), "{head}");
    body.reverse();
    assert!(body.starts_with(b"<!-- {") && body.ends_with(b"}\0"), "{body:?}");
}

#[tokio::test]
async fn heads_and_ends_are_as_asked() {
    let odd = Dialect::new().header_line("no header at all").header_line(&b"x-latin: \xfc\x01"[..]);
    let (head, _) = good(odd).await;
    assert!(head.contains("\r\nno header at all\r\nx-latin: \u{fffd}\u{1}\r\n"), "{head}");

    let (head, body) = good(Dialect::new().ending(Ending::Short)).await;
    assert_eq!(length(&head), body.len() + 5);
    let (head, body) = good(Dialect::new().ending(Ending::Cut)).await;
    assert_eq!(length(&head) / 2, body.len());
    let (head, body) = good(Dialect::new().ending(Ending::Close)).await;
    assert!(!head.contains("content-length") && body.ends_with(b"}"), "{head}");
    let (head, body) = good(Dialect::new().ending(Ending::Chunked)).await;
    assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
    assert!(body.ends_with(b"}\r\n"), "the last chunk is left out");
}

#[tokio::test]
async fn a_refusal_is_put_otherwise_and_a_dialect_may_be_that_of_one_call() {
    let server = AuthServer::start().await.unwrap();
    let dialect = Dialect::new()
        .refusal(StatusCode::OK, "<html>no</html>")
        .content_type("text/html")
        .header_line("Retry-After: 3.5");
    server.fault(Fault::dialect(dialect));
    let (head, body) = answer(&server, "unknown").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nRetry-After: 3.5\r\n"), "{head}");
    assert!(head.contains("content-type: text/html\r\n"), "{head}");
    assert_eq!(body, b"<html>no</html>");

    let (head, body) = answer(&server, "unknown").await;
    assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
    assert!(String::from_utf8(body).unwrap().contains("invalid_grant"));
    assert_eq!(server.counts().rejected, 2);

    server.fault(Fault::status(StatusCode::FORBIDDEN).retry_after(Duration::from_millis(3500)));
    let (head, _) = answer(&server, "unknown").await;
    assert!(head.contains("retry-after: 3.5\r\n"), "{head}");
}
