//! Answers of token endpoints, as text: the status, a line for each header, an empty line, the body.

use std::{
    convert::Infallible,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::executor::block_on;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Map, Value};
use tower::{Service, ServiceExt, service_fn};
use tower_refresh::{
    RefreshToken,
    endpoint::{
        EndpointError, FailureClass, JsonEndpoint, OAuth2Client, OAuth2Endpoint, RefreshRequest,
        Spent, TokenResponse,
    },
};

/// The token that every call spends, with characters that are spelt differently in a form.
const SPENT: &str = "r3fresh/1+2";

const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Whatever a server answers: no panic, no token in a message, nobody logged out by a gateway, and
/// a good answer is taken as it is.
pub fn token_response(data: &[u8]) {
    let answer = parse(data);
    let json = || JsonEndpoint::freddy();
    check(&answer, json().transport(answering(&answer, usize::MAX)), "token", true);

    let url = "https://auth.example/token";
    let client = || OAuth2Client::public("client");
    let oauth2 = || OAuth2Endpoint::refresh_token(url, client()).expect("a URL");
    check(&answer, oauth2().transport(answering(&answer, usize::MAX)), "access_token", true);

    // However it is cut into frames, it says the same.
    for size in [1, 3] {
        let whole = call(oauth2().transport(answering(&answer, usize::MAX)));
        let pieces = call(oauth2().transport(answering(&answer, size)));
        assert_eq!(outcome(&whole), outcome(&pieces));
    }

    let credentials = OAuth2Endpoint::client_credentials(url, client()).expect("a URL");
    // It spends no token, so it knows of none to keep quiet about.
    if !data.windows(SPENT.len()).any(|window| window == SPENT.as_bytes()) {
        let credentials = credentials.transport(answering(&answer, usize::MAX));
        check(&answer, credentials, "access_token", false);
    }
}

/// What counts in the outcome of a call.
fn outcome(result: &Result<TokenResponse, EndpointError>) -> String {
    match result {
        Ok(tokens) => {
            let refresh_token = tokens.refresh_token().map(RefreshToken::expose);
            format!("{:?} {refresh_token:?}", tokens.access_token().expose())
        }
        Err(error) => format!("{error} {:?} {:?}", error.class(), error.spent()),
    }
}

/// `Retry-After` in the first line and `Date` in the second: seconds and dates are read, and
/// nothing else is.
pub fn retry_after(data: &[u8]) {
    let mut lines = data.splitn(2, |&byte| byte == b'\n');
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    for name in [header::RETRY_AFTER, header::DATE] {
        if let Some(Ok(value)) = lines.next().map(HeaderValue::from_bytes) {
            answer.headers_mut().insert(name, value);
        }
    }
    let before = SystemTime::now();
    let error =
        call(JsonEndpoint::freddy().transport(answering(&answer, usize::MAX))).expect_err("a 429");
    let text = |name| answer.headers().get(name)?.to_str().ok().map(str::trim);
    let date = |name| httpdate::parse_http_date(text(name)?).ok();
    let said = text(header::RETRY_AFTER);
    let expected = match (said.map(str::parse), date(header::RETRY_AFTER)) {
        (None, _) => None,
        (Some(Ok(seconds)), _) => return assert_seconds(error.retry_after(), seconds),
        // A fraction, or more seconds than there are.
        (Some(Err(_)), None) if said.is_some_and(|said| said.parse::<f64>().is_ok()) => return,
        (Some(Err(_)), None) => None,
        (Some(Err(_)), Some(until)) => match date(header::DATE) {
            Some(from) => Some(until.duration_since(from).unwrap_or_default()),
            None => {
                let most = until.duration_since(before).unwrap_or_default();
                assert!(error.retry_after().is_some_and(|asked| asked <= most));
                return;
            }
        },
    };
    assert_eq!(error.retry_after(), expected);
}

fn parse(data: &[u8]) -> Response<Bytes> {
    let end = data.windows(2).position(|two| two == b"\n\n").unwrap_or(data.len());
    let body = data.get(end + 2..).unwrap_or_default();
    let mut answer = Response::new(Bytes::copy_from_slice(body));
    let mut lines = data[..end].split(|&byte| byte == b'\n');
    let status = lines.next().and_then(|status| StatusCode::from_bytes(status).ok());
    *answer.status_mut() = status.unwrap_or_default();
    for line in lines {
        let mut parts = line.splitn(2, |&byte| byte == b':');
        let name = HeaderName::from_bytes(parts.next().unwrap_or_default());
        let value = HeaderValue::from_bytes(parts.next().unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            answer.headers_mut().append(name, value);
        }
    }
    answer
}

fn answering(
    answer: &Response<Bytes>,
    size: usize,
) -> impl Service<
    http::Request<Full<Bytes>>,
    Response = Response<Frames>,
    Error = Infallible,
    Future: Send + 'static,
> + Clone
+ Send
+ Sync
+ 'static {
    let answer = answer.clone();
    service_fn(move |_| std::future::ready(Ok(answer.clone().map(|left| Frames { left, size }))))
}

/// A body in frames of one size.
struct Frames {
    left: Bytes,
    size: usize,
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        let size = self.size.min(self.left.len());
        let frame = self.left.split_to(size);
        std::task::Poll::Ready((!frame.is_empty()).then(|| Ok(http_body::Frame::data(frame))))
    }
}

fn call<E>(endpoint: E) -> Result<TokenResponse, EndpointError>
where
    E: Service<RefreshRequest, Response = TokenResponse, Error = EndpointError>,
{
    let token = RefreshToken::new(SPENT).expect("a token");
    block_on(endpoint.oneshot(RefreshRequest::new(Some(token))))
}

fn check<E>(answer: &Response<Bytes>, endpoint: E, field: &str, for_a_person: bool)
where
    E: Service<RefreshRequest, Response = TokenResponse, Error = EndpointError>,
{
    let result = call(endpoint);
    let status = answer.status();
    let good = good(answer, field);
    match result {
        Ok(tokens) => {
            assert!(status.is_success());
            // The names of the other fields are shown, and a name is no secret.
            let in_a_name = tokens.extra().keys().any(|name| name.contains(SPENT));
            assert!(in_a_name || !format!("{tokens:?}").contains(SPENT));
            let access_token = tokens.access_token().expose();
            assert!(!access_token.is_empty() && access_token.bytes().all(|b| b.is_ascii_graphic()));
            assert!(tokens.expires_in().is_none_or(|life| life <= TEN_YEARS));
            assert!(!tokens.extra().contains_key(field));
            // A scheme may stand before the token.
            let field = object(answer.body()).and_then(|mut object| object.remove(field));
            if let Some(Value::String(text)) = field {
                assert!(text.trim_ascii().ends_with(access_token), "{text:?}");
            }
        }
        Err(error) => {
            assert!(!good, "{error}");
            let mut shown = format!("{error} {error:?} {:?} {:?}", error.code(), error.said());
            let mut source = std::error::Error::source(&error);
            while let Some(error) = source {
                shown += &format!("{error} {error:?}");
                source = error.source();
            }
            assert!(!shown.contains(SPENT), "{shown}");
            assert!(error.to_string().chars().count() < 1000, "a message is no place for a body");
            assert!(!error.to_string().contains(['\n', '\r']));
            assert!(error.status().is_some_and(|told| told == status));
            let told = status.as_u16();
            if error.class() == FailureClass::InvalidGrant {
                // No gateway logs a user out, and no client has one.
                assert!(for_a_person && ![408, 425, 429].contains(&told), "{error}");
                assert!(status.is_success() || status.is_client_error(), "{error}");
                assert_eq!(error.spent(), Spent::No, "{error}");
            }
            if status.is_server_error() || [408, 425, 429].contains(&told) {
                assert_eq!(error.class(), FailureClass::Transient, "{error}");
            }
            if error.rotated().is_some() {
                assert_eq!(error.class(), FailureClass::Misconfigured, "{error}");
                assert_eq!(error.spent(), Spent::Yes, "{error}");
            }
            // Only an answer that is none of a refusal has used a token for certain.
            assert!(for_a_person || error.spent() == Spent::No, "{error}");
            assert!(status.is_success() || error.spent() != Spent::Yes, "{error}");
            assert_retry_after(&error, answer.headers());
        }
    }
}

fn assert_retry_after(error: &EndpointError, headers: &HeaderMap) {
    match headers.get(header::RETRY_AFTER) {
        None => assert_eq!(error.retry_after(), None),
        Some(value) => {
            let text = value.to_str().unwrap_or_default();
            if let Ok(seconds) = text.parse() {
                assert_seconds(error.retry_after(), seconds);
            }
        }
    }
}

/// Beyond what a floating-point number holds exactly, nearly as many seconds will do.
fn assert_seconds(told: Option<Duration>, seconds: u64) {
    let told = told.expect("a number of seconds");
    assert!(told.as_secs().abs_diff(seconds) <= seconds >> 50, "{told:?} {seconds}");
}

/// An answer that has to be taken: nothing in it is odd.
fn good(answer: &Response<Bytes>, field: &str) -> bool {
    let Some(object) = object(answer.body()) else {
        return false;
    };
    let graphic = |value: &Value| {
        let text = value.as_str();
        text.is_some_and(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()))
    };
    answer.status().is_success()
        && answer.headers().get(header::CONTENT_LENGTH).is_none()
        && object.get(field).is_some_and(graphic)
        && object.get("refresh_token").is_none_or(|value| value.is_null() || graphic(value))
        && !object.contains_key("error")
        && !object.contains_key("detail")
        && !object.contains_key("token_type")
        && ["ok", "success", "succeeded", "status", "result", "errcode", "error_code"]
            .iter()
            .all(|name| !object.contains_key(*name))
}

/// What is not UTF-8 is read as well as it can be.
fn object(body: &[u8]) -> Option<Map<String, Value>> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    serde_json::from_str(&String::from_utf8_lossy(body.trim_ascii())).ok()
}
