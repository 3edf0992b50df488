//! The tokens in a good answer.

use std::time::SystemTime;

use http::HeaderMap;
use serde_json::{Map, Value};

use super::{Dialect, Presented};
use crate::{
    endpoint::{TokenResponse, answer},
    error::BoxError,
    token::{AccessToken, RefreshToken, stated_by, stated_life},
};

/// Why an object has no usable access token.
pub(super) struct Unusable {
    pub(super) what: String,
    pub(super) source: Option<BoxError>,
}

/// The schemes that may stand before a token in its field.
const SCHEMES: [&str; 4] = ["Bearer", "Token", "JWT", "DPoP"];

/// What `token_type` says of a token that is not to be sent as a bearer token. Any other word is
/// taken for Bearer's, as `token` and `urn:…:access_token` are.
const OTHER_TYPES: [&str; 7] = ["mac", "dpop", "pop", "na", "hok", "signature", "hmac"];

impl Dialect {
    /// The tokens in `object`, which is given back if it has no usable access token.
    pub(super) fn tokens(
        &self,
        mut object: Map<String, Value>,
        headers: &HeaderMap,
        presented: &Presented,
    ) -> Result<TokenResponse, (Unusable, Map<String, Value>)> {
        let access_token = match self.access_token(&object, presented) {
            Ok(access_token) => access_token,
            Err(unusable) => return Err((unusable, object)),
        };
        let fields = &self.fields;
        // What the answer states is counted from when it was made.
        let date = answer::date(headers);
        let clock = date.unwrap_or_else(SystemTime::now);
        let named = [Some(&fields.expires_in), fields.expires_at.as_ref()].into_iter().flatten();
        let named: Vec<_> = named.filter_map(|name| fields.take(&mut object, name)).collect();
        let stated = named.iter().filter_map(|value| stated_by(value, clock));
        let stated = stated.chain(stated_life(fields.around(&object), clock)).min();
        let refresh_token = fields.take(&mut object, &fields.refresh_token);
        fields.take(&mut object, &fields.access_token);
        Ok(TokenResponse {
            access_token,
            refresh_token: refresh_token
                .and_then(refresh_token_in)
                .filter(|_| presented.keeps_refresh_token),
            expires_in: stated,
            default_life: self.default_life,
            date,
            extra: object,
            issued_for: None,
        })
    }

    fn access_token(
        &self,
        object: &Map<String, Value>,
        presented: &Presented,
    ) -> Result<AccessToken, Unusable> {
        let name = &*self.fields.access_token;
        let unusable = |what: String| Unusable { what, source: None };
        let Some(token) = self.fields.get(object, name).and_then(Value::as_str) else {
            let mut has: Vec<_> = object.keys().map(String::as_str).collect();
            has.sort_unstable();
            let has = match has.is_empty() {
                true => "nothing".into(),
                false => presented.secrets.quote(&has.join(", ")),
            };
            return Err(unusable(format!(" without a string `{name}` (but with {has})")));
        };
        let kind = self.fields.get(object, "token_type").and_then(Value::as_str);
        if let Some(kind) = kind.filter(|kind| !is_bearer(kind, presented.scheme.as_deref())) {
            let kind = presented.secrets.quote(kind);
            return Err(unusable(format!(
                " with a token of the type `{kind}`, which is no bearer token: a token of this \
                 type cannot be sent"
            )));
        }
        let token = without_scheme(token, presented.scheme.as_deref());
        AccessToken::new(token).map_err(|error| Unusable {
            what: format!(" with a `{name}` that cannot be used"),
            source: Some(error.into()),
        })
    }

    /// The refresh token in `object`, if it can only be the successor of the one that was sent.
    pub(super) fn rotated(
        &self,
        object: &Map<String, Value>,
        sent: Option<&RefreshToken>,
    ) -> Option<RefreshToken> {
        let token = self.fields.get(object, &self.fields.refresh_token)?.as_str()?.trim();
        // Text with a space in it is a remark.
        let is_successor = token != sent?.expose() && !token.contains(' ');
        RefreshToken::new(token).ok().filter(|_| is_successor)
    }
}

/// Servers that do not rotate may say so with an empty string.
fn refresh_token_in(value: Value) -> Option<RefreshToken> {
    match value {
        Value::String(token) if token.trim() == token => RefreshToken::new(token).ok(),
        Value::String(token) => RefreshToken::new(token.trim()).ok(),
        Value::Number(token) => RefreshToken::new(token.to_string()).ok(),
        _ => None,
    }
}

/// The token in `text`, before which its scheme may stand.
fn without_scheme<'a>(text: &'a str, own: Option<&str>) -> &'a str {
    let mut words = text.split_ascii_whitespace();
    let is_scheme = |word: &str| {
        let schemes = SCHEMES.iter().copied().chain(own);
        schemes.into_iter().any(|scheme| scheme.eq_ignore_ascii_case(word))
    };
    match (words.next(), words.next(), words.next()) {
        (Some(scheme), Some(token), None) if is_scheme(scheme) => token,
        _ => text.trim_ascii(),
    }
}

fn is_bearer(kind: &str, own: Option<&str>) -> bool {
    let letters = kind.chars().filter(char::is_ascii_alphanumeric);
    let kind_squeezed: String = letters.map(|c| c.to_ascii_lowercase()).collect();
    let is_own = own.is_some_and(|own| own.eq_ignore_ascii_case(kind.trim()));
    is_own || !OTHER_TYPES.contains(&&*kind_squeezed)
}
