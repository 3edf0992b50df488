use std::{
    convert::Infallible,
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::WWW_AUTHENTICATE};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};
use tower_refresh::{RefreshLayer, Session, Tokens};

use super::endpoint;

/// The lines as the challenges of a 401: no panic, and only words that stand there keep a request
/// from being sent once more. The whole as the realm of a challenge: it hides no other.
pub fn challenges(data: &[u8]) {
    let values = data.split(|&byte| byte == b'\n').map(HeaderValue::from_bytes);
    let values: Vec<_> = values.filter_map(Result::ok).collect();
    let sent = sent(values.clone());
    // A backslash may stand before any character of a quoted string.
    let says_so = values.iter().any(|value| {
        let text: Vec<_> = value.as_bytes().iter().copied().filter(|&b| b != b'\\').collect();
        text.windows(13).any(|window| window == b"insufficient_")
    });
    assert!(sent == 2 || (sent == 1 && says_so), "sent {sent} times: {values:?}");

    let allowed = |&b: &u8| b == b'\t' || b == b' ' || b.is_ascii_graphic();
    let mut realm = String::new();
    for byte in data.iter().copied().filter(allowed) {
        if matches!(byte, b'"' | b'\\') {
            realm.push('\\');
        }
        realm.push(byte.into());
    }
    for (error, times) in [("insufficient_scope", 1), ("invalid_token", 2)] {
        for challenge in [
            format!(r#"Bearer realm="{realm}", error="{error}""#),
            format!(r#"Digest realm="{realm}", qop=auth, bearer error={error}"#),
            format!(r#"Bearer error="{error}", error_description="{realm}""#),
        ] {
            let value = HeaderValue::from_str(&challenge).expect("visible ASCII");
            assert_eq!(self::sent(vec![value]), times, "{challenge}");
        }
    }
}

/// How often a request is sent that is always answered like this.
fn sent(challenges: Vec<HeaderValue>) -> usize {
    let sent = Arc::new(AtomicUsize::new(0));
    let tokens = Tokens::new("seed").expect("a token");
    let session = Session::builder(endpoint()).initial_tokens(tokens).build();
    let api = service_fn({
        let sent = sent.clone();
        move |_: Request<Full<Bytes>>| {
            sent.fetch_add(1, Ordering::Relaxed);
            let mut response = Response::new(Full::<Bytes>::default());
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            for challenge in &challenges {
                response.headers_mut().append(WWW_AUTHENTICATE, challenge.clone());
            }
            ready(Ok::<_, Infallible>(response))
        }
    });
    let request = Request::get("https://api.example/").body(Full::default()).expect("a request");
    let response = super::run(RefreshLayer::new(session).layer(api).oneshot(request));
    assert_eq!(response.expect("an answer").status(), StatusCode::UNAUTHORIZED);
    sent.load(Ordering::Relaxed)
}
