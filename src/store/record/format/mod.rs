//! How a record is written, and what is read as one.

#[cfg(test)]
mod tests;

use std::{
    mem,
    ops::RangeInclusive,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{Contents, Ended, LoginHistory, Record, Sealed, StoredFor, unknown::Unknown};
use crate::token::{LONGEST_LIFE, RefreshToken, Tokens};

/// What is stored says itself what it is.
pub(super) const FORMAT: &str = "tower-refresh/1";
pub(super) const SEALED_FORMAT: &str = "tower-refresh-sealed/1";

/// The names in `crit` that this version knows.
const KNOWN: [&str; 0] = [];

/// Versions and turns begin with 1, and always have room to grow.
const NUMBERS: RangeInclusive<u64> = 1..=i64::MAX as u64;

#[derive(Serialize, Deserialize)]
struct Stored {
    /// `None` in a record that was written by hand and has tokens alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    turn: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "requirements")]
    crit: Vec<String>,
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    issued_for: Option<StoredFor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<Sealed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tokens: Option<StoredTokens>,
    #[serde(default, skip_serializing_if = "is_false")]
    logged_out: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<StoredEnd>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    seeds: Vec<Text>,
    #[serde(default, skip_serializing_if = "LoginHistory::is_empty")]
    logins: LoginHistory,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lease: Option<StoredLease>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Serialize, Deserialize)]
struct StoredTokens {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    access_token: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh_token: Option<Text>,
    /// Milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    obtained_at: Option<u64>,
    /// Milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    life: Option<u64>,
    #[serde(default, skip_serializing_if = "is_false")]
    issued: bool,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    extra: Map<String, Value>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Serialize, Deserialize)]
struct StoredEnd {
    /// Milliseconds since the Unix epoch.
    at: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    code: String,
    #[serde(default, skip_serializing_if = "is_false")]
    login: bool,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Serialize, Deserialize)]
struct StoredLease {
    owner: String,
    /// Milliseconds.
    life: u64,
    #[serde(flatten)]
    unknown: Unknown,
}

/// A token between memory and store, of which no copy is left behind; not even if what comes after
/// it turns out to be damaged.
struct Text(Zeroizing<String>);

impl Text {
    fn new(token: &str) -> Self {
        Self(Zeroizing::new(token.to_owned()))
    }

    fn take(mut self) -> String {
        mem::take(&mut *self.0)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|token| Self(Zeroizing::new(token)))
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (format, sealed, tokens) = match &self.contents {
            Contents::Sealed(sealed) => (SEALED_FORMAT, Some(sealed.clone()), None),
            Contents::Tokens(tokens) => (FORMAT, None, stored_tokens(tokens)),
            Contents::LoggedOut => (FORMAT, None, None),
        };
        Stored {
            format: Some(format.to_owned()),
            version: Some(self.version),
            turn: Some(self.turn),
            crit: self.crit.clone(),
            issued_for: self.issued_for().cloned(),
            sealed,
            tokens,
            logged_out: self.is_logged_out(),
            ended: self.ended().map(|ended| StoredEnd {
                at: since_epoch(ended.at),
                code: ended.code.clone(),
                login: ended.login,
                unknown: ended.unknown.clone(),
            }),
            seeds: self.seeds().iter().map(|seed| Text::new(seed.expose())).collect(),
            logins: self.logins().clone(),
            lease: self.lease().map(|lease| StoredLease {
                owner: lease.owner().to_owned(),
                life: millis(lease.life()),
                unknown: lease.unknown.clone(),
            }),
            unknown: self.unknown.clone(),
        }
        .serialize(serializer)
    }
}

/// `None` if nothing is to be said of them.
fn stored_tokens(tokens: &Tokens) -> Option<StoredTokens> {
    let nothing = tokens.is_empty() && tokens.extra.is_empty() && tokens.unknown.is_empty();
    (!nothing).then(|| StoredTokens {
        access_token: tokens.access.as_ref().map(|token| Text::new(token.expose())),
        refresh_token: tokens.refresh.as_ref().map(|token| Text::new(token.expose())),
        obtained_at: Some(since_epoch(tokens.obtained_at)),
        life: tokens.life.map(millis),
        issued: tokens.issued,
        extra: tokens.extra.clone(),
        unknown: Unknown(tokens.unknown.clone()),
    })
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Stored::deserialize(deserializer)?.try_into().map_err(de::Error::custom)
    }
}

impl TryFrom<Stored> for Record {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        let by_hand = stored.format.is_none() && stored.tokens.is_some();
        let number = |stored: Option<u64>, default: Option<u64>| {
            let number = stored.or(default).filter(|number| NUMBERS.contains(number));
            number.ok_or("the token record has no version or turn that can be used")
        };
        let version = number(stored.version, by_hand.then_some(1))?;
        let mut record = Self::empty(version, number(stored.turn, Some(1))?);
        let beside_a_seal = stored.issued_for.is_none()
            && stored.ended.is_none()
            && stored.seeds.is_empty()
            && stored.logins.is_empty();
        let format = if by_hand { FORMAT } else { stored.format.as_deref().unwrap_or_default() };
        record.contents = match (format, stored.sealed, stored.tokens, stored.logged_out) {
            (FORMAT, None, None, false) => record.contents,
            (FORMAT, None, None, true) => Contents::LoggedOut,
            (FORMAT, None, Some(tokens), false) => {
                let tokens = Tokens::try_from(tokens).map_err(|error| error.to_string())?;
                Contents::Tokens(tokens)
            }
            (FORMAT, None, Some(_), true) => {
                return Err("the token record has tokens and says that it is logged out".into());
            }
            (SEALED_FORMAT, Some(sealed), None, false) if beside_a_seal => Contents::Sealed(sealed),
            (FORMAT | SEALED_FORMAT, ..) => {
                return Err("the token record is half encrypted".into());
            }
            _ => {
                return Err(format!(
                    "the token record is not in the format {FORMAT}: was it written by another \
                     program or by a newer version of this one?"
                ));
            }
        };
        record.crit = stored.crit;
        record.unknown = stored.unknown;
        record.issued_for = stored.issued_for;
        if let Some(StoredEnd { at, code, login, unknown }) = stored.ended {
            let ended = Ended::new(from_epoch(at), Some(&code), login);
            record = record.with_ended(Ended { unknown, ..ended });
        }
        for seed in stored.seeds {
            let seed = RefreshToken::new(seed.take()).map_err(|error| error.to_string())?;
            record = record.with_seed(&seed);
        }
        if let Some(StoredLease { owner, life, unknown }) = stored.lease {
            record = record.with_lease(owner, Duration::from_millis(life));
            record.lease.iter_mut().for_each(|lease| lease.unknown = unknown.clone());
        }
        Ok(record.with_logins(&stored.logins))
    }
}

impl TryFrom<StoredTokens> for Tokens {
    type Error = crate::Error;

    fn try_from(stored: StoredTokens) -> Result<Self, Self::Error> {
        let mut tokens = match stored.access_token {
            Some(token) => Self::new(token.take())?,
            None => Self::default(),
        };
        tokens.refresh =
            stored.refresh_token.map(|token| RefreshToken::new(token.take())).transpose()?;
        // A life means nothing without the date on which it began. Then what the token itself says
        // counts, as for one that the program has found elsewhere.
        if let Some(obtained_at) = stored.obtained_at {
            tokens.obtained_at = from_epoch(obtained_at);
            tokens.life = stored.life.map(|life| Duration::from_millis(life).min(LONGEST_LIFE));
        }
        tokens.issued = stored.issued;
        tokens.extra = stored.extra;
        tokens.unknown = stored.unknown.0;
        Ok(tokens)
    }
}

/// Fails at the first name that this version does not know, before anything else is looked at.
fn requirements<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::deserialize(deserializer)?;
    match unknown_requirement(&names) {
        Some(name) => Err(de::Error::custom(format_args!(
            "the token record requires {name:?}, which this version of tower-refresh does not \
             know: update this program"
        ))),
        None => Ok(names),
    }
}

/// The first name that this version does not know, as it can be shown.
pub(super) fn unknown_requirement(names: &[String]) -> Option<String> {
    let unknown = names.iter().find(|name| !KNOWN.contains(&name.as_str()))?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    let shown = unknown.len() <= 64 && unknown.chars().all(is_name);
    Some(if shown { unknown.clone() } else { "a member with a strange name".to_owned() })
}

fn is_false(value: &bool) -> bool {
    !value
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
