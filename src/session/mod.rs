//! The session: the live tokens of one identity.
//!
//! Read `flight` for the way of a refresh, `state` for what a session knows and each step that
//! changes it, and `snapshot` for what a request reads.

mod backoff;
mod brought;
mod builder;
mod config;
mod failure;
mod flight;
mod lease;
mod reconcile;
mod save;
mod scheme;
mod shared;
mod snapshot;
mod state;
mod stored;
mod tasks;
mod timer;
mod unique;
mod waiting;
mod watch;
mod way_out;
mod window;

use std::{fmt, pin::pin, sync::Arc};

use tokio::time::Instant;

use self::{
    save::Saver,
    shared::Shared,
    state::{Need, State},
    waiting::RESTARTS,
};
use crate::{
    endpoint::{RefreshRequest, TokenResponse},
    error::{BoxError, Error, ErrorKind},
    event::{Event, Events, Status},
    origin::Origin,
    refusal::StepUp,
    token::Tokens,
};

pub(crate) use self::snapshot::{Readiness, Snapshot, Stamp};
pub use self::{builder::SessionBuilder, scheme::AuthScheme, snapshot::Token};

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
///     .tokens(Tokens::from_refresh_token("tGzv3JOkF0")?)
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
/// from `main` while one is under way loses a refresh token that has been spent and not saved yet.
/// [`close`](Self::close) waits for it.
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
}

impl Session {
    /// Starts to build a session that gets its tokens from `endpoint`.
    ///
    /// Any Tower service will do: [`JsonEndpoint`](crate::endpoint::JsonEndpoint),
    /// [`OAuth2Endpoint`](crate::endpoint::OAuth2Endpoint), either inside layers of your choice,
    /// or a `tower::service_fn` of your own.
    pub fn builder<E>(endpoint: E) -> SessionBuilder
    where
        E: tower_service::Service<RefreshRequest, Response = TokenResponse> + Send + 'static,
        E::Error: Into<BoxError>,
        E::Future: Send + 'static,
    {
        SessionBuilder::new(endpoint)
    }

    /// A live access token, after a refresh if that is needed.
    ///
    /// # Errors
    ///
    /// Those of the refresh; all who wait for one refresh get the same.
    pub async fn token(&self) -> Result<Token, Error> {
        match self.snapshot().at(Instant::now()) {
            Readiness::Fresh(token) => return Ok(token.clone()),
            Readiness::Stale(token) => {
                self.refresh_ahead();
                return Ok(token.clone());
            }
            Readiness::LoginRequired(error) => return Err(error.clone()),
            Readiness::Wait => {}
        }
        self.wait(Need::Live).await
    }

    /// Says that the API refused `token`, and waits for one to try instead.
    ///
    /// If there is a newer one already it is returned at once. Otherwise this joins the running
    /// refresh or starts one, and until that is done nobody is given the refused token.
    ///
    /// # Errors
    ///
    /// If there is nothing to try again with: hand the refusal to your caller then. Besides the
    /// errors of the refresh, that is so if `token` belongs to an earlier login, if the endpoint
    /// answered with the same token, in the pause after a failed refresh, and when refusals have
    /// caused too many refreshes lately ([`ErrorKind::Refused`]).
    pub async fn refused(&self, token: &Token) -> Result<Token, Error> {
        self.successor_of(token.stamp()).await
    }

    /// Replaces the access token in use now, although it may still be live. If somebody else is
    /// replacing it, theirs will do.
    ///
    /// It is not held up by the pause after a failure, unless the server asked for that, but no
    /// two refreshes follow each other by less than
    /// [`min_interval`](SessionBuilder::min_interval).
    ///
    /// # Errors
    ///
    /// Those of the refresh.
    pub async fn refresh(&self) -> Result<Token, Error> {
        let seen = self.shared.read(State::stamp);
        self.wait(Need::Renewed(seen)).await
    }

    /// Gets a live token before the first request needs one: for a start that fails early. It reads
    /// the [`store`](SessionBuilder::store), and **refreshes** if what is there has expired or is a
    /// refresh token alone. With it begins what [`keep_fresh`](SessionBuilder::keep_fresh) asks for.
    ///
    /// Without it all that happens at the first request.
    ///
    /// # Errors
    ///
    /// Those of the store and of the refresh.
    pub async fn load(&self) -> Result<(), Error> {
        self.token().await.map(drop)
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
    pub async fn set_tokens(&self, tokens: Tokens) -> Result<(), Error> {
        self.decide(|state| state.set(tokens, &self.shared.config), Event::TokensSet).await
    }

    /// Forgets the tokens, here and in the store, where a *tombstone* tells everybody who shares
    /// it. Requests fail until somebody sets new ones.
    ///
    /// # Errors
    ///
    /// If the store does not take the tombstone in time. Here the tokens are gone all the same,
    /// and saving goes on.
    pub async fn clear(&self) -> Result<(), Error> {
        self.decide(State::clear, Event::Cleared).await
    }

    /// The tokens in use, with what the endpoint sent beside them. `None` if there are none, or if
    /// the store has not been loaded yet.
    pub fn tokens(&self) -> Option<Tokens> {
        self.shared.read(|state| state.tokens().cloned())
    }

    /// How things stand, for a health check: it takes one short lock.
    pub fn status(&self) -> Status {
        self.shared.read(State::status)
    }

    /// What happens to the session from now on. A reader that is slow misses events, and is told
    /// so; it never holds up the session.
    pub fn events(&self) -> Events {
        self.shared.events.subscribe()
    }

    pub(crate) fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.shared.snapshot()
    }

    /// Grows with each new snapshot.
    #[inline]
    pub(crate) fn version(&self) -> u64 {
        self.shared.version()
    }

    /// The origins that its tokens are for. `None` is all.
    #[inline]
    pub(crate) fn origins(&self) -> Option<&[Origin]> {
        self.shared.config.origins.as_deref()
    }

    /// Whether somebody has logged in or out since.
    pub(crate) fn has_outlived(&self, token: &Token) -> bool {
        self.snapshot().has_outlived(token)
    }

    /// Starts a refresh that nobody waits for, if one is due. Without a runtime the old token has
    /// to do for as long as it is live.
    pub(crate) fn refresh_ahead(&self) {
        if let Some(runtime) = self.shared.runtime() {
            self.shared.start_tasks(&runtime);
            self.shared.refresh_ahead(&runtime);
        }
    }

    /// The API wants what no refresh can bring.
    pub(crate) fn step_up_required(&self, step_up: StepUp) {
        let StepUp { acr_values, max_age } = step_up;
        self.shared.events.send(Event::StepUpRequired { acr_values, max_age });
    }

    pub(crate) async fn successor_of(&self, old: Stamp) -> Result<Token, Error> {
        let successor = self.wait(Need::Refused(old)).await?;
        let new = successor.stamp();
        if new.epoch == old.epoch && new.generation > old.generation {
            return Ok(successor);
        }
        Err(Error::new(ErrorKind::Refused, "the token was refused, and there is no other to try"))
    }

    /// Sees to a successor of a refused token, without waiting for it.
    pub(crate) fn refused_in_background(&self, token: Stamp) {
        if let Some(runtime) = self.shared.runtime() {
            let _ = self.join(Need::Refused(token), &runtime);
        }
    }

    /// Lets somebody's decision count at once, and then saves it.
    async fn decide(&self, decide: impl FnOnce(&mut State), event: Event) -> Result<(), Error> {
        let claimed = self.shared.change(|state| {
            decide(state);
            state.claim_saving()
        });
        let saver = claimed.then(|| Saver::new(&self.shared, false));
        self.shared.events.send(event);
        if let Some(saver) = saver {
            saver.start();
        }
        self.saved().await
    }

    /// Waits until memory is saved, for as long as one save may take. Without a runtime nobody else
    /// may be there to do it.
    async fn saved(&self) -> Result<(), Error> {
        let Some(runtime) = self.shared.runtime() else {
            for _ in 0..RESTARTS {
                if self.shared.read(|state| state.unsaved().is_none()) {
                    return Ok(());
                }
                save::once(&self.shared).await?;
            }
            let message = "the token store changes faster than it can be written";
            return Err(Error::new(ErrorKind::Store, message));
        };
        self.shared.start_tasks(&runtime);
        let saved = self.shared.wait_until(|shared| shared.read(|s| s.unsaved().is_none()));
        let saved = pin!(saved);
        let message = "the token store did not take the change in time; saving goes on";
        self.within(self.shared.config.store_timeout, saved)
            .await
            .ok_or_else(|| Error::new(ErrorKind::Store, message))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}
