use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::token::LONGEST_LIFE;

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// Signs JWTs with HS256 (RFC 7515, RFC 7518 §3.2) and checks the ones it has signed.
///
/// Use it where a test needs a token with claims of its own: one without `exp`, one that expired
/// an hour ago, one whose `iat` is ahead.
///
/// ```
/// use serde_json::json;
/// use tower_refresh::testing::Issuer;
///
/// let issuer = Issuer::new("a key of the test's own");
/// let jwt = issuer.sign(&json!({ "sub": "user-1", "iat": 1758000000, "exp": 1758003600.5 }));
/// assert_eq!(issuer.verify(&jwt).unwrap()["sub"], "user-1");
/// assert!(Issuer::new("another key").verify(&jwt).is_none());
/// ```
#[derive(Clone)]
pub struct Issuer {
    key: Hmac<Sha256>,
}

impl Issuer {
    /// An issuer that signs with `key`, which may have any length.
    pub fn new(key: impl AsRef<[u8]>) -> Self {
        Self { key: Hmac::new_from_slice(key.as_ref()).expect("HMAC takes keys of any length") }
    }

    /// An issuer with a key of its own. It is good enough to keep two test servers'
    /// tokens apart, and not meant to keep a secret.
    pub fn random() -> Self {
        Self::new(fastrand::u128(..).to_be_bytes())
    }

    /// A JWT with exactly these claims.
    pub fn sign(&self, claims: &Value) -> String {
        let header = URL_SAFE_NO_PAD.encode(HEADER);
        let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
        let mut jwt = format!("{header}.{claims}");
        let signature = URL_SAFE_NO_PAD.encode(self.mac(&jwt));
        jwt.push('.');
        jwt.push_str(&signature);
        jwt
    }

    /// A JWT issued now that lives for `life`: with `sub`, `iat`, `exp` and a `jti` of its own.
    pub fn access_token(&self, life: Duration) -> String {
        let (iat, exp) = dates(SystemTime::now(), life);
        let jti = format!("{:032x}", fastrand::u128(..));
        self.sign(&json!({ "sub": "user-1", "iat": iat, "exp": exp, "jti": jti }))
    }

    /// The claims of a JWT that this issuer has signed; `None` for anything else. The times in
    /// it are not looked at.
    pub fn verify(&self, jwt: &str) -> Option<Value> {
        let (signed, signature) = jwt.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let mac = self.key.clone().chain_update(signed);
        mac.verify_slice(&signature).ok()?;
        let (_, claims) = signed.split_once('.')?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }

    /// `text~mac`: a token that only this issuer can make, and that says what it is when it
    /// turns up in a test's output.
    pub(super) fn seal(&self, text: &str) -> String {
        let mac = &self.mac(text)[..16];
        format!("{text}~{}", URL_SAFE_NO_PAD.encode(mac))
    }

    /// The text of a sealed token, if this issuer sealed it.
    pub(super) fn unseal<'a>(&self, sealed: &'a str) -> Option<&'a str> {
        let (text, mac) = sealed.rsplit_once('~')?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
        // Half of the digest is what `seal` wrote; a shorter piece of it is no proof.
        (mac.len() == 16).then_some(())?;
        let whole = self.key.clone().chain_update(text);
        whole.verify_truncated_left(&mac).ok()?;
        Some(text)
    }

    fn mac(&self, text: &str) -> [u8; 32] {
        let mac = self.key.clone().chain_update(text);
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").finish_non_exhaustive()
    }
}

/// `iat` and `exp` as NumericDates (RFC 7519 §2): whole seconds, as most servers write them,
/// unless the life has a fraction, so that `exp - iat` is the life either way.
pub(super) fn dates(now: SystemTime, life: Duration) -> (Value, Value) {
    let iat = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let exp = iat.saturating_add(life.min(LONGEST_LIFE));
    if life.subsec_nanos() == 0 {
        return (iat.as_secs().into(), exp.as_secs().into());
    }
    // A double holds microseconds of this age exactly enough, and nanoseconds not at all.
    let date = |since_epoch: Duration| Value::from(since_epoch.as_micros() as f64 / 1e6);
    (date(iat), date(exp))
}
