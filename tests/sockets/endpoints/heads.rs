//! Odd heads of good answers: the refresh token is used up, so the answer counts.
#![cfg(feature = "transport")]

use tower_refresh::endpoint::{JsonEndpoint, OAuth2Client, OAuth2Endpoint};

use super::canned::Canned;

const BODY: &str = r#"{"token":"a","access_token":"a","refresh_token":"r"}"#;

/// A good answer with these lines, each with its end, before its usual ones.
fn with(lines: &[u8]) -> Vec<u8> {
    let length = format!("content-length: {}\r\n\r\n", BODY.len());
    [b"HTTP/1.1 200 OK\r\n", lines, length.as_bytes(), BODY.as_bytes()].concat()
}

fn odd_heads() -> Vec<(&'static str, Vec<u8>)> {
    let plain = String::from_utf8(with(b"date: Mon, 01 Dec 2025 10:00:00 GMT\r\n")).unwrap();
    let cookies = |count: usize| -> String {
        (0..count).map(|n| format!("set-cookie: c{n}=v; path=/\r\n")).collect()
    };
    let replaced = |from: &str, to: &str| plain.replacen(from, to, 1).into_bytes();
    vec![
        ("a control character in a value", with(b"set-cookie: a=\x01b\r\n")),
        ("a DEL in a value", with(b"x-name: a\x7fb\r\n")),
        ("spaces in a name", with(b"X Bad Name: 1\r\n")),
        ("a name in quotes", with(b"\"x\": 1\r\n")),
        ("a name in UTF-8", with("x-gr\u{fc}\u{df}e: 1\r\n".as_bytes())),
        ("no name", with(b": 1\r\n")),
        ("a space after a name", with(b"Server : x\r\n")),
        ("a space after a name that counts", replaced("content-length:", "content-length :")),
        ("no colon", with(b"this is no header\r\n")),
        ("a stray status line", with(b"HTTP/1.1 200 OK\r\n")),
        ("a value that goes on in the next line", with(b"x-long: one\r\n two\r\n\tthree\r\n")),
        ("a value in Latin-1", with(b"x-name: Gr\xfc\xdfe\r\n")),
        ("an empty value", with(b"x-empty:\r\n")),
        ("120 cookies", with(cookies(120).as_bytes())),
        ("4,000 cookies", with(cookies(4000).as_bytes())),
        ("a line of 200 KB", with(format!("x-long: {}\r\n", "x".repeat(200_000)).as_bytes())),
        ("the same length twice", with(format!("content-length: {}\r\n", BODY.len()).as_bytes())),
        (
            "an early hint first",
            [b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", &*with(b"")].concat(),
        ),
        ("a 100 first", [b"HTTP/1.1 100 Continue\r\n\r\n", &*with(b"")].concat()),
        ("an empty line first", [b"\r\n", &*with(b"")].concat()),
        ("bare line feeds", plain.replace("\r\n", "\n").into_bytes()),
        ("no reason phrase", replaced("200 OK", "200")),
        ("an empty reason phrase", replaced("200 OK", "200 ")),
        ("an odd reason phrase", replaced("200 OK", "200 Tout va bien!")),
        ("HTTP/1.0", replaced("HTTP/1.1", "HTTP/1.0")),
        ("an unknown connection token", with(b"connection: keep-alive, x-odd\r\n")),
        ("no content type and an odd encoding's name", with(b"content-encoding: identity\r\n")),
        ("twice the answer", [with(b""), with(b"")].concat()),
    ]
}

// S101: what is odd in the head of a good answer costs nothing, over the default transport
#[tokio::test]
async fn a_good_answer_with_an_odd_head_counts() {
    for (what, answer) in odd_heads() {
        let server = Canned::new(answer.clone()).await;
        let tokens = server.refreshed().await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_eq!(tokens.refresh_token().expect(what).expose(), "r", "{what}");

        let server = Canned::new(answer).await;
        let endpoint = OAuth2Endpoint::refresh_token(server.url(), OAuth2Client::public("app"));
        let endpoint = endpoint.unwrap().param("the", "end");
        let tokens = server.refreshed_by(endpoint).await;
        let tokens = tokens.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_eq!(tokens.refresh_token().expect(what).expose(), "r", "{what}");
    }
}

// S101: nor over reqwest
#[cfg(feature = "reqwest")]
#[tokio::test]
async fn a_good_answer_with_an_odd_head_counts_over_reqwest() {
    for (what, answer) in odd_heads() {
        let transport = super::through_reqwest();
        let server = Canned::new(answer).await;
        let endpoint = JsonEndpoint::new(server.url()).unwrap().transport(transport);
        let tokens = server.refreshed_by(endpoint).await;
        let tokens = tokens.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_eq!(tokens.refresh_token().expect(what).expose(), "r", "{what}");
    }
}
