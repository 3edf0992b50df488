mod ended;
mod format;
mod issued_for;
#[cfg(any(feature = "encrypted", feature = "file", feature = "redis"))]
mod json;
mod lease;
mod logins;
mod unknown;

use std::time::Duration;

use serde::{Deserialize, Serialize};

#[cfg(any(feature = "encrypted", feature = "file", feature = "redis"))]
pub(super) use self::json::Unreadable;
pub use self::lease::Lease;
use self::unknown::Unknown;
pub(crate) use self::{ended::Ended, issued_for::StoredFor, lease::RESTORED, logins::LoginHistory};
use crate::{
    error::{Error, ErrorKind},
    token::{IssuedFor, RefreshToken, Tokens},
};

/// What a [`TokenStore`](super::TokenStore) keeps for one identity: its tokens, or that it is
/// logged out, with a version for compare-and-swap.
///
/// # As JSON
///
/// A record serializes to a JSON object **with the secrets in it**: protect the place where it is
/// stored as you protect a password file. If others can read that place, wrap the store in
/// `Encrypted` (feature `encrypted`).
///
/// A store of your own stores this JSON as a whole. The object also has members for sessions
/// alone, and a newer version of this crate may add some. Members that this version does not know
/// are kept and written back. Where a member must not be overlooked, its name is in the list
/// `crit`; a version that does not know it then fails to deserialize the record.
///
/// A refresh token that was kept by other means is a record too:
///
/// ```
/// use tower_refresh::store::Record;
///
/// let record: Record = serde_json::from_str(r#"{ "tokens": { "refresh_token": "tGzv3JOkF0" } }"#)?;
/// assert_eq!((record.version(), record.turn()), (1, 1));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Record {
    version: u64,
    turn: u64,
    /// What a reader has to know to use this record.
    crit: Vec<String>,
    issued_for: Option<StoredFor>,
    contents: Contents,
    ended: Option<Ended>,
    /// Secrets: wiped and redacted as all refresh tokens.
    seeds: Vec<RefreshToken>,
    logins: LoginHistory,
    lease: Option<Lease>,
    /// The members beside these.
    unknown: Unknown,
    /// The members beside the seal, if this was opened. They go back outside.
    outside: Unknown,
}

#[derive(Clone, Debug)]
enum Contents {
    /// The tokens. Where there is none, the record is empty but for what stands beside them, such
    /// as a lease.
    Tokens(Tokens),
    /// The tombstone that a log-out leaves.
    LoggedOut,
    /// Any of these, for a reader with the key. It tells nothing about a log-out.
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

/// How many seed tokens are remembered.
const SEEDS: usize = 4;

impl Record {
    /// A record of these tokens; of a log-out, if there are none.
    pub(crate) fn new(version: u64, turn: u64, tokens: Option<Tokens>) -> Self {
        let contents = tokens.map_or(Contents::LoggedOut, Contents::Tokens);
        Self { contents, ..Self::empty(version, turn) }
    }

    /// A record that counts as an empty store.
    pub(crate) fn empty(version: u64, turn: u64) -> Self {
        Self {
            version,
            turn,
            crit: Vec::new(),
            issued_for: None,
            contents: Contents::Tokens(Tokens::default()),
            ended: None,
            seeds: Vec::new(),
            logins: LoginHistory::default(),
            lease: None,
            unknown: Unknown::default(),
            outside: Unknown::default(),
        }
    }

    /// This record encrypted, with nothing left to read but what a store needs.
    #[cfg(feature = "encrypted")]
    pub(super) fn sealed_as(&self, sealed: Sealed) -> Self {
        Self {
            contents: Contents::Sealed(sealed),
            lease: self.lease.clone(),
            unknown: self.outside.clone(),
            ..Self::empty(self.version, self.turn)
        }
    }

    /// What was sealed in this record, or `None` if it does not agree with what stands outside.
    #[cfg(feature = "encrypted")]
    pub(super) fn unsealed(self, inside: Self) -> Option<Self> {
        let bound = |record: &Self| (record.version, record.turn, record.lease.clone());
        (bound(&self) == bound(&inside)).then(|| Self { outside: self.unknown, ..inside })
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
                ErrorKind::ForeignRecord,
                format!(
                    "the stored tokens are encrypted, with the key {} for the name {:?}: wrap \
                     the store in `tower_refresh::store::Encrypted`",
                    sealed.key, sealed.name
                ),
            )),
            _ => Ok(self),
        }
    }

    /// The number that [`TokenStore::save`](super::TokenStore::save) compares. It grows with each
    /// save, by one or by more.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn with_version(self, version: u64) -> Self {
        Self { version, ..self }
    }

    /// Grows when the tokens change and with each login and log-out, but not when a lease is taken
    /// or renewed: of two records the one with the greater turn is newer.
    pub fn turn(&self) -> u64 {
        self.turn
    }

    /// The tokens. `None` for a log-out, for an [empty](Self::is_empty) record, and for one that
    /// is encrypted, as the store inside an `Encrypted` sees it.
    pub fn tokens(&self) -> Option<&Tokens> {
        match &self.contents {
            Contents::Tokens(tokens) if !tokens.is_empty() => Some(tokens),
            _ => None,
        }
    }

    pub(crate) fn into_tokens(self) -> Option<Tokens> {
        match self.contents {
            Contents::Tokens(tokens) if !tokens.is_empty() => Some(tokens),
            _ => None,
        }
    }

    /// Whether this is the tombstone that a log-out leaves. `false` for an encrypted record,
    /// whatever is sealed in it.
    pub fn is_logged_out(&self) -> bool {
        matches!(self.contents, Contents::LoggedOut)
    }

    /// Whether this record has neither tokens nor a log-out in it. To a session it counts as an
    /// empty store; to [`TokenStore::save`](super::TokenStore::save) it is a record as any other.
    /// `false` for an encrypted record.
    pub fn is_empty(&self) -> bool {
        matches!(&self.contents, Contents::Tokens(tokens) if tokens.is_empty())
    }

    /// Which session may call the token endpoint, if one does so now.
    pub fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// The record, leased to `owner` for `life` (at most 60 s).
    pub(crate) fn with_lease(self, owner: impl Into<String>, life: Duration) -> Self {
        Self { lease: Some(Lease::new(owner.into(), life)), ..self }
    }

    pub(crate) fn without_lease(self) -> Self {
        Self { lease: None, ..self }
    }

    /// Whom the tokens were issued for. `None` if the record does not say so, or names a key alone.
    pub(crate) fn issued_for(&self) -> Option<&StoredFor> {
        self.issued_for.as_ref().filter(|known| known.is_known())
    }

    /// Which of a set's sessions the tokens belong to, if the record says so.
    #[cfg(feature = "sessions")]
    pub(crate) fn key(&self) -> Option<&str> {
        self.issued_for.as_ref()?.key.as_deref()
    }

    #[cfg(feature = "sessions")]
    pub(crate) fn with_key(mut self, key: String) -> Self {
        self.issued_for.get_or_insert_default().key = Some(key);
        self
    }

    /// The record of tokens that were issued for `ours`.
    pub(crate) fn renewed_for(mut self, ours: &IssuedFor) -> Self {
        self.issued_for = Some(self.issued_for.unwrap_or_default().renewed(ours));
        self
    }

    /// When the server said that the grant is over, and with which code.
    pub(crate) fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    pub(crate) fn with_ended(self, ended: Ended) -> Self {
        Self { ended: Some(ended), ..self }
    }

    /// The seed tokens that went into the store, newest last.
    pub(crate) fn seeds(&self) -> &[RefreshToken] {
        &self.seeds
    }

    /// Remembers one more seed, and forgets the oldest of more than four.
    pub(crate) fn with_seed(mut self, seed: &RefreshToken) -> Self {
        if !self.seeds.contains(seed) {
            self.seeds.push(seed.clone());
            let over = self.seeds.len().saturating_sub(SEEDS);
            self.seeds.drain(..over);
        }
        self
    }

    pub(crate) fn logins(&self) -> &LoginHistory {
        &self.logins
    }

    pub(crate) fn with_logins(self, logins: &LoginHistory) -> Self {
        Self { logins: logins.clone(), ..self }
    }

    /// The record with what `stored`, which it is to replace, has and no session changes: whom
    /// the tokens were issued for, the seeds, and the members that this version does not know.
    /// Unknown members of `tokens` belong to the tokens and stay with them.
    pub(crate) fn carrying(self, stored: &Self) -> Self {
        Self {
            issued_for: self.issued_for.or_else(|| stored.issued_for.clone()),
            seeds: match self.seeds.is_empty() {
                true => stored.seeds.clone(),
                false => self.seeds,
            },
            unknown: stored.unknown.clone(),
            outside: stored.outside.clone(),
            ..self
        }
    }

    /// The record with a name in `crit`, as only a newer version writes it.
    #[cfg(feature = "test-util")]
    pub(crate) fn requiring(mut self, name: &str) -> Self {
        self.crit.push(name.to_owned());
        self
    }

    /// Whether these are the tokens in it; `None` stands for a log-out.
    pub(crate) fn holds(&self, tokens: Option<&Tokens>) -> bool {
        let secrets = |tokens: &Tokens| (tokens.access.clone(), tokens.refresh.clone());
        match (&self.contents, tokens) {
            (Contents::Tokens(ours), Some(tokens)) => secrets(ours) == secrets(tokens),
            (Contents::LoggedOut, None) => true,
            _ => false,
        }
    }
}

/// Tokens that were kept by other means (a refresh token in a database column) become a record
/// that everything a session has saved since is newer than.
impl From<Tokens> for Record {
    fn from(tokens: Tokens) -> Self {
        Self::new(1, 1, Some(tokens))
    }
}
