use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::{
    error::Error,
    token::{AccessToken, RefreshToken, Tokens, received_life},
};

/// What a token endpoint answers: the new access token and what came with it.
#[derive(Clone)]
#[non_exhaustive]
pub struct TokenResponse {
    /// The new access token.
    pub access_token: AccessToken,
    /// The new refresh token; `None` means that the old one stays valid (RFC 6749 §6).
    pub refresh_token: Option<RefreshToken>,
    /// How long the access token lives, counted from now. `None`: a JWT's `exp` tells, or else
    /// only a 401 will.
    pub expires_in: Option<Duration>,
    /// The server's clock when it answered (its `Date` header): the life of a JWT that was handed
    /// out from a cache is counted from here.
    pub date: Option<SystemTime>,
    /// Every other field of the answer.
    pub extra: Map<String, Value>,
}

impl TokenResponse {
    /// An answer with this access token and nothing else.
    ///
    /// # Errors
    ///
    /// Those of [`AccessToken::new`].
    pub fn new(access_token: impl Into<String>) -> Result<Self, Error> {
        Ok(Self {
            access_token: AccessToken::new(access_token)?,
            refresh_token: None,
            expires_in: None,
            date: None,
            extra: Map::new(),
        })
    }

    /// Adds the refresh token that replaces the one just spent.
    ///
    /// # Errors
    ///
    /// Those of [`RefreshToken::new`].
    pub fn with_refresh_token(mut self, refresh_token: impl Into<String>) -> Result<Self, Error> {
        self.refresh_token = Some(RefreshToken::new(refresh_token)?);
        Ok(self)
    }

    /// Says how long the access token lives.
    #[must_use]
    pub fn with_expires_in(mut self, expires_in: Duration) -> Self {
        self.expires_in = Some(expires_in);
        self
    }

    /// Adds a field that is handed on to [`Tokens::extra`].
    #[must_use]
    pub fn with_extra(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra.insert(name.into(), value.into());
        self
    }

    /// The tokens from now on, given those that were used to ask, and when it arrived. What the
    /// answer leaves out (the refresh token, an extra field) stays as it was.
    pub(crate) fn into_tokens(self, old: &Tokens, arrived: Instant) -> Tokens {
        let now = SystemTime::now();
        let life = received_life(self.expires_in, &self.access_token, self.date, now);
        let mut extra = old.extra.clone();
        extra.extend(self.extra);
        Tokens {
            access: Some(self.access_token),
            refresh: self.refresh_token.or_else(|| old.refresh.clone()),
            obtained_at: now,
            arrived: Some(arrived),
            life,
            extra,
            // It was stored with the old ones.
            unknown: Map::new(),
        }
    }
}

impl fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenResponse")
            .field("access_token", &self.access_token)
            .field("refresh_token", &self.refresh_token)
            .field("expires_in", &self.expires_in)
            .field("date", &self.date)
            .field("extra", &self.extra.keys().collect::<Vec<_>>())
            .finish()
    }
}
