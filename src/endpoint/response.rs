use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::{
    error::Error,
    token::{AccessToken, IssuedFor, LONGEST_LIFE, RefreshToken, Tokens, received_life},
};

/// What a token endpoint answers: the new access token and what came with it.
#[derive(Clone)]
pub struct TokenResponse {
    pub(super) access_token: AccessToken,
    pub(super) refresh_token: Option<RefreshToken>,
    /// The shortest life that the answer states.
    pub(super) expires_in: Option<Duration>,
    /// For a token of which nothing says how long it lives.
    pub(super) default_life: Option<Duration>,
    pub(super) date: Option<SystemTime>,
    pub(super) extra: Map<String, Value>,
    /// Whom they are issued for, for a session that does not know.
    pub(super) issued_for: Option<Box<IssuedFor>>,
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
            default_life: None,
            date: None,
            extra: Map::new(),
            issued_for: None,
        })
    }

    /// Adds the refresh token that replaces the one just used. Defaults to none: the old one stays
    /// valid (RFC 6749 §6).
    ///
    /// # Errors
    ///
    /// Those of [`RefreshToken::new`].
    pub fn with_refresh_token(mut self, refresh_token: impl Into<String>) -> Result<Self, Error> {
        self.refresh_token = Some(RefreshToken::new(refresh_token)?);
        Ok(self)
    }

    /// Says how long the access token lives, counted from now. Zero says nothing, and a JWT's own
    /// `exp` counts if it is earlier. Defaults to nothing said: the `exp` alone tells, or else only a
    /// 401 will.
    #[must_use]
    pub fn with_expires_in(mut self, expires_in: Duration) -> Self {
        self.expires_in = Some(expires_in);
        self
    }

    /// Adds the server's clock when it answered (its `Date` header): the life of a JWT that came
    /// from a cache is counted from here. Defaults to none.
    #[must_use]
    pub fn with_date(mut self, date: SystemTime) -> Self {
        self.date = Some(date);
        self
    }

    /// Adds a field that is handed on to [`Tokens::extra`]. Defaults to none.
    #[must_use]
    pub fn with_extra(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra.insert(name.into(), value.into());
        self
    }

    /// The new access token.
    pub fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    /// The new refresh token; `None` means that the old one stays valid (RFC 6749 §6).
    pub fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }

    /// How long the access token lives from when it was issued, if the server said so.
    pub fn expires_in(&self) -> Option<Duration> {
        self.expires_in
    }

    /// The server's clock when it answered, if it said so.
    pub fn date(&self) -> Option<SystemTime> {
        self.date
    }

    /// Every other field of the answer.
    pub fn extra(&self) -> &Map<String, Value> {
        &self.extra
    }

    /// By a ready-made endpoint.
    pub(super) fn issued_for(mut self, issued_for: IssuedFor) -> Self {
        self.issued_for = Some(Box::new(issued_for));
        self
    }

    pub(crate) fn take_issued_for(&mut self) -> Option<Box<IssuedFor>> {
        self.issued_for.take()
    }

    /// The tokens from now on, given those that were used to ask, and when it arrived. What the
    /// answer leaves out (the refresh token, an extra field) stays as it was.
    pub(crate) fn into_tokens(self, old: &Tokens, arrived: Instant) -> Tokens {
        let now = SystemTime::now();
        let life = received_life(self.expires_in, self.access_token.expose(), self.date, now);
        let life = life.or_else(|| Some(self.default_life?.min(LONGEST_LIFE)));
        let mut extra = old.extra.clone();
        extra.extend(self.extra);
        Tokens {
            access: Some(self.access_token),
            refresh: self.refresh_token.or_else(|| old.refresh.clone()),
            obtained_at: now,
            arrived: Some(arrived),
            life,
            issued: true,
            extra,
            // It was stored with the old ones.
            unknown: Map::new(),
        }
    }
}

/// What [`Session::set_tokens`](crate::Session::set_tokens) takes after a login.
impl From<TokenResponse> for Tokens {
    fn from(response: TokenResponse) -> Self {
        response.into_tokens(&Self::default(), Instant::now())
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
