use serde::{Deserialize, Serialize};

use super::unknown::Unknown;
use crate::token::IssuedFor;

/// Whom the tokens of a record were issued by, to which client, and for what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct StoredFor {
    #[serde(skip_serializing_if = "String::is_empty")]
    issuer: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    client: String,
    /// What was requested; the server may have granted less.
    #[serde(skip_serializing_if = "String::is_empty")]
    scope: String,
    /// Which of a set's sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
    /// Earlier names, which processes that are not updated yet know it by. Newest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    formerly: Vec<Former>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Former {
    #[serde(skip_serializing_if = "String::is_empty")]
    issuer: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    client: String,
    #[serde(flatten)]
    unknown: Unknown,
}

/// How many earlier names are remembered.
const FORMER: usize = 4;

impl StoredFor {
    /// The name that it has now.
    pub(crate) fn issued_for(&self) -> IssuedFor {
        IssuedFor::stored(self.issuer.clone(), self.client.clone(), self.scope.clone())
    }

    pub(super) fn is_known(&self) -> bool {
        !(self.issuer.is_empty() && self.client.is_empty())
    }

    /// All its names, the present one first.
    pub(crate) fn names(&self) -> impl Iterator<Item = IssuedFor> {
        let former = self.formerly.iter().rev().map(|former| {
            IssuedFor::stored(former.issuer.clone(), former.client.clone(), String::new())
        });
        std::iter::once(self.issued_for()).chain(former)
    }

    /// The same tokens, requested anew by `ours`. What this is known by already stays its name, so
    /// that old and new processes agree on one while both are at work.
    pub(super) fn renewed(mut self, ours: &IssuedFor) -> Self {
        if !self.names().any(|name| name.is_same(ours)) {
            let Self { issuer, client, .. } = self;
            if !(issuer.is_empty() && client.is_empty()) {
                self.formerly.push(Former { issuer, client, unknown: Unknown::default() });
                let over = self.formerly.len().saturating_sub(FORMER);
                self.formerly.drain(..over);
            }
            self.issuer = ours.issuer().to_owned();
            self.client = ours.client().to_owned();
        }
        self.scope = ours.scope().to_owned();
        self
    }
}
