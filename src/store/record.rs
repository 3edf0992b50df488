use std::{
    ops::RangeInclusive,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

use crate::{
    error::{Error, ErrorKind},
    token::{AccessToken, LONGEST_LIFE, RefreshToken, Tokens},
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
        Self { version, contents, spending: None }
    }

    #[cfg(feature = "encrypted")]
    pub(super) fn from_sealed(version: u64, sealed: Sealed) -> Self {
        Self { version, contents: Contents::Sealed(sealed), spending: None }
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

    /// The next version of the record, with the word that `owner` is about to spend its token.
    pub(crate) fn spent_by(self, owner: &str, until: SystemTime) -> Self {
        let spending = Some(Spending { owner: owner.to_owned(), until });
        Self { version: self.version + 1, spending, ..self }
    }

    /// The record for a store that has lost it, or a newer one. For as long as its word holds
    /// nobody spends the token, so that whoever has newer tokens can put them back.
    pub(crate) fn restored(self, until: SystemTime) -> Self {
        let spending = Some(Spending { owner: RESTORED.to_owned(), until });
        Self { spending, ..self }
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

/// What is stored says itself what it is.
pub(super) const FORMAT: &str = "tower-refresh/1";
pub(super) const SEALED_FORMAT: &str = "tower-refresh-sealed/1";

/// Versions begin with 1, grow by little with each save, and always have room to grow.
const VERSIONS: RangeInclusive<u64> = 1..=i64::MAX as u64;

#[derive(Serialize, Deserialize)]
struct Stored {
    format: String,
    version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<Sealed>,
    /// `null` says that somebody logged out. That it is missing says that the record is damaged.
    #[serde(deserialize_with = "Option::deserialize")]
    tokens: Option<StoredTokens>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spending: Option<StoredSpending>,
}

#[derive(Serialize, Deserialize)]
struct StoredSpending {
    owner: String,
    /// Milliseconds since the Unix epoch.
    until: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredTokens {
    access_token: Option<String>,
    refresh_token: Option<String>,
    /// Milliseconds since the Unix epoch.
    obtained_at: u64,
    /// Milliseconds.
    life: Option<u64>,
    #[serde(default)]
    extra: Map<String, Value>,
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tokens = self.tokens().map(|tokens| StoredTokens {
            access_token: tokens.access.as_ref().map(|token| token.expose().to_owned()),
            refresh_token: tokens.refresh.as_ref().map(|token| token.expose().to_owned()),
            obtained_at: since_epoch(tokens.obtained_at),
            life: tokens.life.map(millis),
            extra: tokens.extra.clone(),
        });
        let spending = self.spending.as_ref().map(|spending| StoredSpending {
            owner: spending.owner.clone(),
            until: since_epoch(spending.until),
        });
        let (format, sealed) = match &self.contents {
            Contents::Sealed(sealed) => (SEALED_FORMAT, Some(sealed.clone())),
            _ => (FORMAT, None),
        };
        Stored { format: format.to_owned(), version: self.version, sealed, tokens, spending }
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        if !VERSIONS.contains(&stored.version) {
            return Err(de::Error::custom("the token record's version cannot be one of ours"));
        }
        let contents = match (stored.format.as_str(), stored.sealed, stored.tokens) {
            (FORMAT, None, None) => Contents::Tombstone,
            (FORMAT, None, Some(tokens)) => {
                Contents::Tokens(tokens.try_into().map_err(de::Error::custom)?)
            }
            (SEALED_FORMAT, Some(sealed), None) => Contents::Sealed(sealed),
            (FORMAT | SEALED_FORMAT, ..) => {
                return Err(de::Error::custom("the token record is half encrypted"));
            }
            _ => {
                return Err(de::Error::custom(format_args!(
                    "the token record is not in the format {FORMAT}: was it written by another \
                     program or by a newer version of this one?"
                )));
            }
        };
        let spending = stored
            .spending
            .map(|spending| Spending { owner: spending.owner, until: from_epoch(spending.until) });
        Ok(Self { version: stored.version, contents, spending })
    }
}

impl TryFrom<StoredTokens> for Tokens {
    type Error = crate::Error;

    fn try_from(stored: StoredTokens) -> Result<Self, Self::Error> {
        Ok(Self {
            access: stored.access_token.map(AccessToken::new).transpose()?,
            refresh: stored.refresh_token.map(RefreshToken::new).transpose()?,
            obtained_at: from_epoch(stored.obtained_at),
            arrived: None,
            life: stored.life.map(|life| Duration::from_millis(life).min(LONGEST_LIFE)),
            extra: stored.extra,
        })
    }
}

fn since_epoch(time: SystemTime) -> u64 {
    millis(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn from_epoch(millis: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(millis)).unwrap_or(UNIX_EPOCH)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_its_own_format() {
        let mut tokens = Tokens::new("access").unwrap().with_refresh_token("refresh").unwrap();
        tokens.life = Some(Duration::from_millis(1500));
        tokens.extra.insert("device_id".into(), "device-123".into());
        let json = serde_json::to_string(&Record::new(7, Some(tokens.clone()))).unwrap();
        let record: Record = serde_json::from_str(&json).unwrap();
        assert_eq!(record.version(), 7);
        let read = record.tokens().unwrap();
        assert_eq!(read.access, tokens.access);
        assert_eq!(read.refresh, tokens.refresh);
        assert_eq!(read.life, tokens.life);
        assert_eq!(read.extra, tokens.extra);
        let lost = tokens.obtained_at.duration_since(read.obtained_at).unwrap();
        assert!(lost < Duration::from_millis(1), "milliseconds are kept");

        let json = serde_json::to_string(&Record::new(8, None)).unwrap();
        assert!(serde_json::from_str::<Record>(&json).unwrap().is_tombstone());
    }

    #[test]
    fn an_encrypted_record_is_no_tombstone_and_no_session_takes_it_for_one() {
        let json = r#"{"format":"tower-refresh-sealed/1","version":7,
            "sealed":{"key":"k","name":"n","data":"ZGF0YQ=="},"tokens":null}"#;
        let record: Record = serde_json::from_str(json).unwrap();
        assert_eq!(record.version(), 7);
        assert!(record.tokens().is_none() && !record.is_tombstone());
        let again = serde_json::to_string(&record).unwrap();
        assert!(again.contains("ZGF0YQ=="), "{again}");
        assert!(record.opened().unwrap_err().to_string().contains("Encrypted"));

        let half = json.replace("tower-refresh-sealed/1", "tower-refresh/1");
        assert!(serde_json::from_str::<Record>(&half).is_err());
        let half = r#"{"format":"tower-refresh-sealed/1","version":7,"tokens":null}"#;
        assert!(serde_json::from_str::<Record>(half).is_err());
    }

    #[test]
    fn another_programs_format_is_named() {
        let foreign = r#"{"format":"keyring/9","version":1,"tokens":null}"#;
        let error = serde_json::from_str::<Record>(foreign).unwrap_err().to_string();
        assert!(error.contains("tower-refresh/1"), "{error}");
        for version in [0, u64::MAX] {
            let json = format!(r#"{{"format":"{FORMAT}","version":{version},"tokens":null}}"#);
            assert!(serde_json::from_str::<Record>(&json).is_err(), "{version}");
        }
        let no_word = format!(r#"{{"format":"{FORMAT}","version":1}}"#);
        assert!(serde_json::from_str::<Record>(&no_word).is_err(), "no log-out");
        assert!(serde_json::from_str::<Record>("{}").is_err());
        assert!(serde_json::from_str::<Record>("").is_err());
    }
}
