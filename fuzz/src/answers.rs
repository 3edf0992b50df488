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
    let json = call(JsonEndpoint::freddy().transport(answering(&answer)));
    check(&answer, json, "token", |status, _| [400, 401, 403].contains(&status));

    let url = "https://auth.example/token";
    let client = || OAuth2Client::public("client");
    let oauth2 = OAuth2Endpoint::refresh_token(url, client()).expect("a URL");
    let oauth2 = call(oauth2.transport(answering(&answer)));
    check(&answer, oauth2, "access_token", |status, error| {
        let over = [Some("invalid_grant"), Some("bad_refresh_token")];
        status < 500 && over.contains(&error.code())
    });

    let credentials = OAuth2Endpoint::client_credentials(url, client()).expect("a URL");
    let credentials = call(credentials.transport(answering(&answer)));
    // It spends no token, so it knows of none to keep quiet about.
    if !data.windows(SPENT.len()).any(|window| window == SPENT.as_bytes()) {
        check(&answer, credentials, "access_token", |_, _| false);
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
    let error = call(JsonEndpoint::freddy().transport(answering(&answer))).expect_err("a 429");
    let text = |name| answer.headers().get(name)?.to_str().ok().map(str::trim);
    let date = |name| httpdate::parse_http_date(text(name)?).ok();
    let said = text(header::RETRY_AFTER);
    let expected = match (said.map(str::parse), date(header::RETRY_AFTER)) {
        (None, _) => None,
        (Some(Ok(seconds)), _) => Some(Duration::from_secs(seconds)),
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
) -> impl Service<
    http::Request<Full<Bytes>>,
    Response = Response<Full<Bytes>>,
    Error = Infallible,
    Future: Send + 'static,
> + Clone
+ Send
+ Sync
+ 'static {
    let answer = answer.clone().map(Full::new);
    service_fn(move |_| std::future::ready(Ok(answer.clone())))
}

fn call<E>(endpoint: E) -> Result<TokenResponse, EndpointError>
where
    E: Service<RefreshRequest, Response = TokenResponse, Error = EndpointError>,
{
    let token = RefreshToken::new(SPENT).expect("a token");
    block_on(endpoint.oneshot(RefreshRequest::new(Some(token))))
}

fn check(
    answer: &Response<Bytes>,
    result: Result<TokenResponse, EndpointError>,
    field: &str,
    may_log_out: impl Fn(u16, &EndpointError) -> bool,
) {
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
            match object(answer.body()) {
                Some(object) => assert_eq!(object.get(field), Some(&Value::from(access_token))),
                None => assert!(has_half_a_character(answer.body()), "no object"),
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
            match error.class() {
                FailureClass::InvalidGrant => {
                    assert!(may_log_out(status.as_u16(), &error), "{error}")
                }
                FailureClass::Misconfigured => assert!(!status.is_server_error(), "{error}"),
                _ => return assert_retry_after(&error, answer.headers()),
            }
            // A complete answer that says no, or one whose new refresh token alone is of use.
            let spent = if error.rotated().is_some() { Spent::Yes } else { Spent::No };
            assert_eq!(error.spent(), spent, "{error}");
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
                assert_eq!(error.retry_after(), Some(Duration::from_secs(seconds)));
            }
        }
    }
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
}

/// What is not UTF-8 is read as well as it can be.
fn object(body: &[u8]) -> Option<Map<String, Value>> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    serde_json::from_str(&String::from_utf8_lossy(body.trim_ascii())).ok()
}

/// Whether it may have: JSON that a parser refuses for that, and an endpoint does not.
fn has_half_a_character(body: &[u8]) -> bool {
    body.windows(3).any(|three| three.eq_ignore_ascii_case(b"\\ud"))
}
