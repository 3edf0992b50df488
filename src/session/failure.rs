//! What a round that brought no token was.

use std::time::Duration;

use crate::{
    endpoint::{EndpointError, FailureClass, Spent},
    error::{BoxError, Error, ErrorKind, chain},
};

/// Why a call, or the whole round, brought no token.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) class: FailureClass,
    /// What the waiting callers get.
    pub(super) error: Error,
    pub(super) retry_after: Option<Duration>,
    /// The refresh token may be spent, and the answer lost.
    pub(super) may_have_spent: bool,
    /// The same refresh token had been in doubt before, so it is not presented once more.
    pub(super) final_in_doubt: bool,
    /// The grant is over, and it is the lost answer that ended it.
    pub(super) rotation_lost: bool,
}

impl Failure {
    /// Reads what an endpoint's error means. Any but an [`EndpointError`] is somebody else's, such
    /// as a `Timeout` layer's: who knows what had been sent by then.
    pub(super) fn of(error: BoxError) -> Self {
        // The endpoint waits for itself. Nothing was sent, and trying again will not mend it.
        if let Some(own) = Error::find(error.as_ref()).filter(|e| e.kind() == ErrorKind::Recursion)
        {
            return Self { class: FailureClass::Misconfigured, ..Self::transient(own.clone()) };
        }
        let known = chain(error.as_ref()).find_map(|error| error.downcast_ref::<EndpointError>());
        let Some(known) = known else {
            let message = "the call to the token endpoint failed";
            let error = Error::with_source(ErrorKind::Unavailable, message, error);
            return Self { may_have_spent: true, ..Self::transient(error) };
        };
        let (class, retry_after) = (known.class(), known.retry_after());
        let may_have_spent = known.spent() != Spent::No;
        let (kind, message) = match class {
            FailureClass::InvalidGrant => (
                ErrorKind::LoginRequired,
                "the token endpoint no longer accepts the refresh token: log in and set new tokens",
            ),
            FailureClass::Misconfigured => (
                ErrorKind::Misconfigured,
                "the token endpoint refuses the call: check how the endpoint is configured",
            ),
            FailureClass::Transient => {
                (ErrorKind::Unavailable, "the token endpoint is unavailable")
            }
        };
        let error = Error::with_source(kind, message, error);
        Self { class, retry_after, may_have_spent, ..Self::transient(error) }
    }

    pub(super) fn timed_out(limit: Duration) -> Self {
        let message = format!("the token endpoint did not answer within {limit:?}");
        let error = Error::new(ErrorKind::Unavailable, message);
        Self { may_have_spent: true, ..Self::transient(error) }
    }

    pub(super) fn panicked() -> Self {
        Self::transient(Error::new(ErrorKind::Unavailable, "the token endpoint panicked"))
    }

    pub(super) fn conflict() -> Self {
        let message = "the token store changes faster than it can be followed";
        Self::transient(Error::new(ErrorKind::Store, message))
    }

    /// The store cannot be used, and refreshing without it might spend a token that is another's.
    pub(super) fn store(error: Error) -> Self {
        Self::transient(error)
    }

    fn transient(error: Error) -> Self {
        Self {
            class: FailureClass::Transient,
            error,
            retry_after: None,
            may_have_spent: false,
            final_in_doubt: false,
            rotation_lost: false,
        }
    }
}
