//! What any token endpoint's HTTP answer means, whatever its protocol.
//!
//! Everything here is a pure function of bytes from outside: it may fail, and never panics.

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, HeaderName, StatusCode,
    header::{CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER},
};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{
    error::{EndpointError, FailureClass, Spent},
    secrets::Secrets,
    text::{lossy, without_halves},
};

/// An answer that was read to its end.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// The JSON object that the body is.
    pub(super) fn object(&self, secrets: &Secrets) -> Result<Map<String, Value>, EndpointError> {
        // A byte order mark is wrong in JSON, and common (RFC 8259 §8.1).
        let body = self.body.strip_prefix(b"\xEF\xBB\xBF");
        let body = body.unwrap_or(&self.body).trim_ascii();
        let mended;
        let body = match str::from_utf8(body) {
            Ok(body) => body,
            Err(_) => {
                mended = lossy(body);
                &mended
            }
        };
        let read = serde_json::from_str(body);
        let read = read.or_else(|_| serde_json::from_str(&without_halves(body)));
        let what = match read {
            Ok(Value::Object(object)) => return Ok(object),
            _ if body.is_empty() => "an empty body: is this its URL?".into(),
            Ok(_) => "JSON that is no object: is this its URL?".into(),
            _ if body.starts_with('<') => format!(
                "HTML instead of JSON ({}): is this the API's URL?",
                self.content_type(secrets)
            ),
            Err(error) if error.is_eof() => "JSON that is cut off".into(),
            Err(_) => format!("a body that is no JSON ({})", self.content_type(secrets)),
        };
        Err(self.error(FailureClass::Transient, &format!(" with {what}"), None, secrets))
    }

    /// The failure that the status alone tells of; `said` is the server's own text, if it gave
    /// one.
    pub(super) fn failure(&self, said: Option<&Value>, secrets: &Secrets) -> EndpointError {
        use FailureClass::{Misconfigured, Transient};

        let error = |class, what: &str| self.error(class, what, said, secrets);
        match self.status.as_u16() {
            300..=399 => error(Misconfigured, &self.redirect(secrets)),
            408 | 429 | 500 | 503 => error(Transient, "").with_spent(Spent::No),
            404 | 405 | 410 => error(Misconfigured, ": check its URL"),
            401 | 403 => error(Misconfigured, ": check how the client authenticates"),
            400..=499 => error(Misconfigured, ""),
            // A gateway's 502 and 504 say nothing of what the server behind it did.
            _ => error(Transient, ""),
        }
    }

    /// `the token endpoint answered 400`, what that means, and what the server says about it.
    pub(super) fn error(
        &self,
        class: FailureClass,
        what: &str,
        said: Option<&Value>,
        secrets: &Secrets,
    ) -> EndpointError {
        let said = said.map(|said| secrets.quote(&text(said))).unwrap_or_default();
        let mut message = format!("the token endpoint answered {}{what}", self.status.as_u16());
        if !said.is_empty() {
            message += &format!("; it says \"{said}\"");
        }
        let spent = match class {
            FailureClass::Transient => Spent::Maybe,
            FailureClass::InvalidGrant | FailureClass::Misconfigured => Spent::No,
        };
        let error = EndpointError::new(class, message).with_spent(spent);
        error.with_status(self.status).with_said(said)
    }

    pub(super) fn date(&self) -> Option<SystemTime> {
        date(&self.headers)
    }

    fn redirect(&self, secrets: &Secrets) -> String {
        let target = match text_of(&self.headers, LOCATION) {
            // A query may hold anything, and so may a fragment.
            Some(location) => secrets.quote(location.split(['?', '#']).next().unwrap_or_default()),
            None => "another URL".into(),
        };
        format!(": redirects are not followed; if {target} is the token endpoint, use that URL")
    }

    fn content_type(&self, secrets: &Secrets) -> String {
        match text_of(&self.headers, CONTENT_TYPE) {
            Some(content_type) => format!("content-type {}", secrets.quote(content_type)),
            None => "no content-type".into(),
        }
    }
}

/// How long the server wants to be left alone (RFC 9110 §10.2.3). Seconds may have a fraction, and
/// are rounded up. A date is read by the server's own clock if it tells it, and else by ours.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = text_of(headers, RETRY_AFTER)?.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        let seconds = Some(seconds.ceil()).filter(|&seconds| seconds >= 0.0)?;
        return Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    let from = date(headers).unwrap_or(now);
    Some(until.duration_since(from).unwrap_or_default())
}

/// A server's remark as text. A list is FastAPI's account of a body that it could not read; of
/// each entry only the place and the message are taken, as `input` repeats what was sent.
fn text(said: &Value) -> String {
    match said {
        Value::Null => String::new(),
        Value::String(said) => said.clone(),
        Value::Array(said) => said.iter().map(text).collect::<Vec<_>>().join("; "),
        Value::Object(said) => {
            let message = ["msg", "message"].iter().find_map(|name| said.get(*name));
            let place = said.get("loc").and_then(Value::as_array);
            let place = place.into_iter().flatten().map(|part| text(part) + " ");
            place.chain(message.map(text)).collect()
        }
        Value::Bool(_) | Value::Number(_) => said.to_string(),
    }
}

/// The server's clock, as an answer's headers tell it.
pub(super) fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(text_of(headers, DATE)?).ok()
}

fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
impl Answer {
    pub(super) fn of(status: u16, headers: &[(HeaderName, &str)], body: &str) -> Self {
        let headers = headers.iter().map(|(name, value)| {
            let value = value.parse().expect("a header value");
            (name.clone(), value)
        });
        Self {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: headers.collect(),
            body: Zeroizing::new(body.as_bytes().to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::endpoint::{
        FailureClass::{self, Misconfigured, Transient},
        Spent::{Maybe, No},
    };

    const DATE_1: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const DATE_2: &str = "Sun, 06 Nov 1994 08:51:37 GMT";

    // S38: whatever a token endpoint answers instead of tokens is an error, in time and within the
    // size cap
    #[test]
    fn what_is_no_json_object_may_have_spent_the_token_and_is_named() {
        for (body, said) in [
            ("", "with an empty body"),
            (" \r\n", "with an empty body"),
            ("<!doctype html>", "HTML instead of JSON (content-type text/html)"),
            (" \n<html>", "HTML instead of JSON"),
            (r#"{"token": "abc"#, "JSON that is cut off"),
            (r#"{"token":"#, "JSON that is cut off"),
            ("token=s3cret", "no JSON (content-type text/html)"),
            (r#""s3cret""#, "JSON that is no object"),
            ("[]", "JSON that is no object"),
            (r#"{"s3cret":}"#, "no JSON"),
        ] {
            let answer = Answer::of(200, &[(CONTENT_TYPE, "text/html")], body);
            let error = answer.object(&Secrets::default()).expect_err(body);
            assert_eq!(error.class(), Transient, "{body}");
            assert_eq!(error.spent(), Maybe, "{body}");
            assert_eq!(error.status(), Some(StatusCode::OK), "{body}");
            assert!(error.to_string().contains(said), "{body}: {error}");
            assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        }
        let deep = "[".repeat(200_000);
        assert!(Answer::of(200, &[], &deep).object(&Secrets::default()).is_err());
        let marked = Answer::of(200, &[], "\u{feff}{\"a\":1}\n");
        assert_eq!(marked.object(&Secrets::default()).unwrap()["a"], 1);
    }

    #[test]
    fn the_status_alone_tells_the_class_and_whether_the_token_may_be_spent() {
        let table: &[(&[u16], FailureClass, Spent)] = &[
            (&[301, 302, 303, 307, 308], Misconfigured, No),
            (&[400, 401, 403, 404, 405, 410, 422, 451], Misconfigured, No),
            (&[408, 429, 500, 503], Transient, No),
            (&[501, 502, 504, 520, 599, 600, 999, 100, 101], Transient, Maybe),
        ];
        for &(statuses, class, spent) in table {
            for &status in statuses {
                let error = Answer::of(status, &[], "").failure(None, &Secrets::default());
                assert_eq!(error.class(), class, "{status}");
                assert_eq!(error.spent(), spent, "{status}");
                assert_eq!(error.status().unwrap(), status);
                assert!(error.to_string().contains(&status.to_string()));
            }
        }
    }

    #[test]
    fn messages_say_what_to_do() {
        let said = |status, headers: &[_]| {
            let failure = Answer::of(status, headers, "").failure(None, &Secrets::default());
            failure.to_string()
        };
        assert_eq!(said(404, &[]), "the token endpoint answered 404: check its URL");
        let moved = said(307, &[(LOCATION, "https://new.example/token?t=s3cret")]);
        assert!(moved.contains("redirects are not followed"), "{moved}");
        assert!(moved.contains("https://new.example/token"), "{moved}");
        assert!(!moved.contains("s3cret"), "{moved}");
        let moved = said(302, &[(LOCATION, "https://new.example/#access_token=s3cret")]);
        assert!(!moved.contains("s3cret"), "{moved}");
        assert!(said(302, &[]).contains("another URL"));
    }

    #[test]
    fn a_remark_is_a_string_an_object_or_fastapis_list() {
        let list = json!([
            {"loc": ["body", "refresh_token"], "msg": "field required", "input": "s3cret"},
            "plain",
        ]);
        for (said, expected) in [
            (json!("gone"), "gone"),
            (list, "body refresh_token field required; plain"),
            (json!({"message": "gone", "token": "s3cret"}), "gone"),
            (json!({"token": "s3cret"}), ""),
            (json!(null), ""),
            (json!(7), "7"),
        ] {
            assert_eq!(text(&said), expected);
        }
    }

    // S37: `Retry-After` is respected, as seconds and as a date, up to a limit
    #[test]
    fn retry_after_is_seconds_or_a_date_by_the_servers_clock() {
        let ours = httpdate::parse_http_date(DATE_1).unwrap();
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let cases: &[(&[(HeaderName, &str)], _)] = &[
            (&[], None),
            (&[(RETRY_AFTER, "120")], seconds(120)),
            (&[(RETRY_AFTER, " 0 ")], seconds(0)),
            (&[(RETRY_AFTER, "3.5")], seconds(4)),
            (&[(RETRY_AFTER, "0.001")], seconds(1)),
            (&[(RETRY_AFTER, "2.0")], seconds(2)),
            (&[(RETRY_AFTER, "18446744073709551616")], Some(Duration::MAX)),
            (&[(RETRY_AFTER, "inf")], Some(Duration::MAX)),
            (&[(RETRY_AFTER, "NaN")], None),
            (&[(RETRY_AFTER, "-1")], None),
            (&[(RETRY_AFTER, "soon")], None),
            (&[(RETRY_AFTER, "")], None),
            (&[(RETRY_AFTER, DATE_2)], seconds(120)),
            (&[(RETRY_AFTER, DATE_2), (DATE, DATE_2)], seconds(0)),
            (&[(RETRY_AFTER, DATE_1), (DATE, DATE_2)], seconds(0)),
            (&[(RETRY_AFTER, DATE_2), (DATE, "yesterday")], seconds(120)),
        ];
        for (headers, expected) in cases {
            let headers = Answer::of(429, headers, "").headers;
            assert_eq!(retry_after(&headers, ours), *expected, "{headers:?}");
        }
    }
}
