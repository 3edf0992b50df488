use std::{borrow::Cow, time::Duration};

use serde_json::{Map, Value};

use super::{
    answer::Answer,
    error::{EndpointError, FailureClass, Spent},
    response::TokenResponse,
    secrets::Secrets,
};
use crate::{
    token::jwt,
    token::{AccessToken, LONGEST_LIFE, RefreshToken},
};

/// What the fields of a good answer are called.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub(super) access_token: Cow<'static, str>,
    pub(super) refresh_token: Cow<'static, str>,
    pub(super) expires_in: Cow<'static, str>,
}

impl Fields {
    /// The names of RFC 6749 §5.1.
    pub(super) const OAUTH2: Self = Self {
        access_token: Cow::Borrowed("access_token"),
        refresh_token: Cow::Borrowed("refresh_token"),
        expires_in: Cow::Borrowed("expires_in"),
    };

    /// The tokens in a successful answer's `object`. `sent` is the refresh token of the call, and
    /// `said` the server's own explanation of an answer without tokens.
    pub(super) fn read(
        &self,
        answer: &Answer,
        mut object: Map<String, Value>,
        sent: Option<&RefreshToken>,
        said: Option<&Value>,
        secrets: &Secrets,
    ) -> Result<TokenResponse, EndpointError> {
        // With an explanation beside it the answer is a refusal, and the token may be the old one.
        let rotated = sent.filter(|_| said.is_none()).and_then(|sent| self.rotated(&object, sent));
        // The server has used the old refresh token: it is not sent again.
        let no_access_token = |what: &str| match rotated {
            Some(rotated) => answer
                .error(FailureClass::Misconfigured, what, said, secrets)
                .with_spent(Spent::Yes)
                .with_rotated(rotated),
            None => answer.error(FailureClass::Transient, what, said, secrets),
        };
        let Some(Value::String(access_token)) = object.remove(&*self.access_token) else {
            let mut has: Vec<_> = object.keys().map(String::as_str).collect();
            has.sort_unstable();
            let has = match has.is_empty() {
                true => "nothing".into(),
                false => secrets.quote(&has.join(", ")),
            };
            let what = format!(" without a string `{}` (but with {has})", self.access_token);
            return Err(no_access_token(&what));
        };
        let unusable = |name: &str| format!(" with a `{name}` that cannot be used");
        let access_token = AccessToken::new(access_token)
            .map_err(|error| no_access_token(&unusable(&self.access_token)).with_source(error))?;
        let unusable = || {
            let what = unusable(&self.refresh_token);
            answer.error(FailureClass::Transient, &what, said, secrets)
        };
        let refresh_token = match object.remove(&*self.refresh_token) {
            None | Some(Value::Null) => None,
            // Servers that do not rotate may say so with an empty string.
            Some(Value::String(token)) if token.is_empty() => None,
            Some(Value::String(token)) => {
                Some(RefreshToken::new(token).map_err(|error| unusable().with_source(error))?)
            }
            // To go on with the old token would be to lose this one.
            Some(_) => return Err(unusable()),
        };
        let expires_in = object.remove(&*self.expires_in);
        Ok(TokenResponse {
            access_token,
            refresh_token,
            expires_in: expires_in.as_ref().and_then(expires_in_seconds),
            date: answer.date(),
            extra: object,
            issued_for: None,
        })
    }

    /// The refresh token in an answer's `object`, if it can only be the successor of `sent`.
    fn rotated(&self, object: &Map<String, Value>, sent: &RefreshToken) -> Option<RefreshToken> {
        let token = object.get(&*self.refresh_token)?.as_str()?;
        // Text with a space in it is a remark.
        let is_successor = token != sent.expose() && !token.contains(' ');
        RefreshToken::new(token).ok().filter(|_| is_successor)
    }

    /// Keeps the tokens in `object` out of every message.
    pub(super) fn hide(&self, object: &Map<String, Value>, secrets: &mut Secrets) {
        for name in [&self.access_token, &self.refresh_token] {
            if let Some(token) = object.get(&**name).and_then(Value::as_str) {
                secrets.add(token);
            }
        }
    }
}

/// Seconds by the RFC; fractions and strings exist. Below zero is zero: it came expired.
fn expires_in_seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(number) => number.trim().parse().ok(),
        _ => None,
    };
    let seconds = seconds.filter(|seconds| seconds.is_finite())?;
    Some(jwt::seconds(seconds).min(LONGEST_LIFE))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    // S10
    #[test]
    fn expires_in_comes_in_many_forms() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for (value, life) in [
            (json!(3600), seconds(3600)),
            (json!(3600.9), Some(Duration::from_millis(3_600_900))),
            (json!("3600"), seconds(3600)),
            (json!(" 3600.5 "), Some(Duration::from_millis(3_600_500))),
            (json!(0), seconds(0)),
            (json!("0"), seconds(0)),
            (json!(-1), seconds(0)),
            (json!("-3600"), seconds(0)),
            (json!(1e18), Some(LONGEST_LIFE)),
            (json!(u64::MAX), Some(LONGEST_LIFE)),
            (json!("1e300"), Some(LONGEST_LIFE)),
            (json!("inf"), None),
            (json!("NaN"), None),
            (json!(""), None),
            (json!("soon"), None),
            (json!(null), None),
            (json!(true), None),
            (json!([3600]), None),
            (json!({"seconds": 3600}), None),
        ] {
            assert_eq!(expires_in_seconds(&value), life, "{value}");
        }
    }
}
