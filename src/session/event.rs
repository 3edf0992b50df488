//! What operators see of a session.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::SystemTime,
};

use futures_core::{Stream, stream::BoxStream};
use futures_util::StreamExt;

use crate::error::{Error, ErrorKind};

/// Something that happened to a session. No event holds a secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// There is a new access token, from the endpoint or (`adopted`) from the store.
    #[non_exhaustive]
    Refreshed {
        /// The generation of the new token.
        generation: u64,
        /// Whether another process had obtained it, and this session found it in the store.
        adopted: bool,
    },
    /// A refresh brought no token; if [`ErrorKind::LoginRequired`], none will before a user logs
    /// in again.
    #[non_exhaustive]
    RefreshFailed {
        /// What the waiting callers get.
        error: Error,
    },
    /// The API refused the current token before it expired.
    #[non_exhaustive]
    Refused {
        /// The generation of the refused token.
        generation: u64,
    },
    /// The API wants a stronger or a more recent login than the token stands for (RFC 9470): no
    /// refresh cures that.
    #[non_exhaustive]
    StepUpRequired {
        /// The authentication contexts, any of which would do.
        acr_values: Option<String>,
        /// The seconds since the login at most.
        max_age: Option<u64>,
    },
    /// A call to the endpoint may have spent the refresh token and its answer was lost; the
    /// endpoint has now refused the same refresh token. A user has to log in again.
    RotationLost,
    /// The tokens in use could not be saved; saving is tried again until it succeeds.
    #[non_exhaustive]
    SaveFailed {
        /// Why.
        error: Error,
    },
    /// What could not be saved earlier is saved now.
    Saved,
    /// New tokens were set.
    TokensSet,
    /// A call to the login endpoint brought tokens: at the first start, after the end of the grant,
    /// or by [`Session::log_in`](crate::Session::log_in).
    LoggedIn,
    /// The session was logged out, here or by another process.
    LoggedOut,
    /// The reader was slow, and this many events before the next one are gone.
    #[non_exhaustive]
    Lagged {
        /// How many.
        skipped: u64,
    },
}

impl Event {
    /// Whether a user has to log in again.
    pub fn is_login_required(&self) -> bool {
        matches!(self, Event::RefreshFailed { error } if error.kind() == ErrorKind::LoginRequired)
    }
}

/// The events of a session from now on; see [`Session::events`](crate::Session::events).
///
/// ```
/// # use tower_refresh::{BoxError, Event, Session, Tokens, testing::GatedEndpoint};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let tokens = Tokens::from_refresh_token("r")?;
/// # let session = Session::builder(GatedEndpoint::new()).initial_tokens(tokens).build();
/// let mut events = session.events();
/// tokio::spawn(async move {
///     while let Some(event) = events.next().await {
///         if event.is_login_required() {
///             eprintln!("a user has to log in: {event:?}");
///         }
///     }
/// });
/// # Ok(())
/// # }
/// ```
///
/// It is a [`Stream`] too, for those who combine it with others.
#[must_use = "events are there to be read"]
pub struct Events(pub(super) BoxStream<'static, Event>);

impl Events {
    /// Those of a member of a set.
    #[cfg(feature = "sessions")]
    pub(crate) fn of(events: BoxStream<'static, Event>) -> Self {
        Self(events)
    }

    /// Waits for the next event; `None` when the last clone of the session is gone. No event is
    /// lost if this is dropped while it waits.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.next().await
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.poll_next_unpin(cx)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// How things stand with a session; see [`Session::status`](crate::Session::status).
#[derive(Clone, Debug)]
pub struct Status {
    pub(crate) generation: u64,
    pub(crate) live: bool,
    pub(crate) expires_at: Option<SystemTime>,
    pub(crate) refreshing: bool,
    pub(crate) login_required: bool,
    pub(crate) login_required_since: Option<SystemTime>,
    pub(crate) failing_since: Option<SystemTime>,
    pub(crate) error: Option<Error>,
    pub(crate) unsaved: bool,
}

impl Status {
    /// Grows with each new access token; 0 before the first.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether there is a token that a request may be sent with now.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// When the token in use expires, by the wall clock; `None` if nothing says so.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.expires_at
    }

    /// Whether a refresh is under way.
    pub fn is_refreshing(&self) -> bool {
        self.refreshing
    }

    /// Whether new tokens have to be set, after a log-in, before there can be another access token.
    pub fn is_login_required(&self) -> bool {
        self.login_required
    }

    /// When the server said that the grant is over, or last said so again. It is in the store, so
    /// it may have been said to another process, or to an earlier run. `None` if there is no need
    /// to log in, and after a log-out.
    pub fn login_required_since(&self) -> Option<SystemTime> {
        self.login_required_since
    }

    /// When the first of the refreshes failed that have failed in a row; `None` after one that
    /// succeeded. A live token serves meanwhile.
    pub fn failing_since(&self) -> Option<SystemTime> {
        self.failing_since
    }

    /// Why a log-in is required, or why refreshes fail. `None` if neither is so.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// Whether tokens are in use that the store does not have yet.
    pub fn is_unsaved(&self) -> bool {
        self.unsaved
    }
}
