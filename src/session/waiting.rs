//! The shared outcome of one refresh, and how callers wait for it.

use std::{
    fmt,
    future::Future,
    pin::pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::{Either, select};
use tokio::{
    runtime::Handle,
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    Session, flight,
    snapshot::Token,
    state::{Join, Need},
};
use crate::{
    error::{Error, ErrorKind},
    event::Event,
};

/// What everybody who waited for a flight learns.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// This token, even if its life is over by now: it was fetched for those who waited.
    Granted(Token),
    Failed(Error),
    /// Nothing that answers: other tokens were set, or the flight died. Look again.
    Again,
}

/// One refresh under way. Success and failure alike reach all who wait.
pub(super) struct Flight {
    outcome: watch::Sender<Option<Outcome>>,
    replaces: u64,
    progress: Mutex<Progress>,
}

/// What a flight is at, for those who cannot wait for its end.
#[derive(Clone)]
struct Progress {
    stage: &'static str,
    /// What has come of its last attempt.
    error: Option<Error>,
}

impl Flight {
    /// A refresh that is to replace this generation.
    pub(super) fn new(replaces: u64) -> Self {
        let progress = Progress { stage: "it has not begun yet", error: None };
        Self { outcome: watch::Sender::new(None), replaces, progress: Mutex::new(progress) }
    }

    /// Any newer generation that is live will do.
    pub(super) fn replaces(&self) -> u64 {
        self.replaces
    }

    /// Tells everybody; the first word counts.
    pub(super) fn finish(&self, outcome: Outcome) {
        self.outcome.send_if_modified(|told| {
            let first = told.is_none();
            if first {
                *told = Some(outcome);
            }
            first
        });
    }

    /// Says what it is at from now on, as the end of a sentence.
    pub(super) fn is_at(&self, stage: &'static str) {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).stage = stage;
    }

    /// Says what has come of an attempt.
    pub(super) fn has_failed(&self, error: Error) {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).error = Some(error);
    }

    fn progress(&self) -> Progress {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) async fn outcome(&self) -> Outcome {
        match self.outcome.subscribe().wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Outcome::Again),
            Err(_) => Outcome::Again,
        }
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight").finish_non_exhaustive()
    }
}

/// How often a waiting caller looks again when a refresh ended without a word for it, before it
/// gives up. A runtime that is shutting down drops each task that it is given.
pub(super) const RESTARTS: usize = 8;

impl Session {
    pub(super) async fn wait(&self, need: Need) -> Result<Token, Error> {
        if flight::is_own_refresh(&self.shared) {
            return Err(Error::new(
                ErrorKind::Recursion,
                "the token endpoint sends its requests through the session that waits for it: \
                 give it a client without this session's layer",
            ));
        }
        // Pinned here, so that it is in this future once, and not in that of `within` as well.
        let look = pin!(async {
            for _ in 0..RESTARTS {
                let Some(runtime) = self.shared.runtime() else {
                    return self.without_runtime(need);
                };
                let login = self.snapshot().login;
                let flight = match self.join(need, &runtime)? {
                    Join::Ready(token) => return Ok(token),
                    Join::Wait { flight, .. } => flight,
                };
                match flight.outcome().await {
                    // Somebody has logged in or out before we came to hear of it.
                    _ if self.snapshot().login != login => {}
                    Outcome::Granted(token) => return Ok(token),
                    Outcome::Failed(error) => return self.in_spite_of(error, need),
                    Outcome::Again => {}
                }
            }
            let message = "the refresh was cut off again and again: is the runtime shutting down?";
            Err(Error::new(ErrorKind::Unavailable, message))
        });
        let limit = self.shared.config.wait_limit;
        self.within(limit, look).await.unwrap_or_else(|| {
            let message = format!("no access token after {limit:?}; the refresh goes on");
            Err(self.overdue(message))
        })
    }

    /// What a caller learns that has waited too long for the refresh: what that is at, and what
    /// has come of its last attempt.
    pub(super) fn overdue(&self, message: String) -> Error {
        let flight = self.shared.read(|state| state.flight().cloned());
        match flight.map(|flight| flight.progress()) {
            None => Error::new(ErrorKind::TimedOut, message),
            Some(Progress { stage, error: None }) => {
                Error::new(ErrorKind::TimedOut, format!("{message}: {stage}"))
            }
            Some(Progress { stage, error: Some(error) }) => {
                let message = format!("{message} after a failed attempt: {stage}");
                Error::with_source(ErrorKind::TimedOut, message, error)
            }
        }
    }

    /// Decides what to do, and starts the flight if there has to be a new one.
    pub(super) fn join(&self, need: Need, runtime: &Handle) -> Result<Join, Error> {
        self.shared.start_tasks(runtime);
        let (join, refused) = self.shared.change(|state| {
            let known = state.is_condemned();
            let join = state.join(need, &self.shared.config);
            // Told once, however many requests were refused.
            let refused = !known && state.is_condemned();
            (join, refused.then(|| state.id().generation))
        });
        if let Some(generation) = refused {
            self.shared.events.send(Event::Refused { generation });
        }
        if let Ok(Join::Wait { flight, start: true }) = &join {
            self.shared.launch(flight.clone(), runtime);
        }
        join
    }

    /// A failed refresh leaves a live token in use, also for those who waited because it had been
    /// refused: whoever comes a moment later gets it too.
    fn in_spite_of(&self, error: Error, need: Need) -> Result<Token, Error> {
        match need {
            Need::Live => self.shared.read(|state| state.live_token(Instant::now())).ok_or(error),
            Need::Refused(_) | Need::Renewed(_) => Err(error),
        }
    }

    fn without_runtime(&self, need: Need) -> Result<Token, Error> {
        let error = Error::new(
            ErrorKind::NoRuntime,
            "a refresh is needed and there is no Tokio runtime to run it on: call from within \
             one, or give the session a handle with `SessionBuilder::runtime`",
        );
        // Whoever has to log in is better told so.
        let error = self.shared.read(|state| state.ended().cloned()).unwrap_or(error);
        self.in_spite_of(error, need)
    }

    /// `tokio::time::timeout`, but with the session's runtime if the caller is on none.
    pub(super) async fn within<F>(&self, limit: Duration, work: F) -> Option<F::Output>
    where
        F: Future + Unpin,
    {
        let until = Instant::now() + limit;
        if Handle::try_current().is_ok() {
            return timeout_at(until, work).await.ok();
        }
        let Some(runtime) = self.shared.runtime() else {
            return Some(work.await);
        };
        // A task, as it may have ended: then this is over at once, where a timer would panic.
        let mut timer = JoinSet::new();
        timer.spawn_on(async move { sleep_until(until).await }, &runtime);
        match select(work, pin!(timer.join_next())).await {
            Either::Left((output, _)) => Some(output),
            Either::Right(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten thousand requests may wait at once, each with this inside.
    #[test]
    fn who_waits_takes_little_memory() {
        let endpoint = tower::service_fn(async |_| Err::<_, Error>(Error::invalid("none")));
        let session = Session::builder(endpoint).build();
        let size = size_of_val(&session.wait(Need::Live));
        // What waits is in it once. Compilers differ by a few words, and not by a whole copy.
        assert!(size < 720, "{size} bytes");
    }
}
