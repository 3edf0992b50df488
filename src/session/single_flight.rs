//! The outcome of one refresh, which all who need it share.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::SetOnce;

use super::{endpoint::EndpointName, snapshot::Token};
use crate::error::Error;

/// What the waiting callers learn.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// This token, even if its life is over by now: it was fetched for those who waited.
    Granted(Token),
    Failed(Error),
    /// Other tokens were set, or the task ended with its runtime: look again.
    Superseded,
}

/// The callers of one refresh, and how far it is. It knows no token endpoint and no store.
pub(super) struct Waiters {
    outcome: SetOnce<Outcome>,
    progress: Arc<Mutex<Progress>>,
}

/// For a caller that cannot wait for the end.
#[derive(Clone)]
pub(super) struct Progress {
    pub(super) stage: Stage,
    /// The last failed attempt.
    pub(super) error: Option<Error>,
}

/// What a refresh waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Start,
    Store,
    AnotherProcess,
    Permit,
    Endpoint,
    BackOff,
    Save,
}

impl Waiters {
    pub(super) fn new() -> Self {
        let progress = Progress { stage: Stage::Start, error: None };
        Self { outcome: SetOnce::new(), progress: Arc::new(Mutex::new(progress)) }
    }

    /// For callers of the same refresh that come after an outcome for those before them.
    pub(super) fn successor(&self) -> Self {
        Self { outcome: SetOnce::new(), progress: self.progress.clone() }
    }

    /// Tells all waiting callers. The first outcome counts.
    pub(super) fn finish(&self, outcome: Outcome) {
        let _ = self.outcome.set(outcome);
    }

    pub(super) async fn outcome(&self) -> Outcome {
        self.outcome.wait().await.clone()
    }

    pub(super) fn set_stage(&self, stage: Stage) {
        self.lock().stage = stage;
    }

    pub(super) fn set_error(&self, error: Error) {
        self.lock().error = Some(error);
    }

    pub(super) fn progress(&self) -> Progress {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Waiters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiters").finish_non_exhaustive()
    }
}

impl Stage {
    /// As the end of a sentence.
    pub(super) fn of(self, endpoint: EndpointName<'_>) -> String {
        match self {
            Self::Start => "it has not begun yet".into(),
            Self::Store => "it waits for the token store".into(),
            Self::AnotherProcess => "it waits for another process that refreshes".into(),
            Self::Permit => format!("it waits for a limit around {endpoint}"),
            Self::Endpoint => format!("{endpoint} has not answered"),
            Self::BackOff => format!("{endpoint} is to be called again"),
            Self::Save => "the token store has not taken the new tokens".into(),
        }
    }
}
