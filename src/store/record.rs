mod decisions;
mod format;
#[cfg(any(feature = "encrypted", feature = "file", feature = "redis"))]
mod json;

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

pub(crate) use self::decisions::Decisions;
#[cfg(feature = "file")]
pub(super) use self::format::{FORMAT, SEALED_FORMAT};
use crate::{
    error::{Error, ErrorKind},
    token::Tokens,
};

/// What a [`TokenStore`](super::TokenStore) keeps: the tokens of one identity, or the word that
/// there are none any more, under a version that only grows.
///
/// It serializes to a self-describing JSON object **with the secrets in it**: where it goes must
/// be as safe as a password file. If it goes where others can read, wrap the store in
/// `Encrypted` (feature `encrypted`): then the secrets in it are sealed.
#[derive(Clone, Debug)]
pub struct Record {
    version: u64,
    contents: Contents,
    spending: Option<Spending>,
    decisions: Decisions,
}

#[derive(Clone, Debug)]
enum Contents {
    Tokens(Tokens),
    /// Somebody logged out.
    Tombstone,
    /// Any of these, for the eyes of who has the key. It says nothing about logging out.
    Sealed(Sealed),
}

/// A whole record, encrypted. Nothing in here is secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sealed {
    /// Which key opens it.
    pub(crate) key: String,
    /// Whose record it is.
    pub(crate) name: String,
    /// Nonce and ciphertext, in base64.
    pub(crate) data: String,
}

/// Says that somebody is calling the token endpoint with the record's refresh token right now, so
/// that nobody else does, even if the lease is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spending {
    /// Who.
    pub owner: String,
    /// When this word loses its force, by the wall clock: whoever gave it may have died.
    pub until: SystemTime,
}

impl Record {
    pub(crate) fn new(version: u64, tokens: Option<Tokens>) -> Self {
        let contents = tokens.map_or(Contents::Tombstone, Contents::Tokens);
        Self { version, contents, spending: None, decisions: Decisions::default() }
    }

    #[cfg(feature = "encrypted")]
    pub(super) fn from_sealed(version: u64, sealed: Sealed) -> Self {
        let contents = Contents::Sealed(sealed);
        Self { version, contents, spending: None, decisions: Decisions::default() }
    }

    #[cfg(feature = "encrypted")]
    pub(super) fn sealed(&self) -> Option<&Sealed> {
        match &self.contents {
            Contents::Sealed(sealed) => Some(sealed),
            _ => None,
        }
    }

    /// The record as a session can use it.
    pub(crate) fn opened(self) -> Result<Self, Error> {
        match self.contents {
            Contents::Sealed(sealed) => Err(Error::new(
                ErrorKind::Store,
                format!(
                    "the stored tokens are encrypted, with the key {} for the name {:?}: wrap \
                     the store in `tower_refresh::store::Encrypted`",
                    sealed.key, sealed.name
                ),
            )),
            _ => Ok(self),
        }
    }

    /// The next version of the record.
    pub(crate) fn next(self) -> Self {
        Self { version: self.version + 1, ..self }
    }

    /// The next version of the record, with the word that `owner` is about to spend its token.
    pub(crate) fn spent_by(self, owner: &str, until: SystemTime) -> Self {
        let spending = Some(Spending { owner: owner.to_owned(), until });
        Self { spending, ..self.next() }
    }

    /// The record for a store that has lost it, or a newer one. For as long as its word holds
    /// nobody spends the token, so that whoever has newer tokens can put them back.
    pub(crate) fn restored(self, until: SystemTime) -> Self {
        let spending = Some(Spending { owner: RESTORED.to_owned(), until });
        Self { spending, ..self }
    }

    /// The record with the word which logins and log-outs led to it.
    pub(crate) fn decided_by(self, decisions: &Decisions) -> Self {
        Self { decisions: decisions.clone(), ..self }
    }

    pub(crate) fn decisions(&self) -> &Decisions {
        &self.decisions
    }

    /// Who is spending its refresh token, if somebody is.
    pub fn spending(&self) -> Option<&Spending> {
        self.spending.as_ref()
    }

    /// Grows by at least one with each save, whoever saves.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The tokens; `None` for a [tombstone](Self::is_tombstone), and for a record that is
    /// encrypted: what the store inside an `Encrypted` gets to see.
    pub fn tokens(&self) -> Option<&Tokens> {
        match &self.contents {
            Contents::Tokens(tokens) => Some(tokens),
            Contents::Tombstone | Contents::Sealed(_) => None,
        }
    }

    /// Whether it says that somebody logged out. An encrypted record says nothing of the kind to
    /// who has no key.
    pub fn is_tombstone(&self) -> bool {
        matches!(self.contents, Contents::Tombstone)
    }

    /// Whether these are the tokens in it.
    pub(crate) fn holds(&self, tokens: Option<&Tokens>) -> bool {
        let secrets = |tokens: &Tokens| (tokens.access.clone(), tokens.refresh.clone());
        self.tokens().map(secrets) == tokens.map(secrets)
    }

    pub(crate) fn into_tokens(self) -> Option<Tokens> {
        match self.contents {
            Contents::Tokens(tokens) => Some(tokens),
            Contents::Tombstone | Contents::Sealed(_) => None,
        }
    }
}

/// Tokens that were kept by other means (a refresh token in a database column) become a record
/// that everything a session has saved since is newer than.
impl From<Tokens> for Record {
    fn from(tokens: Tokens) -> Self {
        Self::new(1, Some(tokens))
    }
}

/// The owner in the word of a record that was put back: no session's.
pub(crate) const RESTORED: &str = "restored";
