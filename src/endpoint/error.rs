use std::{borrow::Cow, error, fmt, time::Duration};

use http::StatusCode;

use super::{
    secrets::Secrets,
    verdict::{Words, is_about_a_person},
};
use crate::{
    error::{BoxError, write_causes},
    token::RefreshToken,
};

pub(super) const IS_IT_UP: &str = "is it up, and are the host and the port of its URL right?";

/// What a failed call to a token endpoint means for the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureClass {
    /// The grant is over (`invalid_grant`): a user has to log in again.
    InvalidGrant,
    /// The call cannot succeed as it is configured (`invalid_client`, a 404): tried again after
    /// minutes, or by hand.
    Misconfigured,
    /// It may work next time.
    Transient,
}

/// Whether the token endpoint used the refresh token of a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spent {
    /// Certainly not: nothing was sent, or the server answered that it did nothing.
    No,
    /// Unknown: the server may have used it, and its answer was lost.
    Maybe,
    /// The server used it, and its answer has no usable access token.
    Yes,
}

/// Why a token endpoint gave no access token.
///
/// `{}` is one line on what went wrong; `{:#}` adds what was behind it.
///
/// An endpoint of your own returns this (in a [`BoxError`]) to say what its failure means. Any
/// other error counts as [transient](FailureClass::Transient), and the refresh token as
/// [possibly spent](Spent::Maybe).
///
/// ```
/// use tower_refresh::endpoint::{EndpointError, FailureClass, Spent};
///
/// let sealed = EndpointError::transient("the vault is sealed").with_spent(Spent::No);
/// assert_eq!(sealed.class(), FailureClass::Transient);
/// ```
#[must_use = "an error does nothing before it is returned"]
pub struct EndpointError {
    class: FailureClass,
    message: Cow<'static, str>,
    spent: Spent,
    /// The class is that of an endpoint which does not speak its protocol, by what it did before.
    presumed: bool,
    answer: Option<Box<Details>>,
    source: Option<BoxError>,
}

/// What the server's answer said, if there was one. Boxed, as most calls do not fail and a
/// `Result` is as large as its error.
#[derive(Debug, Default)]
struct Details {
    code: Option<String>,
    status: Option<StatusCode>,
    said: Option<String>,
    rotated: Option<RefreshToken>,
    retry_after: Option<Duration>,
    held_back: bool,
}

impl EndpointError {
    /// The refresh token is expired, revoked, used up or missing: no call succeeds until a user
    /// logs in again. The refresh token counts as [not spent](Spent::No) by this call.
    pub fn invalid_grant(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(FailureClass::InvalidGrant, message).with_spent(Spent::No)
    }

    /// The endpoint refuses the call for good: a wrong client secret, a wrong URL. The refresh
    /// token counts as [not spent](Spent::No).
    pub fn misconfigured(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(FailureClass::Misconfigured, message).with_spent(Spent::No)
    }

    /// The call may work next time.
    ///
    /// The server may have taken it before it went wrong, so the refresh token counts as
    /// [possibly spent](Spent::Maybe) unless [`with_spent`](Self::with_spent) says otherwise.
    pub fn transient(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(FailureClass::Transient, message)
    }

    /// The call was not made, as the endpoint is to be left alone for so long.
    pub(super) fn held_back(message: String, rest: Duration) -> Self {
        let mut error = Self::transient(message).with_spent(Spent::No).with_retry_after(rest);
        error.details().held_back = true;
        error
    }

    pub(crate) fn is_held_back(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.held_back)
    }

    /// What a grant that needs a refresh token answers to a session that has none.
    pub(super) fn no_refresh_token() -> Self {
        Self::invalid_grant("there is no refresh token to send: a user has to log in")
    }

    /// Says whether the server used the refresh token. Defaults to [`Spent::Maybe`] for
    /// [`transient`](Self::transient), and to [`Spent::No`] for the others.
    pub fn with_spent(mut self, spent: Spent) -> Self {
        self.spent = spent;
        self
    }

    /// Adds the machine-readable code, such as the `error` of RFC 6749 §5.2. Defaults to none.
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.details().code = Some(code.into());
        self
    }

    /// Adds the HTTP status of the answer. Defaults to none.
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.details().status = Some(status);
        self
    }

    /// Adds what the server said in its own words, for logs and for people. Defaults to none.
    ///
    /// It is shortened to one line of 200 characters, and JWTs in it are struck out. Strike out
    /// every other secret before: the error is printed.
    pub fn with_said(mut self, said: impl AsRef<str>) -> Self {
        let said = Secrets::default().quote(said.as_ref());
        self.details().said = Some(said).filter(|said| !said.is_empty());
        self
    }

    /// Adds the new refresh token of an answer that has no usable access token. It replaces the
    /// one that was sent, which is used up. Defaults to none.
    pub fn with_rotated(mut self, refresh_token: RefreshToken) -> Self {
        self.details().rotated = Some(refresh_token);
        self
    }

    /// Says how long the server wants no further call. Defaults to nothing said.
    pub fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.details().retry_after = Some(retry_after);
        self
    }

    /// Adds the error behind this one. Defaults to none.
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The server's words, its code among them.
    pub(crate) fn words(&self) -> Words {
        let (code, said) = (self.code().unwrap_or_default(), self.said().unwrap_or_default());
        Words::of(&format!("{code}; {said}"))
    }

    /// Whether the server speaks of the grant that was presented, and not of itself.
    pub(crate) fn is_about_the_grant(&self) -> bool {
        self.class == FailureClass::InvalidGrant || self.code().is_some_and(is_about_a_person)
    }

    /// Says that the class is a guess, as the answer is in no protocol of the endpoint's.
    pub(super) fn presumed(mut self, presumed: bool) -> Self {
        self.presumed = presumed;
        self
    }

    /// Whether the class is a guess. Then the endpoint is asked again as soon as one that is ill.
    pub(crate) fn is_presumed(&self) -> bool {
        self.presumed
    }

    /// The same with the program's word on it. One that lets the call be made again knows that it
    /// has used nothing up.
    pub(super) fn reclassified(self, class: FailureClass) -> Self {
        let spent = match (self.spent, class) {
            (Spent::Yes, FailureClass::Transient) => Spent::Maybe,
            (spent, _) => spent,
        };
        Self { class, spent, presumed: false, ..self }
    }

    /// Adds the error behind this one, if none is known.
    pub(super) fn or_source(mut self, source: BoxError) -> Self {
        self.source.get_or_insert(source);
        self
    }

    /// What the failure means.
    pub fn class(&self) -> FailureClass {
        self.class
    }

    /// Whether the server used the refresh token.
    pub fn spent(&self) -> Spent {
        self.spent
    }

    /// The machine-readable code, if the server sent one: `invalid_grant`, or
    /// `authorization_pending` of a device that waits for its user (RFC 8628 §3.5).
    pub fn code(&self) -> Option<&str> {
        self.answer.as_ref()?.code.as_deref()
    }

    /// The HTTP status of the answer, if there was one.
    pub fn status(&self) -> Option<StatusCode> {
        self.answer.as_ref()?.status
    }

    /// What the server said in its own words, as it may be shown: one short line without the
    /// secrets that were sent or received.
    pub fn said(&self) -> Option<&str> {
        self.answer.as_ref()?.said.as_deref()
    }

    /// The new refresh token, if the answer had one although it had no usable access token.
    pub fn rotated(&self) -> Option<&RefreshToken> {
        self.answer.as_ref()?.rotated.as_ref()
    }

    /// How long the server wants no further call.
    pub fn retry_after(&self) -> Option<Duration> {
        self.answer.as_ref()?.retry_after
    }

    pub(super) fn new(class: FailureClass, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            class,
            message: message.into(),
            spent: Spent::Maybe,
            presumed: false,
            answer: None,
            source: None,
        }
    }

    /// Says more in the message.
    pub(super) fn explained(mut self, more: fmt::Arguments<'_>) -> Self {
        self.message = format!("{}; {more}", self.message).into();
        self
    }

    fn details(&mut self) -> &mut Details {
        self.answer.get_or_insert_default()
    }
}

impl fmt::Debug for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("EndpointError");
        debug
            .field("class", &self.class)
            .field("message", &self.message)
            .field("spent", &self.spent);
        if let Some(answer) = &self.answer {
            debug
                .field("code", &answer.code)
                .field("status", &answer.status)
                .field("said", &answer.said)
                .field("rotated", &answer.rotated)
                .field("retry_after", &answer.retry_after);
        }
        debug.field("source", &self.source).finish()
    }
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(code) = self.code() {
            write!(f, " ({code})")?;
        }
        if let Some(retry_after) = self.retry_after() {
            write!(f, "; it wants no call for {retry_after:?}")?;
        }
        if f.alternate() { write_causes(self, f) } else { Ok(()) }
    }
}

impl error::Error for EndpointError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_own_default_of_what_was_spent() {
        use FailureClass::{InvalidGrant, Misconfigured, Transient};

        for (error, class, spent) in [
            (EndpointError::invalid_grant("over"), InvalidGrant, Spent::No),
            (EndpointError::misconfigured("who?"), Misconfigured, Spent::No),
            (EndpointError::transient("lost"), Transient, Spent::Maybe),
        ] {
            assert_eq!((error.class(), error.spent()), (class, spent));
            let answer = (error.code(), error.status(), error.said(), error.retry_after());
            assert_eq!(answer, (None, None, None, None));
            assert_eq!(error.with_spent(Spent::Yes).spent(), Spent::Yes);
        }
    }

    #[test]
    fn an_error_tells_what_it_was_given_and_prints_no_token() {
        let error = EndpointError::misconfigured("no access token")
            .with_code("slow_down")
            .with_status(StatusCode::IM_A_TEAPOT)
            .with_said("not\nnow, eyJhbGciOi.e30.c2ln")
            .with_rotated(RefreshToken::new("s3cret").unwrap())
            .with_retry_after(Duration::from_secs(7));
        assert_eq!(error.code(), Some("slow_down"));
        assert_eq!(error.status(), Some(StatusCode::IM_A_TEAPOT));
        assert_eq!(error.said(), Some("not now, [redacted]"));
        assert_eq!(error.rotated().unwrap().expose(), "s3cret");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        assert_eq!(error.to_string(), "no access token (slow_down); it wants no call for 7s");
        assert_eq!(format!("{error:#}"), error.to_string(), "there is nothing behind it");
        assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        assert_eq!(error.with_said(" \n").said(), None, "nothing said");
    }
}
