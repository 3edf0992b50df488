//! Which responses mean that the token was refused.

use std::{fmt, sync::Arc};

use http::{HeaderMap, StatusCode, header::WWW_AUTHENTICATE};

/// Decides whether a response refuses the token.
#[derive(Clone, Default)]
pub(crate) enum Refusal {
    /// A 401 that a new token can cure, or gRPC's `UNAUTHENTICATED` in the headers.
    #[default]
    Standard,
    Custom(Arc<Predicate>),
}

type Predicate = dyn Fn(StatusCode, &HeaderMap) -> bool + Send + Sync;

impl Refusal {
    pub(crate) fn is_met_by(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        match self {
            Self::Standard => is_standard(status, headers),
            Self::Custom(predicate) => predicate(status, headers),
        }
    }
}

fn is_standard(status: StatusCode, headers: &HeaderMap) -> bool {
    match status {
        StatusCode::UNAUTHORIZED => !asks_for_more(headers),
        // A gRPC status comes with HTTP 200; if it is in the headers, nothing was streamed.
        StatusCode::OK => headers.get("grpc-status").is_some_and(|status| status == "16"),
        _ => false,
    }
}

/// Whether a challenge says that the token is fine and not enough (RFC 6750 §3.1, RFC 9470 §3):
/// another of the same kind would be refused as well. What cannot be parsed says nothing.
fn asks_for_more(headers: &HeaderMap) -> bool {
    headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        http_auth::parser::ChallengeParser::new(value).map_while(Result::ok).any(|challenge| {
            challenge.scheme.eq_ignore_ascii_case("bearer")
                && challenge.params.iter().any(|(name, value)| {
                    name.eq_ignore_ascii_case("error")
                        && matches!(
                            value.to_unescaped().as_str(),
                            "insufficient_scope" | "insufficient_user_authentication"
                        )
                })
        })
    })
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Standard => "Standard",
            Self::Custom(_) => "Custom",
        })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn refused(status: u16, challenges: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for challenge in challenges {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(challenge).unwrap());
        }
        Refusal::Standard.is_met_by(StatusCode::from_u16(status).unwrap(), &headers)
    }

    // S28
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

    // S29
    #[test]
    fn challenges_are_found_wherever_they_stand() {
        let scope = "error=\"insufficient_scope\"";
        assert!(!refused(401, &[&format!("Basic realm=\"a, b\", bearer  realm=\"x\" ,{scope}")]));
        assert!(!refused(401, &["Basic", &format!("Bearer {scope}")]));
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

    // S32
    #[test]
    fn grpc_says_it_in_the_headers() {
        let with = |http: u16, grpc| {
            let headers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), grpc)]);
            Refusal::Standard.is_met_by(StatusCode::from_u16(http).unwrap(), &headers)
        };
        assert!(with(200, HeaderValue::from_static("16")));
        assert!(!with(200, HeaderValue::from_static("7")));
        assert!(!with(500, HeaderValue::from_static("16")));
    }
}
