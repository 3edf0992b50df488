//! How a record is written, and what is read as one.

use std::{
    mem,
    ops::RangeInclusive,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{Contents, Decisions, Record, Sealed, Spending};
use crate::token::{AccessToken, LONGEST_LIFE, RefreshToken, Tokens};

/// What is stored says itself what it is.
pub(in crate::store) const FORMAT: &str = "tower-refresh/1";
pub(in crate::store) const SEALED_FORMAT: &str = "tower-refresh-sealed/1";

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
    #[serde(default, skip_serializing_if = "Decisions::is_empty")]
    decisions: Decisions,
}

#[derive(Serialize, Deserialize)]
struct StoredSpending {
    owner: String,
    /// Milliseconds since the Unix epoch.
    until: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredTokens {
    access_token: Option<Text>,
    refresh_token: Option<Text>,
    /// Milliseconds since the Unix epoch.
    obtained_at: u64,
    /// Milliseconds.
    life: Option<u64>,
    #[serde(default)]
    extra: Map<String, Value>,
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
        let tokens = self.tokens().map(|tokens| StoredTokens {
            access_token: tokens.access.as_ref().map(|token| Text::new(token.expose())),
            refresh_token: tokens.refresh.as_ref().map(|token| Text::new(token.expose())),
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
        Stored {
            format: format.to_owned(),
            version: self.version,
            sealed,
            tokens,
            spending,
            decisions: self.decisions.clone(),
        }
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
        Ok(Self { version: stored.version, contents, spending, decisions: stored.decisions })
    }
}

impl TryFrom<StoredTokens> for Tokens {
    type Error = crate::Error;

    fn try_from(stored: StoredTokens) -> Result<Self, Self::Error> {
        Ok(Self {
            access: stored.access_token.map(|token| AccessToken::new(token.take())).transpose()?,
            refresh: stored
                .refresh_token
                .map(|token| RefreshToken::new(token.take()))
                .transpose()?,
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

        let mut decisions = Decisions::default();
        decisions.add("a log-out".to_owned());
        let json = serde_json::to_string(&Record::new(8, None).decided_by(&decisions)).unwrap();
        let record: Record = serde_json::from_str(&json).unwrap();
        assert!(record.is_tombstone());
        assert_eq!(*record.decisions(), decisions);
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
