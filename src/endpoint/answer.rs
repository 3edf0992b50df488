//! What any token endpoint's HTTP answer says, whatever its protocol.
//!
//! Everything here is a pure function of bytes from outside: it may fail, and never panics.

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, HeaderName, StatusCode,
    header::{CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER},
};

use serde_json::{Map, Value};

use super::{
    error::{EndpointError, FailureClass, Spent},
    reader::{Body, Loss},
    secrets::Secrets,
    verdict::{Content, Refusal, Verdict},
};
use crate::error::BoxError;

/// An answer that was read as far as it says something.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    /// What ended the body, if it did not end as it should.
    pub(super) broken: Option<BoxError>,
}

impl Answer {
    /// The object that the body is, or what is left of one.
    pub(super) fn object(&self) -> Option<&Map<String, Value>> {
        match &self.body {
            Body::Object(object) | Body::Cut(object) => Some(object),
            _ => None,
        }
    }

    /// Puts what came beside the body among its fields.
    pub(super) fn insert(&mut self, name: &str, value: Value) {
        match &mut self.body {
            Body::Object(object) | Body::Cut(object) => _ = object.insert(name.to_owned(), value),
            body => *body = Body::Object(Map::from_iter([(name.to_owned(), value)])),
        }
    }

    /// The answer as one that brought no token, for its verdict. `reason` finds the field of the
    /// endpoint's protocol that says why.
    pub(super) fn refusal<'a>(
        &'a self,
        reason: impl FnOnce(&'a Map<String, Value>) -> Option<&'a Value>,
    ) -> Refusal<'a> {
        let content = match &self.body {
            Body::Object(object) | Body::Cut(object) => Content::Object(object, reason(object)),
            Body::Text(text) => Content::Text(text),
            Body::Coded(_) | Body::Lost(_) => Content::Text(""),
        };
        let content_type = text_of(&self.headers, CONTENT_TYPE).unwrap_or_default();
        Refusal {
            status: self.status,
            has_retry_after: self.headers.contains_key(RETRY_AFTER),
            is_problem: content_type.trim_start().starts_with("application/problem+json"),
            content,
        }
    }

    /// The failure that a verdict is about. What the server did before it failed is not known of a
    /// gateway's 502 and 504.
    pub(super) fn refused(&self, verdict: Verdict, secrets: &Secrets) -> EndpointError {
        let status = self.status.as_u16();
        let said = secrets.quote(&verdict.said);
        let code = verdict.code.filter(|code| secrets.quote(code) == *code);
        let what = match verdict.class {
            FailureClass::InvalidGrant => ": a user has to log in again".into(),
            _ => self.advice(code.as_deref(), &said, secrets),
        };
        let spent = match status {
            408 | 425 | 429 | 500 | 503 | 200..=499 => Spent::No,
            _ => Spent::Maybe,
        };
        let class = verdict.class;
        let error = self.error(class, &what, &said).with_spent(spent).presumed(verdict.is_presumed);
        match code {
            Some(code) => error.with_code(code),
            None => error,
        }
    }

    /// What to do about a failure, where the server does not say it.
    fn advice(&self, code: Option<&str>, said: &str, secrets: &Secrets) -> String {
        let coded = match &self.body {
            Body::Coded(coding) => {
                format!(", with a body in the coding `{coding}`, which is not read")
            }
            _ => String::new(),
        };
        let advice = match (code, self.status.as_u16()) {
            (_, 300..=399) => return self.redirect(secrets),
            (Some("invalid_client"), _) => {
                ": check the client's id, its secret, and whether it is to be sent by \
                 `OAuth2Client::basic` or `OAuth2Client::post`"
            }
            (Some("invalid_scope"), _) => ": check the scope",
            _ if !said.is_empty() => "",
            (Some("unauthorized_client" | "unsupported_grant_type"), _) => {
                ": the client may not use this grant"
            }
            (None, 404 | 405 | 410) => ": check its URL",
            (None, 401 | 403) => ": check how the client authenticates",
            _ => "",
        };
        coded + advice
    }

    /// A good head, and a body in which there is neither a token nor a refusal.
    pub(super) fn unreadable(&self, has_worked: bool, secrets: &Secrets) -> EndpointError {
        let ill = |what: String| {
            let class = match has_worked {
                true => FailureClass::Transient,
                false => FailureClass::Misconfigured,
            };
            self.error(class, &format!(" with {what}"), "").with_spent(Spent::Maybe).presumed(true)
        };
        let lost =
            |what: &str| self.error(FailureClass::Transient, what, "").with_spent(Spent::Maybe);
        match &self.body {
            Body::Text(text) if text.trim().is_empty() => {
                ill("an empty body: is this its URL?".into())
            }
            Body::Text(text) if text.trim_start().starts_with('<') => ill(format!(
                "HTML instead of JSON ({}): is this the API's URL?",
                self.content_type(secrets)
            )),
            Body::Text(text) => match serde_json::from_str::<serde::de::IgnoredAny>(text) {
                Ok(_) => ill("JSON that is no object: is this its URL?".into()),
                Err(_) => ill(format!("a body that is no JSON ({})", self.content_type(secrets))),
            },
            Body::Lost(Loss::TooLarge) => lost(
                ", which is larger than the cap: is this its URL? `max_body_bytes` raises the cap",
            ),
            Body::Lost(Loss::Damaged) => lost(" with a compressed body that is damaged or cut off"),
            Body::Lost(Loss::BrokeOff) => lost(", and then its answer broke off"),
            Body::Lost(Loss::CutOff) | Body::Cut(_) => lost(" with JSON that is cut off"),
            Body::Coded(coding) => self
                .error(
                    FailureClass::Misconfigured,
                    &format!(
                        " with a body in the coding `{coding}`, which is not read: it has to answer \
                         what `accept-encoding: identity` asks for"
                    ),
                    "",
                )
                .with_spent(Spent::Yes),
            Body::Object(_) => lost(""),
        }
    }

    /// `the token endpoint answered 400`, what that means, and what the server says about it.
    pub(super) fn error(&self, class: FailureClass, what: &str, said: &str) -> EndpointError {
        let mut message = format!("the token endpoint answered {}{what}", self.status.as_u16());
        if !said.is_empty() {
            message += &format!("; it says \"{said}\"");
        }
        EndpointError::new(class, message).with_status(self.status).with_said(said)
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

/// The server's clock, as an answer's headers tell it.
pub(super) fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(text_of(headers, DATE)?).ok()
}

fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
impl Answer {
    /// An answer that comes byte by byte, and breaks off after them.
    pub(super) fn of(
        (status, headers, body): (u16, &[(HeaderName, &str)], &[u8]),
        broke_off: bool,
        speaks: &super::reader::Speaks,
    ) -> Self {
        let headers = headers.iter().map(|(name, value)| {
            let value = value.parse().expect("a header value");
            (name.clone(), value)
        });
        let headers: HeaderMap = headers.collect();
        let mut reader = super::reader::Reader::new(&headers, 1024 * 1024, speaks);
        let needs_more = body.iter().all(|byte| reader.push(&[*byte]));
        Self {
            status: StatusCode::from_u16(status).expect("a status"),
            headers,
            body: reader.end(broke_off && needs_more),
            broken: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE_1: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const DATE_2: &str = "Sun, 06 Nov 1994 08:51:37 GMT";

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
            let headers: HeaderMap = headers
                .iter()
                .cloned()
                .map(|(name, value)| (name, value.parse().unwrap()))
                .collect();
            assert_eq!(retry_after(&headers, ours), *expected, "{headers:?}");
        }
    }
}
