use std::{borrow::Cow, time::SystemTime};

use serde_json::{Map, Value};

use super::{
    answer::Answer,
    error::{EndpointError, FailureClass, Spent},
    response::TokenResponse,
    secrets::Secrets,
};
use crate::token::{AccessToken, RefreshToken, stated_by, stated_life};

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
        let clock = answer.date().unwrap_or_else(SystemTime::now);
        let named = object.remove(&*self.expires_in);
        let named = named.and_then(|value| stated_by(&value, clock));
        Ok(TokenResponse {
            access_token,
            refresh_token,
            expires_in: named.into_iter().chain(stated_life(&object, clock)).min(),
            default_life: None,
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
