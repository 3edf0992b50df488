use std::time::SystemTime;

use super::unknown::Unknown;

/// The server has said that the grant is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) at: SystemTime,
    /// The server's code, or nothing.
    pub(crate) code: String,
    /// It was a login that the server refused, and not a refresh token.
    pub(crate) login: bool,
    pub(super) unknown: Unknown,
}

/// How long a code may be.
const LONGEST: usize = 64;

impl Ended {
    /// What is no code is dropped: it is shown in logs.
    pub(crate) fn new(at: SystemTime, code: Option<&str>, login: bool) -> Self {
        let is_code = |code: &&str| {
            let is_name = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
            code.len() <= LONGEST && code.chars().all(is_name)
        };
        let code = code.filter(is_code).unwrap_or_default().to_owned();
        Self { at, code, login, unknown: Unknown::default() }
    }
}
