//! What an attempt that brought no token means.

use std::time::{Duration, SystemTime};

use super::{endpoint::EndpointName, single_flight::Stage, state::After};
use crate::{
    endpoint::{EndpointError, FailureClass, Spent, says_in_progress, says_reuse},
    error::{BoxError, Error, ErrorKind, chain},
    store::Ended,
    token::RefreshToken,
};

/// What gives the first tokens of an identity is asked again after this long.
const ASKED_AGAIN: Duration = Duration::from_secs(5);

/// Why a call, or the whole refresh, brought no token.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) class: FailureClass,
    /// What the waiting callers get.
    pub(super) error: Error,
    pub(super) retry_after: Option<Duration>,
    /// Whether the call used the refresh token.
    pub(super) used: Spent,
    /// An earlier call with the same refresh token had no answer.
    pub(super) was_in_doubt: bool,
    /// A new refresh token, without an access token.
    pub(super) rotated: Option<RefreshToken>,
    /// The endpoint was not asked: a breaker has held the call back, or there is nothing to send.
    pub(super) held_back: bool,
    /// The answer was in no protocol of the endpoint's: the class goes by what it did before.
    is_presumed: bool,
    /// A refresh token was sent, or a login.
    pub(super) presented: bool,
    /// The store says that the grant is over.
    is_recorded: bool,
    at_login: bool,
    code: Option<String>,
    verdict: Verdict,
}

/// What the end of a grant says of an earlier call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Plain,
    /// The refresh token was presented twice.
    Reuse,
    /// An earlier call is still at work.
    InProgress,
}

impl Failure {
    /// Reads what an endpoint's error means. Any but an [`EndpointError`] is that of a layer around
    /// the endpoint, such as a `Timeout`: what was sent by then is unknown.
    pub(super) fn of(error: BoxError, endpoint: EndpointName<'_>) -> Self {
        let over =
            format!("{endpoint} no longer accepts the refresh token: log in and set new tokens");
        Self::of_call(error, endpoint, over)
    }

    /// The same of an error of the login endpoint.
    pub(super) fn of_login(error: BoxError, endpoint: EndpointName<'_>) -> Self {
        let over = format!(
            "{endpoint} refuses the login: repair its credentials and call `log_in`, or `set_tokens`"
        );
        Self { at_login: true, ..Self::of_call(error, endpoint, over) }
    }

    fn of_call(error: BoxError, endpoint: EndpointName<'_>, over: String) -> Self {
        // The endpoint waits for itself, or is another than the refresh token was issued by.
        // Nothing was sent, and trying again does not cure it.
        let is_own = |error: &&Error| {
            matches!(error.kind(), ErrorKind::Recursion | ErrorKind::ForeignRecord)
        };
        if let Some(own) = Error::find(error.as_ref()).filter(is_own) {
            return Self::foreign(own.clone());
        }
        let known = chain(error.as_ref()).find_map(|error| error.downcast_ref::<EndpointError>());
        let Some(known) = known else {
            let message = format!("the call to {endpoint} failed");
            let error = Error::with_source(ErrorKind::Unavailable, message, error);
            return Self { used: Spent::Maybe, ..Self::transient(error) };
        };
        let (class, retry_after, used) = (known.class(), known.retry_after(), known.spent());
        let (rotated, verdict) = (known.rotated().cloned(), Verdict::of(known));
        let held_back = known.is_held_back();
        let is_presumed = known.is_presumed();
        let code = known.code().map(str::to_owned);
        let (kind, message) = match class {
            FailureClass::InvalidGrant => (ErrorKind::LoginRequired, over),
            FailureClass::Misconfigured => (
                ErrorKind::Misconfigured,
                format!("{endpoint} refuses the call: check how the endpoint is configured"),
            ),
            FailureClass::Transient => (
                ErrorKind::Unavailable,
                format!("{endpoint} is unavailable, and is asked again later"),
            ),
        };
        let error = Error::with_source(kind, message, error);
        Self {
            class,
            retry_after,
            used,
            rotated,
            held_back,
            is_presumed,
            verdict,
            code,
            ..Self::transient(error)
        }
    }

    /// The endpoint could not be readied: nothing was sent.
    pub(super) fn unready(error: BoxError, endpoint: EndpointName<'_>) -> Self {
        Self { used: Spent::No, ..Self::of(error, endpoint) }
    }

    /// There was no refresh token to send, and nothing was sent.
    pub(super) fn without_refresh_token(self, has_access_token: bool) -> Self {
        let message = match has_access_token {
            false => "no user has logged in yet: log in and set tokens",
            true => {
                "the access token is over, and there is no refresh token to get another with: log \
                 in and set new tokens"
            }
        };
        Self { error: Error::new(ErrorKind::LoginRequired, message), ..self }
    }

    pub(super) fn timed_out(limit: Duration, endpoint: EndpointName<'_>) -> Self {
        let message =
            format!("{endpoint} did not answer within {limit:?}, and is asked again later");
        let error = Error::new(ErrorKind::Unavailable, message);
        Self { used: Spent::Maybe, ..Self::transient(error) }
    }

    /// What callers get who have waited for `limit`, while the refresh goes on.
    pub(super) fn overdue(limit: Duration, stage: Stage, endpoint: EndpointName<'_>) -> Self {
        let message = match stage {
            Stage::AnotherProcess => {
                format!("another process refreshes the tokens and has not ended within {limit:?}")
            }
            _ => format!(
                "{endpoint} did not answer within {limit:?}; the call goes on, as its refresh token \
                 may be used up"
            ),
        };
        Self::transient(Error::new(ErrorKind::Unavailable, message))
    }

    pub(super) fn panicked(endpoint: EndpointName<'_>) -> Self {
        Self::transient(Error::new(ErrorKind::Unavailable, format!("{endpoint} panicked")))
    }

    pub(super) fn conflict() -> Self {
        let message = "the token store changes faster than it can be followed";
        Self::transient(Error::new(ErrorKind::Store, message))
    }

    pub(super) fn closed() -> Self {
        Self::transient(Error::new(ErrorKind::Closed, "the session was closed"))
    }

    /// There is nothing to start from, until a user logs in.
    pub(super) fn no_tokens() -> Self {
        let message = "there are no tokens of this identity: a user has to log in";
        let failure = Self::transient(Error::new(ErrorKind::LoginRequired, message));
        Self { held_back: true, retry_after: Some(ASKED_AGAIN), ..failure }
    }

    /// What is stored is not this session's to use.
    pub(super) fn foreign(error: Error) -> Self {
        Self { class: FailureClass::Misconfigured, ..Self::transient(error) }
    }

    /// The store cannot be used, and refreshing without it might use up a token of another process.
    pub(super) fn store(error: Error) -> Self {
        Self::transient(error)
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The server is still at work on an earlier call, and has been for too long.
    pub(super) fn still_in_progress(self) -> Self {
        let message = "the token endpoint is still at work on an earlier call";
        let error = Error::with_source(ErrorKind::Unavailable, message, self.error);
        Self { retry_after: self.retry_after, ..Self::transient(error) }
    }

    /// The end of a grant that began with a lost answer: that answer's failure is in the chain.
    pub(super) fn with_doubt(self, cause: Option<Error>) -> Self {
        let Some(cause) = cause.filter(|_| self.was_in_doubt) else { return self };
        let verdict = AfterDoubt { verdict: self.error, cause };
        let message = "the token endpoint no longer accepts the refresh token, which a call \
                       without an answer may have used up: log in and set new tokens";
        Self { error: Error::with_source(ErrorKind::LoginRequired, message, verdict), ..self }
    }

    /// The end of the grant, if this is that.
    pub(super) fn ended(&self) -> Option<Ended> {
        let is_end = matches!(self.after(), After::LoginRequired { .. }) && self.presented;
        is_end.then(|| self.end())
    }

    /// Says whether the store has taken the end of the grant.
    pub(super) fn recorded(self, is_recorded: bool) -> Self {
        Self { is_recorded, ..self }
    }

    fn end(&self) -> Ended {
        Ended::new(SystemTime::now(), self.code.as_deref(), self.at_login)
    }

    /// How the refresh leaves the session.
    pub(super) fn after(&self) -> After {
        match self.class {
            _ if self.used == Spent::Yes && self.rotated.is_none() => {
                After::Used { retry_after: self.retry_after }
            }
            _ if self.held_back => After::HeldBack { rest: self.retry_after.unwrap_or_default() },
            FailureClass::InvalidGrant => After::LoginRequired {
                rotation_lost: self.was_in_doubt,
                ended: self.end(),
                is_recorded: self.is_recorded || !self.presented,
            },
            // Its configuration may be right all the same, and the endpoint ill.
            FailureClass::Misconfigured if self.is_presumed => {
                After::Transient { retry_after: self.retry_after }
            }
            FailureClass::Misconfigured => After::Misconfigured { retry_after: self.retry_after },
            FailureClass::Transient => After::Transient { retry_after: self.retry_after },
        }
    }

    fn transient(error: Error) -> Self {
        Self {
            class: FailureClass::Transient,
            error,
            retry_after: None,
            used: Spent::No,
            was_in_doubt: false,
            rotated: None,
            held_back: false,
            is_presumed: false,
            presented: false,
            is_recorded: false,
            at_login: false,
            code: None,
            verdict: Verdict::Plain,
        }
    }
}

impl Verdict {
    /// By the server's own words, on a grant that it would end.
    fn of(error: &EndpointError) -> Self {
        let words = error.words();
        if !error.is_about_the_grant() {
            Self::Plain
        } else if says_reuse(&words) {
            Self::Reuse
        } else if says_in_progress(&words) {
            Self::InProgress
        } else {
            Self::Plain
        }
    }
}

/// The end of a grant, and the lost answer that it came of.
#[derive(Debug)]
struct AfterDoubt {
    verdict: Error,
    cause: Error,
}

impl std::fmt::Display for AfterDoubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict: Vec<_> = chain(&self.verdict).skip(1).map(ToString::to_string).collect();
        write!(f, "{}; the call without an answer", verdict.join(": "))
    }
}

impl std::error::Error for AfterDoubt {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_server_tell_re_use_and_work_in_progress() {
        for (code, said, verdict) in [
            ("invalid_grant", "Token is expired", Verdict::Plain),
            ("invalid_grant", "Refresh token reuse detected", Verdict::Reuse),
            ("refresh_token_reused", "", Verdict::Reuse),
            ("invalid_grant", "The token has already been used", Verdict::Reuse),
            ("invalid_grant", "token request is already being processed", Verdict::InProgress),
            ("invalid_grant", "A concurrent request is in progress", Verdict::InProgress),
        ] {
            let error = EndpointError::invalid_grant("no").with_code(code).with_said(said);
            assert_eq!(Verdict::of(&error), verdict, "{code} {said}");
        }
    }

    #[test]
    fn an_error_after_a_doubt_has_both_causes_in_its_chain() {
        let name = EndpointName { what: "token", host: None, session: None };
        let lost = Failure::timed_out(Duration::from_secs(10), name).error;
        let verdict = EndpointError::invalid_grant("gone");
        let failure = Failure { was_in_doubt: true, ..Failure::of(verdict.into(), name) };
        let error = failure.with_doubt(Some(lost)).error;
        assert!(error.is_login_required());
        let said: Vec<_> = chain(&error).map(ToString::to_string).collect();
        let said = said.join(": ");
        assert!(said.contains("gone") && said.contains("did not answer within 10s"), "{said}");
    }
}
