//! What the hot path reads: one immutable picture of the session, swapped as a whole.

use std::fmt;

use http::HeaderValue;
use tokio::time::Instant;

use crate::{error::Error, token::wiped_value};

/// Identifies an access token: the session it belongs to, the login that it came of, and its number
/// in the row of its successors. It is no secret, so it may go where a token may not.
///
/// What [`Session::replace`](super::Session::replace) takes, to ask for a successor.
//
// The login advances when tokens are set and at a log-out: a request sent in one login never
// carries a token of another. The generation advances with every new token and never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenId {
    pub(crate) session: u64,
    pub(crate) login: u32,
    pub(crate) generation: u32,
}

impl TokenId {
    pub(crate) fn is_of_login(&self, other: &Self) -> bool {
        (self.session, self.login) == (other.session, other.login)
    }
}

/// A live access token, as [`Session::token`](super::Session::token) hands it out.
#[derive(Clone)]
pub struct Token {
    header_value: HeaderValue,
    id: TokenId,
}

impl Token {
    pub(crate) fn new(header_value: HeaderValue, id: TokenId) -> Self {
        Self { header_value, id }
    }

    /// What goes into the `Authorization` header: the scheme, a space and the token. It is marked
    /// sensitive.
    pub fn header_value(&self) -> &HeaderValue {
        &self.header_value
    }

    /// The token itself, without its scheme, for protocols that want it elsewhere than in a header.
    /// Take care where it goes: this is the secret.
    pub fn expose(&self) -> &str {
        let value = self.header_value.to_str().expect("a token and a scheme are visible ASCII");
        // Neither of them has a space in it.
        value.rsplit(' ').next().unwrap_or(value)
    }

    /// Grows with each new access token of the session; the first one is 1.
    pub fn generation(&self) -> u64 {
        self.id.generation.into()
    }

    /// Which token of which session this is; it holds no secret.
    pub fn id(&self) -> TokenId {
        self.id
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("generation", &self.id.generation).finish_non_exhaustive()
    }
}

/// One picture of the session. `None` deadlines never come.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// `None` while no token may be sent: there is none, or the one there is was refused.
    pub(super) token: Option<Token>,
    /// From here on something should be started: a refresh, a look at the store, or the worker.
    pub(super) stale_at: Option<Instant>,
    /// From here on the token counts as expired (the leeway is already taken off).
    pub(super) expires_at: Option<Instant>,
    /// Set when no refresh brings a token: log in first.
    pub(super) ended: Option<Error>,
    pub(super) login: u64,
}

/// What a request that comes now has to do.
#[derive(Debug)]
pub(crate) enum Readiness<'a> {
    /// Send it.
    Fresh(&'a Token),
    /// Send it, and see that a refresh is under way.
    Stale(&'a Token),
    /// Wait for a token.
    Wait,
    /// Fail.
    LoginRequired(&'a Error),
}

impl Snapshot {
    /// A copy that shares no memory with this one.
    pub(crate) fn unshared(&self) -> Self {
        let token = self.token.as_ref().map(|token| {
            let value = wiped_value(token.header_value.as_bytes().to_vec());
            Token::new(value, token.id)
        });
        let Self { stale_at, expires_at, login, .. } = *self;
        Self { token, stale_at, expires_at, ended: self.ended.clone(), login }
    }

    /// Whether a token is of a login that is over.
    pub(crate) fn has_outlived(&self, token: &Token) -> bool {
        u64::from(token.id.login) != self.login
    }

    #[inline]
    pub(crate) fn at(&self, now: Instant) -> Readiness<'_> {
        match (&self.token, &self.ended) {
            (Some(token), _) if self.expires_at.is_none_or(|at| now < at) => match self.stale_at {
                Some(at) if now >= at => Readiness::Stale(token),
                _ => Readiness::Fresh(token),
            },
            // A look at the store is due: another process may have logged in.
            (_, Some(_)) if self.stale_at.is_some_and(|at| now >= at) => Readiness::Wait,
            (_, Some(error)) => Readiness::LoginRequired(error),
            (_, None) => Readiness::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    // S4: a token expires to the nanosecond where the leeway begins
    #[tokio::test(start_paused = true)]
    async fn the_boundaries_are_exact_to_the_nanosecond() {
        let id = TokenId { session: 0, login: 0, generation: 1 };
        let token = Token::new(HeaderValue::from_static("Bearer x"), id);
        let (stale_at, expires_at) = (Instant::now(), Instant::now() + Duration::from_secs(60));
        let snapshot = Snapshot {
            token: Some(token),
            stale_at: Some(stale_at),
            expires_at: Some(expires_at),
            ended: None,
            login: 0,
        };
        let ns = Duration::from_nanos(1);
        assert!(matches!(snapshot.at(stale_at - ns), Readiness::Fresh(_)));
        assert!(matches!(snapshot.at(stale_at), Readiness::Stale(_)));
        assert!(matches!(snapshot.at(stale_at + ns), Readiness::Stale(_)));
        assert!(matches!(snapshot.at(expires_at - ns), Readiness::Stale(_)));
        assert!(matches!(snapshot.at(expires_at), Readiness::Wait));
        assert!(matches!(snapshot.at(expires_at + ns), Readiness::Wait));
    }
}
