use std::{borrow::Cow, error, fmt, io, iter, sync::Arc};

/// The boxed error of Tower's middlewares.
pub type BoxError = Box<dyn error::Error + Send + Sync>;

/// Why there is no live access token, or why a piece of input cannot be used.
///
/// `{}` is one line on what went wrong. `{:#}` adds what was behind it, which is where the server's
/// own words and those of the operating system are.
///
/// Cheap to clone: all callers that waited for one refresh get the same error. A
/// [`Refresh`](crate::Refresh) service returns it boxed, as Tower's own middlewares do;
/// [`Error::find`] digs it out again.
#[derive(Clone)]
pub struct Error {
    inner: Arc<Inner>,
}

struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    source: Option<BoxError>,
}

/// What kind of fault an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A token, a URL or another input that cannot be used as it is.
    InvalidInput,
    /// The token would have travelled unencrypted to a host that is not loopback.
    Plaintext,
    /// A rule needs to know where the request goes, and neither its URI nor the layer says so.
    UnknownOrigin,
    /// The token would have reached another origin than those that it is for.
    WrongOrigin,
    /// The grant is over: the user has to log in again, and new tokens have to be set.
    LoginRequired,
    /// The token endpoint refuses the call as it is configured: a fault of configuration, such as
    /// a wrong client secret or a wrong URL.
    Misconfigured,
    /// The token endpoint could not be reached or did not give a usable answer.
    Unavailable,
    /// The token store could not be read or written.
    Store,
    /// The store holds the tokens of another identity, or tokens that are encrypted: nothing of them
    /// is used, sent or replaced.
    ForeignRecord,
    /// The caller has waited for as long as it may; the refresh goes on without it.
    TimedOut,
    /// The token was refused, and there is no other to try.
    TokenRefused,
    /// There is no Tokio runtime to run the refresh on.
    NoRuntime,
    /// The session was closed.
    Closed,
    /// The token endpoint's own HTTP goes through the session that waits for it.
    Recursion,
}

impl Error {
    /// What kind of fault this is.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// Whether the user has to log in again before requests can be signed.
    pub fn is_login_required(&self) -> bool {
        self.kind() == ErrorKind::LoginRequired
    }

    /// Whether the program is at fault and has to be changed: an input that cannot be used, a rule
    /// that forbids the request, no runtime, an endpoint that waits for itself.
    pub fn is_misuse(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::InvalidInput
                | ErrorKind::Plaintext
                | ErrorKind::UnknownOrigin
                | ErrorKind::WrongOrigin
                | ErrorKind::NoRuntime
                | ErrorKind::Recursion
        )
    }

    /// Whether trying again later may help without any intervention.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind(), ErrorKind::Unavailable | ErrorKind::Store | ErrorKind::TimedOut)
    }

    /// Finds the `Error` in `error` or in the chain of its sources, however deep other
    /// middlewares have wrapped it.
    ///
    /// An error type of your own that wraps a [`BoxError`] is to return it as its `source`
    /// (thiserror's `#[source]`). One that poses as what it wraps (`#[error(transparent)]`) skips
    /// it in the chain.
    pub fn find<'a>(error: &'a (dyn error::Error + 'static)) -> Option<&'a Error> {
        chain(error).find_map(|error| error.downcast_ref())
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { inner: Arc::new(Inner { kind, message: message.into(), source: None }) }
    }

    pub(crate) fn with_source(
        kind: ErrorKind,
        message: impl Into<Cow<'static, str>>,
        source: impl Into<BoxError>,
    ) -> Self {
        let source = Some(source.into());
        Self { inner: Arc::new(Inner { kind, message: message.into(), source }) }
    }

    pub(crate) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }
}

/// An error and all that is behind it.
pub(crate) fn chain<'a>(
    error: &'a (dyn error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn error::Error + 'static)> {
    iter::successors(Some(error), |error| source(*error))
}

fn source<'a>(error: &'a (dyn error::Error + 'static)) -> Option<&'a (dyn error::Error + 'static)> {
    // Its own `source` skips the error that it was made of.
    if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        return Some(inner);
    }
    #[cfg(feature = "reqwest-middleware")]
    if let Some(reqwest_middleware::Error::Middleware(inner)) = error.downcast_ref() {
        // It is transparent: its own `source` would skip the very error that it carries.
        let inner: &(dyn error::Error + 'static) = inner.as_ref();
        return Some(inner);
    }
    error.source()
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Error");
        debug.field("kind", &self.inner.kind).field("message", &self.inner.message);
        if let Some(source) = &self.inner.source {
            debug.field("source", source);
        }
        debug.finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)?;
        if f.alternate() { write_causes(self, f) } else { Ok(()) }
    }
}

/// `: ` and its message for each error behind this one.
pub(crate) fn write_causes(
    error: &(dyn error::Error + 'static),
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    chain(error).skip(1).try_for_each(|cause| write!(f, ": {cause}"))
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.inner.source.as_deref().map(|source| source as _)
    }
}

impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}
