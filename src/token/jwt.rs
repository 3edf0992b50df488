//! What a client reads of a JWT that it merely carries: `exp` and `iat`, unverified.
//!
//! Nothing is trusted here. The claims only tell when to ask for the next token; whether the
//! token is genuine is for the API to decide (RFC 7519 §4.1.4, §4.1.6).

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::stated::time_of;

/// Times since the Unix epoch; a claim that is missing or says nothing is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Claims {
    #[serde(default, deserialize_with = "numeric_date")]
    pub(crate) exp: Option<Duration>,
    #[serde(default, deserialize_with = "numeric_date")]
    pub(crate) iat: Option<Duration>,
}

impl Claims {
    /// Reads a token; one that is no JWT is opaque and has no claims.
    pub(crate) fn read(token: &str) -> Self {
        jsonwebtoken::dangerous::insecure_decode_claims(token).unwrap_or_default()
    }

    /// How long the issuer lets the token live, by its own clock alone. An `iat` that is not
    /// before `exp` says nothing.
    pub(crate) fn life(&self) -> Option<Duration> {
        self.exp?.checked_sub(self.iat?).filter(|life| !life.is_zero())
    }
}

/// A NumericDate (RFC 7519 §2): a JSON number, possibly fractional. Digits in a string and
/// milliseconds exist as well.
fn numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Ok(time_of(&Value::deserialize(deserializer)?))
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;

    fn token(claims: &str) -> String {
        // The header names an unknown algorithm: only the claims are read.
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"XX999"}"#);
        format!("{header}.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    // S10: a life is read from numbers, strings and nonsense without harm
    #[test]
    fn exp_may_be_whole_fractional_past_missing_or_nonsense() {
        let exp = |claims| Claims::read(&token(claims)).exp;
        assert_eq!(exp(r#"{"exp":1758003600}"#), Some(Duration::from_secs(1_758_003_600)));
        assert_eq!(exp(r#"{"exp":1758003600.5}"#), Some(Duration::from_millis(1_758_003_600_500)));
        assert_eq!(exp(r#"{"exp":-5}"#), Some(Duration::ZERO));
        assert_eq!(exp(r#"{"exp":"1758003600"}"#), Some(Duration::from_secs(1_758_003_600)));
        assert_eq!(exp(r#"{"exp":1758003600000}"#), Some(Duration::from_secs(1_758_003_600)));
        assert_eq!(exp(r#"{"exp":253402300799}"#), None);
        assert_eq!(exp(r#"{"exp":1e300}"#), None);
        assert_eq!(exp(r#"{"sub":"x"}"#), None);
        assert_eq!(exp(r#"{"exp":"soon"}"#), None);
        assert_eq!(exp(r#"{"exp":null}"#), None);
        assert_eq!(exp(r#"["exp"]"#), None);
    }

    #[test]
    fn one_bad_claim_does_not_hide_the_other() {
        let claims = Claims::read(&token(r#"{"exp":200,"iat":{}}"#));
        assert_eq!(claims, Claims { exp: Some(Duration::from_secs(200)), iat: None });
    }

    #[test]
    fn what_is_no_jwt_is_opaque() {
        for token in ["", ".", "..", "...", "opaque", "a.b", "a.b.c", "a.%%%.c"] {
            assert_eq!(Claims::read(token), Claims::default(), "{token:?}");
        }
    }
}
