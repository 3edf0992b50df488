//! What must be true of the calls to the token endpoint.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;
use tower_refresh::endpoint::{EndpointError, FailureClass, Spent, TokenResponse};

use super::{
    plan::{Keeper, Server, Start},
    process::{Place, Process, TICK, Violations},
    shelf::Shelf,
};

/// What a session asks of a confirmation by default.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Refreshes follow each other by no less than this.
const SPACING: Duration = Duration::from_secs(1);

/// Calls in one refresh.
const ATTEMPTS: usize = 3;

#[derive(Clone)]
pub(crate) struct Judge {
    server: Server,
    keeper: Keeper,
    shelf: Shelf,
    hold: Violations,
    calls: Arc<Mutex<Vec<Call>>>,
}

struct Call {
    process: Arc<Process>,
    token: Option<String>,
    login: u64,
    sent: Instant,
    /// When its caller had an answer or gave up.
    over: Option<Instant>,
    answered: bool,
    /// The server has done nothing, and said so.
    harmless: bool,
    /// It said that it is at work on an earlier call, which is asked again with a back-off.
    in_progress: bool,
    /// When another process called because its lease had lapsed.
    overtaken: Option<Instant>,
}

impl Judge {
    pub(crate) fn new(start: &Start, shelf: Shelf, hold: Violations) -> Self {
        let (server, keeper) = (start.server, start.keeper);
        Self { server, keeper, shelf, hold, calls: Arc::default() }
    }

    fn uses_tokens(&self) -> bool {
        matches!(self.server, Server::Rotates { .. } | Server::AtWork)
    }

    /// A process sends a call.
    pub(crate) fn sent(&self, process: &Arc<Process>, token: Option<&str>) -> Outstanding {
        let known = |process: &Process| process.lock().seen_access.login;
        let login = token.map_or_else(|| known(process), |token| Place::of(token).login);
        self.check_process(process, token);
        self.check_others(process, token, login);
        let mut calls = self.calls.lock().unwrap();
        let now = Instant::now();
        calls.push(Call {
            process: process.clone(),
            token: token.map(str::to_owned),
            login,
            sent: now,
            over: None,
            answered: false,
            harmless: false,
            in_progress: false,
            overtaken: None,
        });
        let own = calls.iter().filter(|call| {
            let own = Arc::ptr_eq(&call.process, process) && call.login == login;
            own && now - call.sent < SPACING && !call.in_progress
        });
        let many = own.count();
        // As many calls are of two refreshes at least.
        self.hold.unless(many <= ATTEMPTS, || {
            format!("{} sends {many} calls within {SPACING:?}", process.name)
        });
        Outstanding { judge: self.clone(), call: calls.len() - 1 }
    }

    fn check_process(&self, process: &Process, token: Option<&str>) {
        let (name, now) = (process.name, Instant::now());
        if self.uses_tokens() && matches!(self.keeper, Keeper::Shared { .. }) {
            let held = self.shelf.last_landing(process);
            let fresh = held.is_some_and(|(at, life)| now < at + (life - life / 3) + TICK);
            self.hold.unless(fresh, || format!("{name} calls without a lease: {held:?}"));
        }
        let state = process.lock();
        self.hold.unless(!state.closed, || format!("{name} calls after its end"));
        let Some(token) = token else { return };
        let (place, told) = (Place::of(token), state.told);
        self.hold.unless(place >= told, || {
            format!("{name} presents {token} although it was told of {told:?}")
        });
        let Some(verdicts) = state.over.get(token).cloned() else { return };
        let first = verdicts[0];
        let by_hand = state.by_hand.1 > 0 || state.by_hand.0.is_some_and(|at| at >= first);
        drop(state);
        // A store that could not be read may hold newer tokens.
        let unread = process.trouble_between(first, now);
        // Each call without an answer is a doubt, and each doubt is a reason to ask once more.
        let doubts = self.doubts(token) + usize::from(self.shelf.is_heir(process));
        let last = *verdicts.last().unwrap_or(&first);
        let confirms = verdicts.len() <= doubts && now + TICK >= last + ATTEMPT_TIMEOUT;
        self.hold.unless(by_hand || unread || confirms, || {
            format!("{name} presents {token} although it was told that it is over")
        });
    }

    /// How many calls with it have had no answer.
    fn doubts(&self, token: &str) -> usize {
        let calls = self.calls.lock().unwrap();
        let with = |call: &&Call| call.token.as_deref() == Some(token) && !call.answered;
        calls.iter().filter(with).count()
    }

    fn check_others(&self, process: &Arc<Process>, token: Option<&str>, login: u64) {
        let (name, now) = (process.name, Instant::now());
        let mut calls = self.calls.lock().unwrap();
        for other in calls.iter_mut().filter(|call| call.login == login) {
            let own = Arc::ptr_eq(&other.process, process);
            let outstanding = other.over.is_none();
            let again = self.uses_tokens() && token == other.token.as_deref();
            let again = again && !other.harmless;
            if !outstanding && (own || !again) {
                continue;
            }
            let given_up = other.over.filter(|_| !other.answered);
            let landed = self.shelf.last_landing(&other.process).map(|(at, _)| at);
            let lapsed = other.overtaken.is_some_and(|at| landed.is_none_or(|landed| landed <= at))
                || self.shelf.has_lapsed((&other.process, other.sent, given_up), process);
            other.overtaken = lapsed.then_some(now);
            // Where nothing is used up, the lease is a courtesy.
            let courtesy = self.server == Server::Credentials
                && (process.trouble_between(process.started, now)
                    || other.process.trouble_between(other.process.started, now));
            let (whose, since) = (other.process.name, now - other.sent);
            // Of a call that was overtaken its own process need not wait for the end either, with the
            // tokens of the other.
            let may_call = !own || (self.uses_tokens() && !again);
            self.hold.unless(may_call && (lapsed || courtesy), || {
                let what = if outstanding { "is calling" } else { "has called" };
                format!("{name} presents {token:?}, with which {whose} {what} since {since:?}")
            });
        }
    }

    /// Whether a call of its newest login is under way: that of an earlier one has no lease.
    pub(crate) fn is_calling(&self, process: &Process) -> bool {
        let login = process.login();
        let calls = self.calls.lock().unwrap();
        let own = |call: &&Call| call.process.name == process.name && call.login >= login;
        calls.iter().filter(own).any(|call| call.over.is_none())
    }

    pub(crate) fn when_called(&self) -> Vec<Instant> {
        self.calls.lock().unwrap().iter().map(|call| call.sent).collect()
    }

    pub(crate) fn last_call(&self, process: &Process) -> Option<Instant> {
        let calls = self.calls.lock().unwrap();
        calls.iter().rfind(|call| call.process.name == process.name).map(|call| call.sent)
    }

    pub(crate) fn may_have_lost_a_rotation(&self, process: &Process) -> bool {
        let calls = self.calls.lock().unwrap();
        calls.iter().any(|call| !call.answered) || self.shelf.is_heir(process)
    }
}

/// A call that is under way.
pub(crate) struct Outstanding {
    judge: Judge,
    call: usize,
}

impl Outstanding {
    /// Its process hears the answer.
    pub(crate) fn answered(self, result: &Result<TokenResponse, EndpointError>) {
        let mut calls = self.judge.calls.lock().unwrap();
        let Call { answered, harmless, in_progress, process, token, .. } = &mut calls[self.call];
        let mut state = process.lock();
        match result {
            Ok(response) => {
                *answered = true;
                let access_token = response.access_token().expose();
                let newest = response.refresh_token().map_or(access_token, |token| token.expose());
                state.told = state.told.max(Place::of(newest));
            }
            Err(error) => {
                *answered = error.spent() == Spent::No;
                *harmless = *answered;
                *in_progress = error.said().is_some();
                let is_over = error.class() == FailureClass::InvalidGrant && error.said().is_none();
                if let Some(token) = token.as_ref().filter(|_| is_over) {
                    state.over.entry(token.clone()).or_default().push(Instant::now());
                }
            }
        }
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        // A dead process waits for ever, and its peers cannot tell.
        let mut calls = self.judge.calls.lock().unwrap();
        let call = &mut calls[self.call];
        if !call.process.is_dead() {
            call.over = Some(Instant::now());
        }
    }
}
