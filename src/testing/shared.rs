//! What the tasks of an [`AuthServer`](super::AuthServer) and its handle share.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    counts::Counters,
    dialect::Dialect,
    fault::Faults,
    gate::Gate,
    issuer::Issuer,
    ledger::{Issued, Ledger, Policy, Refused},
    refusal::ApiRules,
};

/// What does not change while a server runs.
#[derive(Clone)]
pub(super) struct Settings {
    /// The client that must show up at the OAuth 2.0 endpoint, and its secret unless it is a
    /// public one.
    pub(super) client: Option<(String, Option<String>)>,
    pub(super) send_expires_in: bool,
    pub(super) refuse_early: bool,
    pub(super) dialect: Option<Dialect>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { client: None, send_expires_in: true, refuse_early: false, dialect: None }
    }
}

/// What the server's tasks and its handle share.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) issuer: Issuer,
    pub(super) counters: Counters,
    pub(super) gate: Gate,
    ledger: Mutex<Ledger>,
    faults: Mutex<Faults>,
    api: Mutex<ApiRules>,
}

impl Shared {
    pub(super) fn new(policy: Policy, settings: Settings, issuer: Issuer) -> Self {
        Self {
            settings,
            counters: Counters::default(),
            gate: Gate::default(),
            ledger: Mutex::new(Ledger::new(policy, issuer.clone())),
            faults: Mutex::default(),
            api: Mutex::default(),
            issuer,
        }
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    pub(super) fn api(&self) -> MutexGuard<'_, ApiRules> {
        lock(&self.api)
    }

    pub(super) fn refresh(&self, refresh_token: &str) -> Result<Issued, Refused> {
        let issued = self.ledger().refresh(refresh_token)?;
        self.counters.add(|counts| {
            counts.refreshes += 1;
            counts.within_grace += u64::from(issued.within_grace);
        });
        Ok(issued)
    }

    /// Counts a call that is refused, for its refresh token or for something else. In one step, so
    /// that a test finds a re-use among the rejected.
    pub(super) fn reject(&self, refused: Option<Refused>) {
        self.counters.add(|counts| {
            counts.rejected += 1;
            counts.reuses += u64::from(refused == Some(Refused::Reused));
        });
    }

    pub(super) fn client_credentials(&self) -> Issued {
        let issued = self.ledger().client_credentials();
        self.counters.add(|counts| counts.refreshes += 1);
        issued
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
