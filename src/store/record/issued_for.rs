use serde::{Deserialize, Serialize};

use super::unknown::Unknown;

/// Whom the tokens of a record were issued by, to which client, and for what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct IssuedFor {
    /// The issuer, or the token endpoint's URL without its query.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) issuer: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) client: String,
    /// What was requested; the server may have granted less.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) scope: String,
    /// Which of a set's sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    #[serde(flatten)]
    unknown: Unknown,
}
