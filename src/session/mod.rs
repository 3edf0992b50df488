//! The session: the live tokens of one identity.
//!
//! Read `refresh` for the way of a refresh, in the order that its first lines name; `state` for what
//! a session knows and each step that changes it; and `snapshot` for what a request reads.

mod backend;
mod backoff;
mod builder;
mod cell;
mod config;
mod end;
mod endpoint;
mod event;
mod failure;
mod lease;
#[cfg(feature = "sessions")]
mod member;
mod now;
mod observe;
mod options;
mod reconcile;
mod refresh;
mod refusal;
mod revoke;
mod round;
mod save;
mod scheme;
mod sender;
mod single_flight;
mod snapshot;
mod state;
mod unique;
mod wait;
mod worker;

use std::{fmt, sync::Arc};

use http::Uri;
use tokio::{runtime::Handle, time::Instant};

use self::state::{Need, Now, State};
#[cfg(not(feature = "sessions"))]
use self::{cell::Cell, unique::unique};
use crate::{
    endpoint::{RefreshRequest, TokenResponse},
    error::{BoxError, Error, ErrorKind},
    origin::Origin,
    token::Tokens,
};

#[cfg(feature = "sessions")]
pub(crate) use self::{
    backend::{Backend, Revocation, TokenEndpoint, in_store_time},
    cell::Cell,
    config::Config,
    endpoint::{EndpointName, boxed_endpoint},
    member::{Membership, member_cell},
    observe::Observer,
    options::option_setters,
    state::{Busy, News},
    unique::unique,
};
pub use self::{
    builder::SessionBuilder,
    event::{Event, Events, Status},
    scheme::AuthScheme,
    snapshot::{Token, TokenId},
};
pub(crate) use self::{
    snapshot::{Readiness, Snapshot},
    state::{Refused, Route},
};

/// The live tokens of one identity: the access token in use, how to get the next one, and where
/// to keep it.
///
/// It is built once and shared: every clone is the same session. Give it to as many
/// [`RefreshLayer`](crate::RefreshLayer)s as you like, or use it directly where there is no Tower
/// service, such as for a WebSocket's handshake:
///
/// ```
/// # use tower_refresh::{BoxError, Session, Tokens};
/// # use tower_refresh::endpoint::{RefreshRequest, TokenResponse};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let endpoint = tower::service_fn(|_: RefreshRequest| async { Ok::<_, BoxError>(TokenResponse::new("next")?) });
/// let session = Session::builder(endpoint)
///     .initial_tokens(Tokens::from_refresh_token("tGzv3JOkF0")?)
///     .build();
///
/// let token = session.token().await?;
/// assert_eq!(token.header_value(), "Bearer next");
/// # Ok(())
/// # }
/// ```
///
/// # Ending a program
///
/// A refresh runs in a task of its own, and a task ends with its runtime. A program that returns
/// from `main` while one is under way loses the only refresh token that is still good: the old one
/// is used up, and the new one is not saved yet. [`close`](Self::close) waits for it.
///
/// # Without a Tokio runtime
///
/// [`token`](Self::token) of a live token works. Every method that has to wait is an error
/// ([`ErrorKind::NoRuntime`]) and changes nothing, unless
/// [`SessionBuilder::runtime`] names a runtime.
#[derive(Clone)]
pub struct Session {
    cell: Arc<Cell>,
}

impl Session {
    /// Starts to build a session that gets its tokens from `endpoint`.
    ///
    /// Any Tower service that is `Clone` will do: [`JsonEndpoint`](crate::endpoint::JsonEndpoint),
    /// [`OAuth2Endpoint`](crate::endpoint::OAuth2Endpoint), either inside layers of your choice,
    /// or a `tower::service_fn` of your own. Each call works on a clone of its own: it is readied,
    /// called and dropped, so that no permit of a limit is held while nothing is called.
    pub fn builder<E>(endpoint: E) -> SessionBuilder
    where
        E: tower_service::Service<RefreshRequest, Response = TokenResponse>
            + Clone
            + Send
            + 'static,
        E::Error: Into<BoxError>,
        E::Future: Send + 'static,
    {
        SessionBuilder::new(endpoint)
    }

    /// A live access token, after a refresh if that is needed.
    ///
    /// It compares the monotonic clock with the wall clock: a token that expired while the machine
    /// was suspended is refreshed first, and returned only if that fails for the moment
    /// ([`Error::is_transient`]).
    ///
    /// # Errors
    ///
    /// Those of the refresh; all callers that wait for one refresh get the same.
    /// [`ErrorKind::Unavailable`] after [`attempt_timeout`](SessionBuilder::attempt_timeout) without
    /// an answer, although the call may go on; [`ErrorKind::TimedOut`] after
    /// [`wait_limit`](SessionBuilder::wait_limit); [`ErrorKind::NoRuntime`] outside a Tokio runtime
    /// if there is no live token.
    pub async fn token(&self) -> Result<Token, Error> {
        let token = match self.snapshot().at(Instant::now()) {
            Readiness::Fresh(token) => token.clone(),
            Readiness::Stale(token) => {
                self.refresh_ahead();
                token.clone()
            }
            Readiness::LoginRequired(error) => return Err(error.clone()),
            Readiness::Wait => return self.wait(Need::Live).await,
        };
        // A machine that was suspended may hold a token that has expired meanwhile; but the wall
        // clock is no better a witness, so it is handed out after all if no other can be had now.
        if !self.cell.read(|state| state.has_slept_past_expiry(&Now::read())) {
            return Ok(token);
        }
        match self.wait(Need::Outlived(token.id())).await {
            Err(error) if error.is_transient() || error.kind() == ErrorKind::Closed => Ok(token),
            outcome => outcome,
        }
    }

    /// Waits for the successor of a token that the API has refused ([`Token::id`] says which).
    ///
    /// If there is a newer token already it is returned at once. Otherwise this joins the running
    /// refresh or starts one, and until that has ended no request is sent with the refused token.
    ///
    /// # Errors
    ///
    /// If there is no other token to try: hand the refusal to your caller then. Besides the errors
    /// of the refresh, that is so if the token belongs to an earlier login, if the endpoint answered
    /// with the same token, in the pause after a failed refresh, and when refusals have caused too
    /// many refreshes lately ([`ErrorKind::TokenRefused`]). A token of another session is an error
    /// that changes nothing ([`ErrorKind::InvalidInput`]).
    pub async fn replace(&self, token: TokenId) -> Result<Token, Error> {
        self.successor(Refused { token, route: None, is_retried: true }).await
    }

    async fn successor(&self, refused: Refused) -> Result<Token, Error> {
        let token = refused.token;
        let successor = self.wait(Need::Refused(refused)).await?;
        let new = successor.id();
        if new.is_of_login(&token) && new.generation > token.generation {
            return Ok(successor);
        }
        Err(Error::new(
            ErrorKind::TokenRefused,
            "the token was refused, and there is no other to try",
        ))
    }

    /// Replaces the access token in use now, although it may still be live. If a refresh is under
    /// way, here or in another process, this waits for its token.
    ///
    /// After *login required* it makes one call, and the answer counts: tokens end that state. After
    /// a log-out it makes none. A fault of configuration is asked again at once.
    ///
    /// It is not held up by the pause after a failure, unless the server asked for that, but no
    /// two refreshes follow each other by less than
    /// [`min_interval`](SessionBuilder::min_interval).
    ///
    /// # Errors
    ///
    /// Those of the refresh.
    pub async fn refresh(&self) -> Result<Token, Error> {
        let seen = self.cell.read(State::id);
        self.wait(Need::Renewed(seen)).await
    }

    /// Makes a new login now, at the endpoint of
    /// [`login_with`](SessionBuilder::login_with): the way back after [`log_out`](Self::log_out),
    /// and after a login that was refused, once its credentials are mended. If another process that
    /// shares the store logs in at this moment, its tokens are used.
    ///
    /// It is not held up by the end of the grant, by a log-out or by the pause after a failure,
    /// unless the server asked for that. A refresh under way ends first. A log-out that comes during
    /// the login wins.
    ///
    /// # Errors
    ///
    /// Those of the login: [`ErrorKind::LoginRequired`] if the server refuses it.
    /// [`ErrorKind::InvalidInput`] if the session has no login endpoint.
    pub async fn log_in(&self) -> Result<Token, Error> {
        let seen = self.cell.read(State::id);
        self.wait(Need::Login(seen)).await
    }

    /// Waits until there is a live token, before the first request needs one: for a program that
    /// is to fail at its start. It reads the [`store`](SessionBuilder::store), and **refreshes** if
    /// what is there has expired or is a refresh token alone. From then on
    /// [`keep_fresh`](SessionBuilder::keep_fresh) is at work.
    ///
    /// Without it all that happens at the first request. To look without a call to the endpoint,
    /// there is [`load`](Self::load).
    ///
    /// # Errors
    ///
    /// Those of the store and of the refresh.
    pub async fn ready(&self) -> Result<(), Error> {
        self.token().await.map(drop)
    }

    /// Reads the [`store`](SessionBuilder::store) and says how things stand, without a call to the
    /// token endpoint: "am I logged in?". A log-in or log-out of another process that shares the
    /// store counts from then on.
    ///
    /// # Errors
    ///
    /// Those of the store, and [`ErrorKind::NoRuntime`] outside a Tokio runtime.
    pub async fn load(&self) -> Result<Status, Error> {
        match Handle::try_current() {
            Ok(_) => worker::look(&self.cell).await?,
            Err(_) => {
                let look = |session: Self| async move { worker::look(&session.cell).await };
                self.elsewhere(look).await?;
            }
        }
        Ok(self.status())
    }

    /// Puts new tokens of the *same* identity into use, after a login. Another user is another
    /// session.
    ///
    /// They count from the first poll on, whatever refresh is under way; requests that wait for a
    /// token get the new one.
    ///
    /// # Errors
    ///
    /// If the store does not take them in time. They are in use all the same, and saving goes on.
    /// [`ErrorKind::NoRuntime`] outside a Tokio runtime: then nothing has changed.
    pub async fn set_tokens(&self, tokens: Tokens) -> Result<(), Error> {
        if tokens.is_empty() {
            return Err(Error::invalid(
                "there is neither an access token nor a refresh token to set: to end a session \
                 there is `log_out`",
            ));
        }
        match Handle::try_current() {
            Ok(_) => self.set(tokens).await,
            Err(_) => self.elsewhere(|session| async move { session.set(tokens).await }).await,
        }
    }

    async fn set(&self, tokens: Tokens) -> Result<(), Error> {
        let config = self.cell.backend.config();
        self.decide(|state, now| state.set(tokens, unique(), config, now)).await
    }

    /// The tokens in use, with what the endpoint sent beside them. `None` if there are none, or if
    /// the store has not been loaded yet.
    pub fn tokens(&self) -> Option<Tokens> {
        self.cell.read(|state| state.tokens().cloned())
    }

    /// How things stand, for a health check: it takes one short lock.
    pub fn status(&self) -> Status {
        self.cell.read(|state| state.status(&Now::read()))
    }

    /// What happens to the session from now on. A reader that is slow misses events, and is told
    /// so; it never holds up the session.
    pub fn events(&self) -> Events {
        self.cell.backend.events()
    }

    pub(crate) fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.cell.snapshot()
    }

    /// Grows with each new snapshot.
    #[inline]
    pub(crate) fn version(&self) -> u64 {
        self.cell.version()
    }

    /// The origins that its tokens are for. `None` is all.
    #[inline]
    pub(crate) fn origins(&self) -> Option<&[Origin]> {
        self.cell.origins.as_deref()
    }

    /// Whether they may go to this URI all the same.
    pub(crate) fn reaches(&self, uri: &Uri) -> bool {
        self.cell.backend.reaches(uri)
    }

    /// Whether there was a login or a log-out since.
    pub(crate) fn has_outlived(&self, token: &Token) -> bool {
        self.snapshot().has_outlived(token)
    }

    /// Starts what is due and no caller waits for. Without a runtime the token in use has to do for
    /// as long as it is live.
    pub(crate) fn refresh_ahead(&self) {
        if let Some(runtime) = self.runtime() {
            wait::attend(&self.cell, &runtime);
        }
    }

    /// The API wants what no refresh can bring.
    pub(crate) fn step_up_required(&self, acr_values: Option<String>, max_age: Option<u64>) {
        self.cell.apply(|state, _| state.step_up_required(acr_values, max_age));
    }

    /// The runtime that tasks are started on: the one that was named, or the caller's.
    fn runtime(&self) -> Option<Handle> {
        self.cell.backend.runtime().cloned().or_else(|| Handle::try_current().ok())
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cell.fmt(f)
    }
}

#[cfg(test)]
mod tests;
