//! How a caller waits for a token, and for how long.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};

use super::{
    Session,
    cell::Cell,
    refresh,
    single_flight::{Outcome, Progress},
    snapshot::Token,
    state::{Attention, Join, Need, Now, State},
    worker,
};
use crate::error::{Error, ErrorKind};

/// How often a waiting caller looks again when a refresh ended without an outcome for it, before
/// it gives up. A runtime that is shutting down drops each task that it is given.
const RESTARTS: usize = 8;

impl Session {
    /// Waits for what the caller needs, for as long as it may.
    pub(super) async fn wait(&self, need: Need) -> Result<Token, Error> {
        if refresh::is_own_refresh(&self.cell) {
            return Err(Error::new(
                ErrorKind::Recursion,
                "the token endpoint sends its requests through the session that waits for it: \
                 give it a client without this session's layer",
            ));
        }
        match Handle::try_current() {
            Ok(current) => self.wait_inside(need, current).await,
            Err(_) => match self.cell.read(|state| state.ended().cloned()) {
                Some(error) if !need.is_by_hand() => self.or_live_token(error, need),
                _ if self.cell.backend.runtime().is_none() => {
                    self.or_live_token(no_runtime(), need)
                }
                _ => {
                    let wait = move |session: Self| async move {
                        session.wait_inside(need, Handle::current()).await
                    };
                    self.elsewhere(wait).await
                }
            },
        }
    }

    async fn wait_inside(&self, need: Need, current: Handle) -> Result<Token, Error> {
        let (backend, began) = (&self.cell.backend, Instant::now());
        let (runtime, config) = (backend.runtime().unwrap_or(&current), backend.config());
        for _ in 0..RESTARTS {
            let login = self.snapshot().login;
            let (waiters, is_overdue, again) = match self.join(need, runtime)? {
                Join::Ready(token) => return Ok(token),
                Join::Wait { waiters, overdue, again, .. } => (waiters, overdue, again),
            };
            let left = config.wait_limit.saturating_sub(began.elapsed());
            let limit = if is_overdue { left.min(config.attempt_timeout) } else { left };
            let outcome = match timeout(limit, waiters.outcome()).await {
                Ok(outcome) => outcome,
                Err(_elapsed) if limit < left => Outcome::Failed(self.unanswered(limit)),
                Err(_elapsed) => {
                    let limit = config.wait_limit;
                    let message = format!("no access token after {limit:?}; the refresh goes on");
                    return Err(overdue(&self.cell, message));
                }
            };
            match outcome {
                _ if again => {}
                // The log-out that it overcame was found on the way.
                Outcome::Failed(error) if matches!(need, Need::Login(_)) => return Err(error),
                // A login or a log-out came before this caller learned of the outcome.
                _ if self.snapshot().login != login => {}
                Outcome::Granted(token) => return Ok(token),
                Outcome::Failed(error) => return self.or_live_token(error, need),
                Outcome::Superseded => {}
            }
        }
        let message = "the refresh was cut off again and again: is the runtime shutting down?";
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    /// What a caller gets that came when the call was overdue.
    fn unanswered(&self, limit: Duration) -> Error {
        let error = overdue(&self.cell, format!("no access token after another {limit:?}"));
        let message = "a call to the token endpoint is still without an answer";
        Error::with_source(ErrorKind::Unavailable, message, error)
    }

    /// Does the work of a caller that is on no runtime, on the one that was named.
    pub(super) async fn elsewhere<T, F>(&self, work: impl FnOnce(Self) -> F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let runtime = self.cell.backend.runtime().ok_or_else(no_runtime)?;
        runtime.spawn(work(self.clone())).await.unwrap_or_else(|_ended| {
            let message = "the runtime that was named for the session has ended";
            Err(Error::new(ErrorKind::Unavailable, message))
        })
    }

    /// Decides what to do, and starts the refresh if there has to be a new one.
    pub(super) fn join(&self, need: Need, runtime: &Handle) -> Result<Join, Error> {
        let config = self.cell.backend.config();
        let (join, worker) =
            self.cell.apply(|state, now| (state.join(need, config, now), state.claim_worker()));
        if worker {
            worker::start(&self.cell, runtime, refresh::start);
        }
        let mut join = join?;
        if let Join::Wait { start, .. } = &mut join
            && let Some(started) = start.take()
        {
            refresh::start(&self.cell, started, runtime);
        }
        Ok(join)
    }

    /// A failed refresh leaves a live token in use, also for those who waited because it had been
    /// refused: a caller that comes a moment later gets it too.
    fn or_live_token(&self, error: Error, need: Need) -> Result<Token, Error> {
        match need {
            Need::Live => self.cell.read(|state| state.live_token(&Now::read())).ok_or(error),
            _ => Err(error),
        }
    }
}

/// Starts what is due and no caller waits for.
pub(super) fn attend(cell: &Arc<Cell>, runtime: &Handle) {
    let Attention { refresh, worker } = cell.apply(State::attend);
    if worker {
        worker::start(cell, runtime, refresh::start);
    }
    if let Some(started) = refresh {
        refresh::start(cell, started, runtime);
    }
}

/// What a caller learns that has waited too long: what the refresh waits for, and its last failure.
pub(super) fn overdue(cell: &Cell, message: String) -> Error {
    let waiters = cell.read(|state| state.waiters().cloned());
    let Some(Progress { stage, error }) = waiters.map(|waiters| waiters.progress()) else {
        return Error::new(ErrorKind::TimedOut, message);
    };
    let stage = stage.of(cell.backend.endpoint_name());
    match error {
        None => Error::new(ErrorKind::TimedOut, format!("{message}: {stage}")),
        Some(error) => {
            let message = format!("{message} after a failed attempt: {stage}");
            Error::with_source(ErrorKind::TimedOut, message, error)
        }
    }
}

pub(super) fn no_runtime() -> Error {
    Error::new(
        ErrorKind::NoRuntime,
        "there is no Tokio runtime to run this on: call from within one, or give the session a \
         handle with `SessionBuilder::runtime`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten thousand requests may wait at once, each with this inside, and there may be thousands of
    /// sessions.
    #[test]
    fn a_waiting_caller_and_an_idle_session_take_little_memory() {
        let endpoint = tower::service_fn(async |_| Err::<_, Error>(Error::invalid("none")));
        let session = Session::builder(endpoint).build();
        let waiting = size_of_val(&session.wait(Need::Live));
        // What waits is in it once. Compilers differ by a few words, and not by a whole copy.
        assert!(waiting < 720, "{waiting} bytes");
        let idle = size_of_val(&*session.cell);
        assert!(idle < 1250, "{idle} bytes");
    }
}
