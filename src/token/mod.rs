//! Tokens as this crate keeps them: secret, validated once, and with the life they were given.

mod issued_for;
pub(crate) mod jwt;
mod life;
mod secret;
mod stated;

use std::{
    fmt, mem,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::HeaderValue;
use serde_json::{Map, Value};
use tokio::time::Instant;
use zeroize::Zeroizing;

pub use self::issued_for::IssuedFor;
use self::jwt::Claims;
use self::life::seeded;
pub(crate) use self::{
    life::{LONGEST_LIFE, received_life},
    secret::{Secret, Wiped},
    stated::{stated_by, stated_life},
};
use crate::error::Error;

/// The access token of one identity: what goes into the `Authorization` header.
///
/// Its characters are visible ASCII, so that it can be a header value (RFC 6750 §2.1 allows a
/// subset of these). `Debug` never prints it and its memory is wiped when the last clone goes.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(Secret);

impl AccessToken {
    /// Takes an access token as the server handed it out, without `Bearer`.
    ///
    /// # Errors
    ///
    /// If it is empty, or holds a space, a line break, a control or a non-ASCII character.
    pub fn new(token: impl Into<String>) -> Result<Self, Error> {
        let token = Secret::new(token.into());
        check("access token", token.expose(), |c| c.is_ascii_graphic())?;
        Ok(Self(token))
    }

    /// The token itself. Take care where it goes: this is the secret.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// `scheme`, a space and the token, marked sensitive. All clones of the value share one
    /// buffer, and that is wiped when the last of them is dropped.
    pub(crate) fn header_value(&self, scheme: &str) -> HeaderValue {
        let mut value = Zeroizing::new(Vec::with_capacity(scheme.len() + 1 + self.expose().len()));
        if !scheme.is_empty() {
            value.extend_from_slice(scheme.as_bytes());
            value.push(b' ');
        }
        value.extend_from_slice(self.expose().as_bytes());
        wiped_value(mem::take(&mut *value))
    }
}

/// A sensitive header value whose buffer all clones share, and which is wiped with the last.
pub(crate) fn wiped_value(value: Vec<u8>) -> HeaderValue {
    let bytes = Bytes::from_owner(Wiped(Zeroizing::new(value)));
    let mut value =
        HeaderValue::from_maybe_shared(bytes).expect("a token and a scheme are visible ASCII");
    value.set_sensitive(true);
    value
}

/// The refresh token of one identity: with it the next access token is requested.
///
/// `Debug` never prints it and its memory is wiped when the last clone goes.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken(Secret);

impl RefreshToken {
    /// Takes a refresh token as the server handed it out.
    ///
    /// # Errors
    ///
    /// If it is empty or holds a line break, a control or a non-ASCII character (RFC 6749
    /// appendix A.17).
    pub fn new(token: impl Into<String>) -> Result<Self, Error> {
        let token = Secret::new(token.into());
        check("refresh token", token.expose(), |c| c.is_ascii_graphic() || c == ' ')?;
        Ok(Self(token))
    }

    /// The token itself. Take care where it goes: this is the secret.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// The tokens of one identity: what a [`Session`](crate::Session) starts with, and what
/// [`Session::tokens`](crate::Session::tokens) shows.
///
/// There may be an access token, a refresh token, both, or (for a grant that needs none) neither:
/// `Tokens::default()`.
///
/// ```
/// use tower_refresh::Tokens;
///
/// let tokens = Tokens::new("eyJhbGciOi…".replace('…', "x"))?.with_refresh_token("tGzv3JOkF0")?;
/// # Ok::<(), tower_refresh::Error>(())
/// ```
#[derive(Clone)]
pub struct Tokens {
    pub(crate) access: Option<AccessToken>,
    pub(crate) refresh: Option<RefreshToken>,
    /// When `life` began, by the wall clock.
    pub(crate) obtained_at: SystemTime,
    /// The same moment by the monotonic clock, if the token arrived in this process.
    pub(crate) arrived: Option<Instant>,
    /// How long the access token lives in all; `None` if only a 401 will tell.
    pub(crate) life: Option<Duration>,
    /// A token endpoint has issued them, and not a program that found them.
    pub(crate) issued: bool,
    pub(crate) extra: Map<String, Value>,
    /// What a newer version of this crate has stored with these tokens.
    pub(crate) unknown: Map<String, Value>,
}

impl Tokens {
    /// An access token from the environment, a database or a login.
    ///
    /// If it is a JWT its `exp` claim tells, against the wall clock, when it expires. If it is
    /// not, and [`with_expires_at`](Self::with_expires_at) does not say, it is used until the
    /// API refuses it.
    ///
    /// # Errors
    ///
    /// Those of [`AccessToken::new`].
    pub fn new(access_token: impl Into<String>) -> Result<Self, Error> {
        let access = AccessToken::new(access_token)?;
        let now = SystemTime::now();
        let (obtained_at, life) = seeded(Claims::read(access.expose()), now);
        Ok(Self { access: Some(access), obtained_at, life, ..Self::default() })
    }

    /// A refresh token alone: the first request obtains the access token.
    ///
    /// # Errors
    ///
    /// Those of [`RefreshToken::new`].
    pub fn from_refresh_token(refresh_token: impl Into<String>) -> Result<Self, Error> {
        Self::default().with_refresh_token(refresh_token)
    }

    /// Adds the refresh token.
    ///
    /// # Errors
    ///
    /// Those of [`RefreshToken::new`].
    pub fn with_refresh_token(mut self, refresh_token: impl Into<String>) -> Result<Self, Error> {
        self.refresh = Some(RefreshToken::new(refresh_token)?);
        Ok(self)
    }

    /// Says when the access token expires. Overrides a JWT's `exp`.
    #[must_use]
    pub fn with_expires_at(mut self, expires_at: SystemTime) -> Self {
        let now = SystemTime::now();
        let left = expires_at.duration_since(now).unwrap_or_default();
        (self.obtained_at, self.arrived) = (now, None);
        self.life = Some(left.min(LONGEST_LIFE));
        self
    }

    /// The access token, if there is one.
    pub fn access_token(&self) -> Option<&AccessToken> {
        self.access.as_ref()
    }

    /// The refresh token, if there is one.
    pub fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh.as_ref()
    }

    /// When the access token expires by the wall clock; `None` if nothing says so.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.obtained_at.checked_add(self.life?)
    }

    /// What else the token endpoint sent along: Freddy's `device_id`, an `id_token`, …
    pub fn extra(&self) -> &Map<String, Value> {
        &self.extra
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.access.is_none() && self.refresh.is_none()
    }

    /// How much of the life is left at `now`: within `[0, life]` whatever the clocks say.
    pub(crate) fn left(&self, now: SystemTime) -> Option<Duration> {
        let age = now.duration_since(self.obtained_at).unwrap_or_default();
        Some(self.life?.saturating_sub(age))
    }

    /// How old the access token is. The wall clock is asked only if this process has not seen it
    /// arrive.
    pub(crate) fn age(&self, now: Instant, wall: SystemTime) -> Duration {
        match self.arrived {
            Some(arrived) => now.saturating_duration_since(arrived),
            None => wall.duration_since(self.obtained_at).unwrap_or_default(),
        }
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            access: None,
            refresh: None,
            obtained_at: SystemTime::now(),
            arrived: None,
            life: None,
            issued: false,
            extra: Map::new(),
            unknown: Map::new(),
        }
    }
}

/// Names the first character that a token may not have, and where, but never the token.
fn check(what: &str, token: &str, allowed: impl Fn(char) -> bool) -> Result<(), Error> {
    if token.is_empty() {
        return Err(Error::invalid(format!(
            "the {what} is empty: is the variable or file it comes from set?"
        )));
    }
    let Some((at, c)) = token.char_indices().find(|&(_, c)| !allowed(c)) else {
        return Ok(());
    };
    let (kind, hint) = match c {
        '\n' | '\r' => ("a line break", "trim it, as a file often ends with one"),
        ' ' | '\t' => ("white space", "pass the token alone, without its scheme"),
        c if c.is_control() => ("a control character", "pass it as the server sent it"),
        _ => ("a non-ASCII character", "pass it as the server sent it"),
    };
    Err(Error::invalid(format!("the {what} has {kind} at byte {at}: {hint}")))
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken([redacted])")
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshToken([redacted])")
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An extra field may be a secret too (an `id_token`), so only their names are shown.
        f.debug_struct("Tokens")
            .field("access_token", &self.access)
            .field("refresh_token", &self.refresh)
            .field("obtained_at", &self.obtained_at)
            .field("life", &self.life)
            .field("extra", &self.extra.keys().collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests;
