//! A record as bytes, for the stores of this crate.

use std::{
    fmt,
    io::{self, Write},
};

use serde::{Deserialize, de::IgnoredAny};
use serde_json::error::Category;
use zeroize::Zeroizing;

use super::{
    Record,
    format::{FORMAT, SEALED_FORMAT, unknown_requirement},
};

impl Record {
    /// The record as bytes, which are wiped when they are dropped.
    ///
    /// It is written twice, because a buffer that grows leaves its old memory behind unwiped: the
    /// first time only to know how long it will be.
    pub(in crate::store) fn to_json(&self) -> serde_json::Result<Zeroizing<Vec<u8>>> {
        let mut length = Length(0);
        serde_json::to_writer(&mut length, self)?;
        let mut json = Zeroizing::new(Vec::with_capacity(length.0));
        serde_json::to_writer(&mut *json, self)?;
        Ok(json)
    }

    pub(in crate::store) fn from_json(json: &[u8]) -> Result<Self, Unreadable> {
        serde_json::from_slice(json).map_err(|error| Unreadable::new(json, &error))
    }
}

/// Why bytes are no record. Says nothing of what is in them: a parser's own message may quote a
/// token.
#[derive(Debug)]
pub(in crate::store) enum Unreadable {
    /// This version does not know a member that the record must not be used without.
    Requires(String),
    /// It is in a format that a newer version of this crate has.
    Newer,
    Damaged {
        line: usize,
        column: usize,
    },
    CutOff,
    Foreign,
}

impl Unreadable {
    fn new(json: &[u8], error: &serde_json::Error) -> Self {
        #[derive(Deserialize)]
        struct Head {
            format: Option<String>,
            #[serde(default)]
            crit: Vec<String>,
            tokens: Option<IgnoredAny>,
        }
        let Ok(head) = serde_json::from_slice::<Head>(json) else {
            return match error.classify() {
                Category::Eof => Self::CutOff,
                _ => Self::Foreign,
            };
        };
        if let Some(name) = unknown_requirement(&head.crit) {
            return Self::Requires(name);
        }
        match (head.format.as_deref(), head.tokens) {
            (Some(FORMAT | SEALED_FORMAT), _) | (None, Some(IgnoredAny)) => {
                Self::Damaged { line: error.line(), column: error.column() }
            }
            (Some(newer), _) if newer.starts_with("tower-refresh") => Self::Newer,
            _ => Self::Foreign,
        }
    }
}

/// To come after "the token record … ".
impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requires(name) => write!(
                f,
                "requires {name:?}, which this version of tower-refresh does not know: update \
                 this program"
            ),
            Self::Newer => {
                f.write_str("was written by a newer version of tower-refresh: update this program")
            }
            Self::Damaged { line, column } => {
                write!(f, "is damaged at line {line}, column {column}")
            }
            Self::CutOff => f.write_str("is cut off"),
            Self::Foreign => write!(f, "holds something else than tokens ({FORMAT})"),
        }
    }
}

/// Counts what is written.
struct Length(usize);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
