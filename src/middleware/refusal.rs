//! Which responses mean that the token was refused.

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName, StatusCode, header::WWW_AUTHENTICATE};
use http_auth::parser::ChallengeParser;

use super::head::{RequestHead, ResponseHead};

/// What the user says is a refusal.
#[derive(Clone)]
pub(crate) struct RefusedWhen(Arc<Predicate>);

type Predicate = dyn Fn(&RequestHead<'_>, &ResponseHead<'_>) -> bool + Send + Sync;

/// What a response says about the token that its request carried.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing, or nothing that a new token can cure.
    Fine,
    /// It was refused, and another may do.
    Refused,
    /// It is valid, and the API wants one that stands for a stronger or a more recent login
    /// (RFC 9470 §3).
    StepUp(StepUp),
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StepUp {
    pub(crate) acr_values: Option<String>,
    pub(crate) max_age: Option<u64>,
}

impl RefusedWhen {
    pub(crate) fn new<F>(predicate: F) -> Self
    where
        F: Fn(&RequestHead<'_>, &ResponseHead<'_>) -> bool + Send + Sync + 'static,
    {
        Self(Arc::new(predicate))
    }

    pub(crate) fn judge(&self, request: &RequestHead<'_>, response: &ResponseHead<'_>) -> Verdict {
        let standard = standard(response);
        if matches!(standard, Verdict::StepUp(_)) {
            return standard;
        }
        if !(self.0)(request, response) {
            return Verdict::Fine;
        }
        // No refresh cures what the challenge says is wrong with a valid token, whatever the
        // predicate returns. `insufficient_scope` usually comes with a 403 (RFC 6750 §3.1).
        challenged(response.headers())
    }
}

impl ResponseHead<'_> {
    /// Whether the layer takes it for a refusal by itself: a 401, unless its challenge says that
    /// the token is valid but not enough, or gRPC's `UNAUTHENTICATED` in the headers of a 200.
    pub fn is_refusal(&self) -> bool {
        standard(self) == Verdict::Refused
    }
}

/// A 401 that a new token can cure, or gRPC's `UNAUTHENTICATED` in the headers.
#[inline]
pub(crate) fn standard(response: &ResponseHead<'_>) -> Verdict {
    let headers = response.headers();
    match response.status() {
        StatusCode::UNAUTHORIZED => challenged(headers),
        // A gRPC status comes with HTTP 200; if it is in the headers, nothing was streamed.
        StatusCode::OK
            if !headers.is_empty()
                && headers.get(&GRPC_STATUS).is_some_and(|status| status == "16") =>
        {
            Verdict::Refused
        }
        _ => Verdict::Fine,
    }
}

/// Parsed once, as it is looked for in every answer.
static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Reads the challenges of a refusal. One that says the token is valid but not enough (RFC 6750
/// §3.1) would be the answer to the next token too. What cannot be parsed says nothing.
fn challenged(headers: &HeaderMap) -> Verdict {
    let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    for value in values.map(single_spaced) {
        for challenge in ChallengeParser::new(&value).map_while(Result::ok) {
            if !challenge.scheme.eq_ignore_ascii_case("bearer") {
                continue;
            }
            let param = |name: &str| {
                let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.to_unescaped())
            };
            match param("error").as_deref() {
                Some("insufficient_scope") => return Verdict::Fine,
                Some("insufficient_user_authentication") => {
                    let max_age = param("max_age").and_then(|age| age.parse().ok());
                    return Verdict::StepUp(StepUp { acr_values: param("acr_values"), max_age });
                }
                _ => {}
            }
        }
    }
    Verdict::Refused
}

/// The grammar allows any white space between a scheme and its parameters, the parser one space.
fn single_spaced(value: &str) -> String {
    let mut spaced = String::with_capacity(value.len());
    let (mut quoted, mut escaped) = (false, false);
    for c in value.trim().chars() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c == ' ' || c == '\t' {
            if !spaced.ends_with(' ') {
                spaced.push(' ');
            }
            continue;
        } else {
            quoted = c == '"';
        }
        spaced.push(c);
    }
    spaced
}

impl fmt::Debug for RefusedWhen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefusedWhen").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::{Extensions, HeaderValue};

    use super::*;

    fn says(status: u16, headers: &HeaderMap) -> Verdict {
        let status = StatusCode::from_u16(status).unwrap();
        standard(&ResponseHead::new(status, headers, &Extensions::new()))
    }

    fn judge(status: u16, challenges: &[&str]) -> Verdict {
        let mut headers = HeaderMap::new();
        for challenge in challenges {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(challenge).unwrap());
        }
        says(status, &headers)
    }

    fn refused(status: u16, challenges: &[&str]) -> bool {
        judge(status, challenges) == Verdict::Refused
    }

    #[test]
    fn a_wish_for_a_stronger_login_comes_with_its_parameters() {
        let challenge = "Bearer error=\"insufficient_user_authentication\", \
                         acr_values=\"myACR other\", max_age=\"5\"";
        let step_up = StepUp { acr_values: Some("myACR other".into()), max_age: Some(5) };
        assert_eq!(judge(401, &[challenge]), Verdict::StepUp(step_up));
    }

    // S28: `insufficient_scope` and every other status refresh nothing
    #[test]
    fn a_401_is_a_refusal_unless_the_token_is_not_enough() {
        assert!(refused(401, &[]));
        assert!(refused(401, &["Bearer"]));
        assert!(refused(401, &["Basic realm=\"x\""]));
        assert!(refused(401, &["Bearer error=\"invalid_token\""]));
        assert!(!refused(401, &["Bearer error=\"insufficient_scope\", scope=\"admin\""]));
        assert!(!refused(401, &["Bearer error=insufficient_user_authentication, max_age=5"]));
        for status in (200..600).filter(|&status| status != 401) {
            assert!(!refused(status, &[]), "{status}");
        }
    }

    // S29: challenges are read wherever and however they stand
    #[test]
    fn challenges_are_found_wherever_they_stand() {
        let scope = "error=\"insufficient_scope\"";
        assert!(!refused(401, &[&format!("Basic realm=\"a, b\", bearer  realm=\"x\" ,{scope}")]));
        assert!(!refused(401, &["Basic", &format!("Bearer {scope}")]));
        assert!(!refused(401, &[&format!(" \tBearer \t  realm=\"two  \\\"  two\"  , {scope}  ")]));
        assert!(!refused(401, &[&format!("Bearer realm=\"a \\\" b\" , , {scope}, Digest qop=x")]));
        // In another scheme's challenge, inside a quoted string, or beyond what can be parsed, it
        // is not ours.
        assert!(refused(401, &[&format!("Digest {scope}")]));
        assert!(refused(401, &["Bearer realm=\"error=insufficient_scope\""]));
        assert!(refused(401, &[&format!("\" Bearer {scope}")]));
        for odd in
            ["", ",", "=", "Bearer =", "Bearer error=", "Bearer error=\"", "\"", "Bearer error"]
        {
            assert!(refused(401, &[odd]), "{odd}");
        }
    }

    // S32: gRPC's `UNAUTHENTICATED` in the headers is a refusal
    #[test]
    fn grpc_says_it_in_the_headers() {
        let with = |http: u16, grpc| {
            let headers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), grpc)]);
            says(http, &headers) == Verdict::Refused
        };
        assert!(with(200, HeaderValue::from_static("16")));
        assert!(!with(200, HeaderValue::from_static("7")));
        assert!(!with(500, HeaderValue::from_static("16")));
    }
}
