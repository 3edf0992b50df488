//! Which responses mean that the token was refused.

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName, StatusCode, header::WWW_AUTHENTICATE};

use super::{
    challenge::{Part, Parts},
    head::{RequestHead, ResponseHead},
};

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
        // Whatever the predicate returns. `insufficient_scope` usually comes with a 403 (RFC 6750
        // §3.1).
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
#[inline(always)]
pub(crate) fn standard(response: &ResponseHead<'_>) -> Verdict {
    let headers = response.headers();
    match response.status() {
        StatusCode::UNAUTHORIZED => challenged(headers),
        // A gRPC status comes with HTTP 200; if it is in the headers, nothing was streamed.
        StatusCode::OK
            if !headers.is_empty()
                && headers.get(&GRPC_STATUS).is_some_and(|status| status == "16") =>
        {
            challenged(headers)
        }
        _ => Verdict::Fine,
    }
}

/// Parsed once, as it is looked for in every answer.
static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Reads the challenges of a refusal, of whatever scheme: what is said to be wrong with a valid token
/// would be said of the next one too.
fn challenged(headers: &HeaderMap) -> Verdict {
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let mut step_up = StepUp::default();
        let mut asks_for_step_up = false;
        for part in Parts::of(value.as_bytes()) {
            match part {
                // The next challenge.
                Part::Word if asks_for_step_up => break,
                Part::Word => step_up = StepUp::default(),
                Part::Param(name, value) => {
                    let value = String::from_utf8_lossy(&value);
                    match name.to_ascii_lowercase().as_slice() {
                        b"error" if is_one_of(NOT_CURED, &value) => return Verdict::Fine,
                        b"error" => asks_for_step_up |= is_one_of(&[STEP_UP], &value),
                        b"acr_values" => step_up.acr_values = Some(value.into_owned()),
                        b"max_age" => step_up.max_age = value.parse().ok(),
                        _ => {}
                    }
                }
            }
        }
        if asks_for_step_up {
            return Verdict::StepUp(step_up);
        }
    }
    Verdict::Refused
}

fn is_one_of(codes: &[&str], value: &str) -> bool {
    codes.iter().any(|code| value.eq_ignore_ascii_case(code))
}

/// The codes of errors that no refresh cures, by whatever document: the token is valid and not
/// enough (RFC 6750 §3.1; `insufficient_claims` is Entra's), or it is its proof of possession that
/// will not do (RFC 9449 §7.1, §9).
const NOT_CURED: &[&str] =
    &["insufficient_scope", "insufficient_claims", "use_dpop_nonce", "invalid_dpop_proof"];

/// RFC 9470 §3.
const STEP_UP: &str = "insufficient_user_authentication";

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
        // Inside a quoted string it is no parameter.
        assert!(refused(401, &["Bearer realm=\"error=insufficient_scope\""]));
        assert!(refused(401, &["Bearer realm=\"a, error=insufficient_scope\""]));
        for odd in
            ["", ",", "=", "Bearer =", "Bearer error=", "Bearer error=\"", "\"", "Bearer error"]
        {
            assert!(refused(401, &[odd]), "{odd}");
        }
    }

    // S98: what a challenge says is wrong with a valid token counts under any scheme, and nothing
    // in front of it hides it
    #[test]
    fn nothing_in_front_of_an_error_hides_it_and_it_counts_under_any_scheme() {
        let codes = ["insufficient_scope", "insufficient_claims", "use_dpop_nonce"];
        for code in codes.into_iter().chain(["invalid_dpop_proof", "Insufficient_Scope"]) {
            let error = format!("error=\"{code}\"");
            for front in [
                "Negotiate oRQwEqADCgEBoQsGCSqGSIb3EgECAg==, Bearer",
                "NTLM TlRMTVNTUAACAAAA, DPoP",
                "DPoP algs=\"ES256\",",
                "Digest realm=\"x\", nonce=\"a=b\",",
                "Bearer realm=\"r\u{e9}serv\u{e9}\",",
                "Bearer realm=\"\u{65e5}\u{672c}\",",
                "Bearer authorization_uri=\"https://login.example.com/a?b=c\",",
                "\" Bearer",
            ] {
                let utf8 = format!("{front} {error}");
                // As Latin-1, where that has all of its characters.
                let latin1 = utf8.chars().map(|c| u8::try_from(c).unwrap_or(0xa4)).collect();
                for value in [utf8.into_bytes(), latin1] {
                    let value = HeaderValue::from_bytes(&value).unwrap();
                    let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, value.clone())]);
                    assert_eq!(says(401, &headers), Verdict::Fine, "{value:?}");
                }
            }
            assert!(!refused(401, &["Negotiate oRQw==", "Basic realm=x", &format!("X {error}")]));
        }
        assert!(refused(401, &["Negotiate oRQw==, Bearer error=\"invalid_token\""]));
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
