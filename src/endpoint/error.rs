use std::{borrow::Cow, error, fmt, time::Duration};

use crate::error::BoxError;

/// What a failed call to a token endpoint means for the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureClass {
    /// The refresh token is over (`invalid_grant`): somebody has to log in again.
    Grant,
    /// The call will not succeed as it is configured (`invalid_client`, a 404): tried again after
    /// minutes, or by hand.
    Rejected,
    /// It may work next time.
    Transient,
}

/// Why a token endpoint gave no token.
///
/// An endpoint of your own returns this (in a [`BoxError`]) to say what its failure means. Any
/// other error counts as [transient](FailureClass::Transient), and as one that may have spent the
/// refresh token.
#[must_use = "an error does nothing before it is returned"]
pub struct EndpointError {
    class: FailureClass,
    message: Cow<'static, str>,
    code: Option<String>,
    retry_after: Option<Duration>,
    may_have_spent: bool,
    source: Option<BoxError>,
}

impl EndpointError {
    /// The refresh token is expired, revoked, spent or missing: no call will bring a token until
    /// somebody logs in again.
    pub fn grant(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(FailureClass::Grant, message, false)
    }

    /// The endpoint refused the call for good: a wrong client secret, a wrong URL.
    pub fn rejected(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(FailureClass::Rejected, message, false)
    }

    /// It may work next time.
    ///
    /// The server may have taken the call before it went wrong, so the refresh token counts as
    /// possibly spent unless [`not_spent`](Self::not_spent) says otherwise.
    pub fn transient(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(FailureClass::Transient, message, true)
    }

    /// What a grant that needs a refresh token answers to a session that has none.
    pub(super) fn no_refresh_token() -> Self {
        Self::grant("there is no refresh token to spend: somebody has to log in")
    }

    /// Says that the server has certainly not spent the refresh token: nothing was sent, or it
    /// answered that it did nothing.
    pub fn not_spent(mut self) -> Self {
        self.may_have_spent = false;
        self
    }

    /// Adds the machine-readable code, such as RFC 6749's `error`.
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Says how long the server wants to be left alone.
    pub fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = Some(retry_after);
        self
    }

    /// Adds the error behind this one.
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the failure means.
    pub fn class(&self) -> FailureClass {
        self.class
    }

    /// The machine-readable code, if the server sent one.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// How long the server wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether the server may have spent the refresh token before the call failed.
    pub fn may_have_spent(&self) -> bool {
        self.may_have_spent
    }

    fn new(
        class: FailureClass,
        message: impl Into<Cow<'static, str>>,
        may_have_spent: bool,
    ) -> Self {
        Self {
            class,
            message: message.into(),
            code: None,
            retry_after: None,
            may_have_spent,
            source: None,
        }
    }
}

impl fmt::Debug for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointError")
            .field("class", &self.class)
            .field("message", &self.message)
            .field("code", &self.code)
            .field("retry_after", &self.retry_after)
            .field("may_have_spent", &self.may_have_spent)
            .field("source", &self.source)
            .finish()
    }
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{} ({code})", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl error::Error for EndpointError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
