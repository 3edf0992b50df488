use std::{error, fmt};

use crate::BoxError;

/// The error of a body that is being sent again elsewhere.
///
/// When a server refuses a request before it has read the whole body, a retry takes the body over,
/// and the copy on the first connection ends in this error. The caller that waits for the response
/// does not see it; it may show up in the logs of a client, as the reason why a connection was
/// closed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Superseded;

impl fmt::Display for Superseded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request was refused and its body is being sent again")
    }
}

impl error::Error for Superseded {}

/// The error of a [`ReplayBody`](super::ReplayBody): the recorded body's own, or [`Superseded`],
/// whichever is its [`source`](error::Error::source).
///
/// It is a type of its own and no box, so that a client over this body is a type without a `dyn`
/// in it: the compiler cannot always tell that a future which holds one may be spawned.
#[derive(Debug)]
pub struct ReplayError {
    source: BoxError,
}

impl ReplayError {
    /// Whether a retry has taken the body over.
    pub fn is_superseded(&self) -> bool {
        self.source.is::<Superseded>()
    }
}

/// Why a copy ends early.
pub(super) enum Failed<E> {
    /// Another copy has taken the body over.
    Superseded,
    /// The body itself has failed.
    Source(E),
}

impl<E: Into<BoxError>> From<Failed<E>> for ReplayError {
    fn from(failed: Failed<E>) -> Self {
        let source = match failed {
            Failed::Superseded => Superseded.into(),
            Failed::Source(error) => error.into(),
        };
        Self { source }
    }
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request body cannot be read on")
    }
}

impl error::Error for ReplayError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(self.source.as_ref())
    }
}
