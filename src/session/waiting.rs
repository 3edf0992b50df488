//! The shared outcome of one refresh, and how callers wait for it.

use std::fmt;

use tokio::sync::watch;

use super::snapshot::Token;
use crate::error::Error;

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
}

impl Flight {
    /// A refresh that is to replace this generation.
    pub(super) fn new(replaces: u64) -> Self {
        Self { outcome: watch::Sender::new(None), replaces }
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
