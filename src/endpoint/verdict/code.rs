//! Finds the code of a failure wherever servers put it.

use http::StatusCode;
use serde_json::{Map, Value};

use super::words::{Meaning, meaning};

/// Where a code stands, in the order in which it is looked for, without regard to case and
/// separators.
const CODES: [&str; 9] = [
    "error",
    "errorcode",
    "errcode",
    "code",
    "suberror",
    "errorsubtype",
    "errortype",
    "errorname",
    "errorid",
];

/// Where a code stands in an object that is about a failure. Elsewhere, it has to be known.
const WITHIN: [&str; 2] = ["type", "status"];

/// Where a sentence stands or a name, and sometimes a code that is known.
const SENTENCES: [&str; 12] = [
    "message",
    "msg",
    "errormessage",
    "errmsg",
    "errordescription",
    "detail",
    "description",
    "reason",
    "title",
    "name",
    "result",
    "key",
];

/// What may have a code in it.
const CONTAINERS: [&str; 13] = [
    "error",
    "errors",
    "detail",
    "details",
    "fault",
    "data",
    "body",
    "response",
    "meta",
    "status",
    "exception",
    "result",
    "cause",
];

/// No nesting of containers is followed further.
const DEEPEST: usize = 4;

/// A failure's code, and what it says if it is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) text: String,
    pub(super) meaning: Option<Meaning>,
}

/// The code in `object`: of all that are there, one that says that a person is needed, or else one
/// that passes, or else one that is known, or else the first. `status` is that of the answer.
pub(super) fn find(object: &Map<String, Value>, status: u16) -> Option<Code> {
    let mut found = Vec::new();
    collect(object, status, DEEPEST, &mut found);
    let best = found.iter().enumerate().min_by_key(|(at, code)| {
        // A number is the last choice.
        let is_number = code.text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        (code.meaning.is_none(), code.meaning, is_number, *at)
    });
    let best = best.map(|(at, _)| at)?;
    Some(found.swap_remove(best))
}

fn collect(object: &Map<String, Value>, status: u16, depth: usize, found: &mut Vec<Code>) {
    let squeezed: Vec<_> = object.iter().map(|(name, value)| (squeezed(name), value)).collect();
    let members = |names: &'static [&str]| {
        let named = |name: &'static str| squeezed.iter().filter(move |(key, _)| key == name);
        names.iter().flat_map(move |name| named(name).map(|(_, value)| *value))
    };
    let codes = members(&CODES).filter_map(|value| code(value, status));
    found.extend(codes);
    let is_top = depth == DEEPEST;
    let within = members(&WITHIN).filter_map(|value| code(value, status));
    found.extend(within.filter(|code| !is_top || code.meaning.is_some()));
    // Firebase has its codes in the message.
    let sentences = members(&SENTENCES).filter_map(|value| code(value, status));
    found.extend(sentences.filter(|code| code.meaning.is_some()));
    if depth == 0 {
        return;
    }
    for value in members(&CONTAINERS) {
        match value {
            Value::Object(inner) => collect(inner, status, depth - 1, found),
            Value::Array(list) => {
                for inner in list.iter().take(8) {
                    match inner {
                        Value::Object(inner) => collect(inner, status, depth - 1, found),
                        other => {
                            found.extend(code(other, status).filter(|code| code.meaning.is_some()))
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

fn code(value: &Value, status: u16) -> Option<Code> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        // Zero is success, and so is what HTTP says it is. The answer's status is known already.
        Value::Number(number) => {
            let number = number.as_i64().filter(|number| *number != 0)?;
            let is_status = number == i64::from(status) || (200..300).contains(&number);
            return (!is_status).then(|| Code { text: number.to_string(), meaning: None });
        }
        _ => return None,
    };
    // The problem type of RFC 9457 is a URI.
    let text = match text.starts_with("http") && text.contains("://") {
        true => text.rsplit('/').find(|part| !part.is_empty())?.to_owned(),
        false => text,
    };
    let meaning = meaning(&text);
    let is_none = is_success(&text) || (meaning.is_none() && is_reason_phrase(&text));
    (is_code(&text) && !is_none).then_some(Code { text, meaning })
}

/// Whether a text can be a code at all, and be shown as one.
pub(super) fn is_code(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(fits)
}

/// What says in place of a code that all is well, or in general terms that it is not.
fn is_success(text: &str) -> bool {
    let number =
        text.parse::<u32>().is_ok_and(|number| number == 0 || (200..300).contains(&number));
    let squeezed = squeezed(text);
    number || NO_CODES.contains(&&*squeezed)
}

const NO_CODES: [&str; 13] = [
    "ok",
    "success",
    "succeeded",
    "successful",
    "true",
    "false",
    "none",
    "null",
    "error",
    "fail",
    "failed",
    "failure",
    "aboutblank",
];

/// Spring's, Nest's and many a gateway's default error page has one as its `error`.
pub(super) fn is_reason_phrase(text: &str) -> bool {
    let text = squeezed(text);
    (300..600).any(|status| {
        let status = StatusCode::from_u16(status).ok();
        let phrase = status.and_then(|status| status.canonical_reason());
        phrase.is_some_and(|phrase| squeezed(phrase) == text)
    })
}

pub(super) fn squeezed(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(object: Value) -> Option<String> {
        find(object.as_object().unwrap(), 400).map(|code| code.text)
    }

    #[test]
    fn a_code_is_found_wherever_servers_put_it() {
        for (object, code) in [
            (json!({"error": "invalid_grant", "error_description": "x"}), Some("invalid_grant")),
            (
                json!({"error": {"code": "refresh_token_reused", "type": "invalid_request_error"}}),
                Some("refresh_token_reused"),
            ),
            (
                json!({"error": {"code": 190, "type": "OAuthException", "message": "x y"}}),
                Some("OAuthException"),
            ),
            (
                json!({"error": {"code": 400, "message": "TOKEN_EXPIRED", "status": "INVALID_ARGUMENT"}}),
                Some("TOKEN_EXPIRED"),
            ),
            (
                json!({"code": 400, "error_code": "refresh_token_not_found", "msg": "x"}),
                Some("refresh_token_not_found"),
            ),
            (
                json!({"status": "BAD_REFRESH_TOKEN", "message": "missing"}),
                Some("BAD_REFRESH_TOKEN"),
            ),
            (
                json!({"errors": [{"errorType": "invalid_grant", "message": "x"}]}),
                Some("invalid_grant"),
            ),
            (json!({"errcode": 40030, "errmsg": "no"}), Some("40030")),
            (
                json!({"fault": {"detail": {"errorcode": "oauth.v2.InvalidRefreshToken"}}}),
                Some("oauth.v2.InvalidRefreshToken"),
            ),
            (json!({"detail": {"code": "token_expired", "message": "x"}}), Some("token_expired")),
            (
                json!({"type": "https://errors.example/invalid-grant", "title": "x"}),
                Some("invalid-grant"),
            ),
            (
                json!({"error": "invalid_request", "error_code": "refresh_token_expired"}),
                Some("refresh_token_expired"),
            ),
            (json!({"message": "Bad Request", "error": 400}), None),
            (
                json!({"statusCode": 401, "message": "The session is over", "error": "Unauthorized"}),
                None,
            ),
            (json!({"error": "Forbidden", "status": 403}), None),
            (json!({"error": "two words"}), None),
            (json!({"error": ""}), None),
            (json!({"status": "queued", "type": "job", "name": "Bob"}), None),
            (json!({"code": 0, "status": "success", "message": "ok"}), None),
            (json!({"error": "x".repeat(65)}), None),
            (json!({}), None),
        ] {
            assert_eq!(found(object.clone()).as_deref(), code, "{object}");
        }
    }
}
