//! How odd the head of an answer may be.
//!
//! An answer has used the refresh token up whatever its head looks like, so the transports take what
//! curl and browsers take: a line that is no header is left out, a value may go on in the next line,
//! spaces may follow a name. Elsewhere leniency is a danger, because two parties that read one head
//! differently disagree on where the next message begins. Here is no next message.
//!
//! Invariant: no connection to a token endpoint is used twice.

/// As many lines as curl takes, and within what hyper reads of a head in bytes. hyper's own limit is
/// 100, which a single sign-on reaches with its cookies.
pub(super) const MOST_LINES: usize = 5000;
