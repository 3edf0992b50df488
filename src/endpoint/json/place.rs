//! Where a token is in a request, and where in an answer. Never in the query: servers and proxies
//! write URLs into their logs.

use std::{borrow::Cow, time::SystemTime};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, COOKIE, SET_COOKIE},
};
use zeroize::Zeroizing;

use crate::{
    endpoint::{EndpointError, answer},
    token::wiped_value,
};

/// Where a token is, in a request or in an answer.
///
/// ```
/// use tower_refresh::endpoint::{JsonEndpoint, Place};
///
/// // The refresh token is a cookie, which the answer replaces, and the access token a header.
/// let endpoint = JsonEndpoint::new("https://api.example.com/auth/refresh")?
///     .refresh_token_in(Place::Cookie("refresh".into()))
///     .access_token_from(Place::Header("x-access-token".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The `Authorization` header, after the scheme `Bearer`.
    Bearer,
    /// A cookie of this name: `Cookie` in a request, `Set-Cookie` in an answer.
    Cookie(Cow<'static, str>),
    /// A field of the body.
    Field(Cow<'static, str>),
    /// A header that holds the token and nothing else.
    Header(HeaderName),
}

impl Place {
    /// Puts `token` where it belongs, if that is not in the body.
    pub(super) fn put(&self, token: &str, headers: &mut HeaderMap) -> Result<(), EndpointError> {
        let (name, value) = match self {
            Self::Field(_) => return Ok(()),
            Self::Bearer => (AUTHORIZATION, visible(["Bearer ", token].concat())?),
            Self::Header(name) => (name.clone(), visible(token.to_owned())?),
            Self::Cookie(name) => {
                // It would end the cookie.
                if token.contains(';') {
                    return Err(unfit("a token with a semicolon in it cannot be sent as a cookie"));
                }
                // One header has all cookies (RFC 6265 §5.4).
                let others = headers.get(COOKIE).and_then(|value| value.to_str().ok());
                let others = others.map(|others| format!("{others}; ")).unwrap_or_default();
                let others = Zeroizing::new(others);
                (COOKIE, visible([&*others, &**name, "=", token].concat())?)
            }
        };
        headers.insert(name, value);
        Ok(())
    }

    /// The token that an answer has there, beside its body.
    pub(super) fn find(&self, headers: &HeaderMap, now: SystemTime) -> Found {
        let text = |name: &HeaderName| headers.get(name)?.to_str().ok();
        let token = match self {
            Self::Field(_) => None,
            Self::Cookie(name) => return cookie(headers, name, now),
            Self::Bearer => text(&AUTHORIZATION).map(without_bearer),
            Self::Header(name) => text(name).map(without_bearer),
        };
        match token.filter(|token| !token.is_empty()) {
            Some(token) => Found::Token(token.to_owned()),
            None => Found::Nothing,
        }
    }
}

/// What an answer has at a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Token(String),
    /// A cookie that the server takes away.
    Cleared,
}

fn without_bearer(value: &str) -> &str {
    let value = value.trim();
    match value.split_once(' ').unwrap_or((value, "")) {
        (scheme, token) if scheme.eq_ignore_ascii_case("Bearer") => token.trim(),
        _ => value,
    }
}

/// The cookie `name` of an answer. A server may clear it for one path and set it for another.
fn cookie(headers: &HeaderMap, name: &str, now: SystemTime) -> Found {
    let now = answer::date(headers).unwrap_or(now);
    let mut found = Found::Nothing;
    for line in headers.get_all(SET_COOKIE) {
        // A name of a user elsewhere in the line need not be ASCII.
        let line = String::from_utf8_lossy(line.as_bytes());
        let mut parts = line.split(';');
        let Some((this, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
            continue;
        };
        if this.trim() != name {
            continue;
        }
        let value = value.trim();
        let value =
            value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        if value.is_empty() || is_over(parts, now) {
            if found == Found::Nothing {
                found = Found::Cleared;
            }
        } else {
            found = Found::Token(value.to_owned());
        }
    }
    found
}

/// Whether a cookie's attributes say that it is over. `Max-Age` counts before `Expires`, and the last
/// of each (RFC 6265 §5.3).
fn is_over<'a>(attributes: impl Iterator<Item = &'a str>, now: SystemTime) -> bool {
    let (mut by_age, mut by_date) = (None, None);
    for (name, value) in attributes.filter_map(|attribute| attribute.split_once('=')) {
        let value = value.trim();
        match &*name.trim().to_ascii_lowercase() {
            "max-age" => by_age = value.parse().ok().map(|seconds: i64| seconds <= 0).or(by_age),
            "expires" => {
                // `Thu, 01-Jan-1970 00:00:00 GMT` is as frequent as the right form.
                let date = httpdate::parse_http_date(&value.replace('-', " "));
                by_date = date.ok().map(|date| date <= now).or(by_date);
            }
            _ => {}
        }
    }
    by_age.or(by_date).unwrap_or(false)
}

/// A header's value, marked sensitive.
fn visible(value: String) -> Result<HeaderValue, EndpointError> {
    let value = Zeroizing::new(value);
    match value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        true => Ok(wiped_value(value.as_bytes().to_vec())),
        false => Err(unfit("what is no visible ASCII cannot be sent in a header")),
    }
}

fn unfit(what: &'static str) -> EndpointError {
    EndpointError::misconfigured(format!("{what}: name another `Place` for it"))
}

/// The `Authorization` header with a credential as its bearer token.
pub(super) fn bearer(credential: &str) -> Result<HeaderValue, EndpointError> {
    visible(["Bearer ", credential].concat())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn found(lines: &[&str]) -> Found {
        let lines = lines.iter().map(|line| (SET_COOKIE, HeaderValue::from_str(line).unwrap()));
        let headers: HeaderMap = lines.collect();
        let now = httpdate::parse_http_date(DATE).unwrap();
        Place::Cookie("r".into()).find(&headers, now)
    }

    // S124: a refresh token is in the body, a header or a cookie and never in the query, and so are
    // an answer's tokens
    #[test]
    fn a_cookie_that_is_set_is_the_token_and_one_that_is_empty_or_over_is_none() {
        let token = || Found::Token("n3w".into());
        for (lines, expected) in [
            (&["r=n3w"][..], token()),
            (&["r=n3w; Path=/; HttpOnly; Secure"], token()),
            (&["r=\"n3w\"; Max-Age=60"], token()),
            (&["r=n3w; Expires=Sun, 06 Nov 1994 08:49:38 GMT"], token()),
            (&["r=n3w; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT"], token()),
            (&["r=n3w; Max-Age=soon; Expires=one day"], token()),
            (&["R=other", "x=r", "r=n3w", "rr=other"], token()),
            // For one path and for another.
            (&["r=; Path=/; Max-Age=0", "r=n3w; Path=/auth"], token()),
            (&["r=n3w; Path=/auth", "r=; Path=/; Max-Age=0"], token()),
            (&["r=old", "r=n3w"], token()),
            (&["r="], Found::Cleared),
            (&["r=\"\""], Found::Cleared),
            (&["r=n3w; Max-Age=0"], Found::Cleared),
            (&["r=n3w; max-age=-1"], Found::Cleared),
            (&["r=n3w; Expires=Thu, 01 Jan 1970 00:00:00 GMT"], Found::Cleared),
            (&["r=n3w; expires=Thu, 01-Jan-1970 00:00:00 GMT"], Found::Cleared),
            (&["r=n3w; Expires=Sun, 06 Nov 1994 08:49:37 GMT"], Found::Cleared),
            (&["r"], Found::Nothing),
            (&["R=n3w", ""], Found::Nothing),
            (&[], Found::Nothing),
        ] {
            assert_eq!(found(lines), expected, "{lines:?}");
        }
        let by_the_server = HeaderMap::from_iter([
            (SET_COOKIE, HeaderValue::from_static("r=n3w; Expires=Sun, 06 Nov 1994 08:49:38 GMT")),
            (http::header::DATE, HeaderValue::from_static(DATE)),
        ]);
        let late = httpdate::parse_http_date(DATE).unwrap() + Duration::from_secs(3600);
        assert_eq!(Place::Cookie("r".into()).find(&by_the_server, late), token());
    }

    // S124: a refresh token is in the body, a header or a cookie and never in the query, and so are
    // an answer's tokens
    #[test]
    fn a_header_holds_the_token_with_or_without_a_scheme() {
        let name = HeaderName::from_static("x-token");
        for (value, expected) in [
            ("n3w", Found::Token("n3w".into())),
            ("bearer n3w", Found::Token("n3w".into())),
            ("", Found::Nothing),
            ("Bearer ", Found::Nothing),
        ] {
            for (place, name) in
                [(Place::Header(name.clone()), name.clone()), (Place::Bearer, AUTHORIZATION)]
            {
                let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
                assert_eq!(place.find(&headers, SystemTime::UNIX_EPOCH), expected, "{value}");
            }
        }
    }

    // S124: a refresh token is in the body, a header or a cookie and never in the query, and so are
    // an answer's tokens
    #[test]
    fn a_token_is_put_where_it_belongs_and_stays_hidden() {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_static("a=b"));
        Place::Cookie("r".into()).put("s3cret", &mut headers).unwrap();
        Place::Bearer.put("s3cret", &mut headers).unwrap();
        Place::Header(HeaderName::from_static("x-token")).put("s3cret", &mut headers).unwrap();
        assert_eq!(headers[COOKIE], "a=b; r=s3cret");
        assert_eq!(headers[AUTHORIZATION], "Bearer s3cret");
        assert_eq!(headers["x-token"], "s3cret");
        assert!(headers.values().all(HeaderValue::is_sensitive));

        let error = Place::Cookie("r".into()).put("a;b", &mut headers).unwrap_err();
        assert!(!format!("{error:?}").contains("a;b"), "{error:?}");
        assert!(Place::Bearer.put("a\r\nb", &mut headers).is_err());
    }
}
