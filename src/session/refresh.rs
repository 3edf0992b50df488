//! The way of a refresh.
//!
//! A refresh is a task of its own, so no caller can cancel it, and the same task calls, renews,
//! saves and publishes: an answer never crosses a task. In order:
//!
//! 1. load the store and decide (`reconcile`, and `state/replica` for what a record means);
//! 2. ready a clone of the endpoint, with nothing leased while a permit is waited for;
//! 3. lease the record (`lease`), and renew that until the end;
//! 4. call the endpoint;
//! 5. **save first, publish second** (`save`): who sees the new token can find it in the store;
//! 6. tell all who waited the one outcome, success or failure (`state/outcome`).

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tower::ServiceExt;
use tower_service::Service;

use super::{
    backend::TokenEndpoint,
    backoff,
    cell::Cell,
    config::{Config, RETRY_AFTER_LIMIT},
    failure::{Failure, Verdict},
    lease::Lease,
    reconcile::{load, reconcile},
    round::Refresh,
    save::{Saved, save},
    single_flight::{Stage, Waiters},
    state::{Base, Compared, Started, State, Then, Ticket},
    worker,
};
use crate::{
    endpoint::{FailureClass, RefreshRequest, Spent, TokenResponse},
    store::StoredFor,
    token::Tokens,
};

tokio::task_local! {
    /// The sessions whose refreshes this task runs for, outermost first. An endpoint whose own HTTP
    /// waits for one of them would wait for ever.
    static REFRESHING: Arc<[u64]>;
}

/// Whether the caller is, somewhere up its stack, the refresh that it is about to wait for.
pub(super) fn is_own_refresh(cell: &Cell) -> bool {
    let session = cell.read(State::id).session;
    REFRESHING.try_with(|sessions| sessions.contains(&session)).unwrap_or(false)
}

/// Starts the task of a refresh that is in the slot by now.
pub(super) fn start(cell: &Arc<Cell>, started: Started, runtime: &Handle) {
    let id = cell.read(State::id);
    let outer = REFRESHING.try_with(Arc::clone).unwrap_or_default();
    let sessions = outer.iter().copied().chain([id.session]).collect();
    cell.task_started();
    let task = RefreshTask { cell: cell.clone(), ticket: started.ticket };
    let refresh = REFRESHING.scope(sessions, run(task, started.waiters));
    #[cfg(feature = "tracing")]
    let refresh = tracing::Instrument::instrument(refresh, cell.backend.span(id.generation.into()));
    runtime.spawn(refresh);
}

async fn run(task: RefreshTask, waiters: Arc<Waiters>) {
    let began = Instant::now();
    let cell = &task.cell;
    let refresh = Refresh { cell, ticket: task.ticket, waiters: &waiters };
    let run = AssertUnwindSafe(refresh.run()).catch_unwind();
    if run.await.is_err() {
        refresh.fail(Failure::panicked(cell.backend.endpoint_name()));
    }
    cell.backend.refresh_took(began.elapsed());
}

/// A refresh that is about to start or under way. If this is dropped before there is an outcome
/// (the runtime is gone), those who wait start another.
struct RefreshTask {
    cell: Arc<Cell>,
    ticket: Ticket,
}

impl Drop for RefreshTask {
    fn drop(&mut self) {
        self.cell.apply(|state, _| state.abandon(self.ticket));
        self.cell.task_ended();
    }
}

impl Refresh<'_> {
    async fn run(&self) {
        if let Some(at) = self.cell.read(State::not_before) {
            sleep_until(at).await;
        }
        let mut lease = Lease::new(self.cell, self.ticket);
        if let Err(failure) = self.attempts(&mut lease).await {
            let failure = self.record_end(failure, &mut lease).await;
            self.fail(failure);
        }
        lease.end().await;
        worker::hand_over(self.cell, start).await;
    }

    async fn attempts(&self, lease: &mut Lease<'_>) -> Result<(), Failure> {
        let config = self.cell.backend.config();
        let mut delays = backoff::delays(config.backoff);
        let mut round = Round::new(config);
        loop {
            let Some((mut base, endpoint)) = self.prepare(lease).await? else { return Ok(()) };
            round.attempts += 1;
            let answered = self.call(endpoint, &base, lease).await;
            round.may_go_on &= round.attempts < config.attempts && !lease.is_lost();
            let failure = match answered {
                Ok(mut response) => {
                    base.issued_for = response.take_issued_for();
                    let (old, then) = match base.logs_in {
                        // Nothing of a grant that is over is kept.
                        true => (&Tokens::default(), Then::LogIn),
                        false => (&base.tokens, Then::Publish),
                    };
                    let tokens = response.into_tokens(old, Instant::now());
                    match save(self, &base, tokens, lease, then).await {
                        Saved::Done => return Ok(()),
                        // Another process has saved: its tokens count, and ours are dropped.
                        Saved::Superseded if round.attempts < MOST_ATTEMPTS => continue,
                        Saved::Superseded => return self.follow(Failure::conflict(), &base).await,
                    }
                }
                Err(failure) => failure,
            };
            self.waiters.set_error(failure.error.clone());
            if let Some(refresh_token) = failure.rotated.clone() {
                let tokens = Tokens { refresh: Some(refresh_token), ..base.tokens.clone() };
                save(self, &base, tokens, lease, Then::Keep).await;
                return Err(failure);
            }
            let next = match lease.during(self.judge(failure, &base, &mut round)).await {
                Err(failure) if lease.is_lost() => return self.follow(failure, &base).await,
                judged => judged?,
            };
            let pause = match next {
                Next::Now => continue,
                Next::After(asked) => asked,
                Next::BackOff => delays.next().unwrap_or(config.backoff.1),
            };
            self.set_stage(Stage::BackOff);
            lease.during(sleep(pause)).await;
            if self.cell.read(State::is_closed) {
                return Err(Failure::closed());
            }
        }
    }

    /// The end of a refresh that may start no further attempt, because another process was at work
    /// as well: what that has brought serves, or else this refresh has failed.
    async fn follow(&self, failure: Failure, base: &Base) -> Result<(), Failure> {
        match reconcile(self).await {
            Ok(None) => Ok(()),
            // It says nothing of these tokens.
            Ok(Some(found)) if found.tokens.refresh != base.tokens.refresh => {
                Err(Failure::conflict())
            }
            _ => Err(failure),
        }
    }

    /// The end of a grant is saved before it is told, in the place of the lease.
    async fn record_end(&self, failure: Failure, lease: &mut Lease<'_>) -> Failure {
        let Some(ended) = failure.ended() else { return failure };
        if self.cell.read(State::is_logged_out) {
            return failure;
        }
        match lease.end_grant(ended).await {
            Some(is_recorded) => failure.recorded(is_recorded),
            // Another process has other tokens by now.
            None => Failure::conflict(),
        }
    }

    /// Brings memory and store together, readies a clone of the endpoint, and leases the record.
    /// `None` if the refresh has ended.
    async fn prepare(
        &self,
        lease: &mut Lease<'_>,
    ) -> Result<Option<(Base, TokenEndpoint)>, Failure> {
        for _ in 0..MOST_ATTEMPTS {
            self.set_stage(Stage::Store);
            let held = lease.version();
            // The lease of an earlier attempt is renewed also while the store is slow to answer.
            let base = lease.during(reconcile(self)).await?;
            let Some(mut base) = base else { return Ok(None) };
            let is_leased = held.is_some() && [held, lease.version()].contains(&base.version);
            self.set_stage(Stage::Permit);
            let login = self.cell.backend.login().filter(|_| base.logs_in);
            let mut endpoint = login.unwrap_or_else(|| self.cell.backend.endpoint());
            if let Err(error) = lease.during(endpoint.ready()).await {
                return Err(Failure::unready(error, self.cell.backend.endpoint_name()));
            }
            if is_leased {
                // Renewed since it was loaded.
                base.version = lease.version().or(base.version);
            }
            if !self.cell.read(|state| state.is_current(self.ticket)) {
                return Ok(None);
            }
            let taken = lease.take(&base).await?;
            // A login or a log-out may have come meanwhile.
            if !self.cell.read(|state| state.is_current(self.ticket)) {
                return Ok(None);
            }
            if self.cell.read(State::is_closed) {
                return Err(Failure::closed());
            }
            if taken {
                return Ok(Some((base, endpoint)));
            }
            // The clone is dropped, which gives its readiness back.
            drop(endpoint);
            sleep(Duration::from_millis(100).mul_f64(0.1 + 0.9 * fastrand::f64())).await;
        }
        Err(Failure::conflict())
    }

    /// One call on a clone of the endpoint.
    async fn call(
        &self,
        mut endpoint: TokenEndpoint,
        base: &Base,
        lease: &mut Lease<'_>,
    ) -> Result<TokenResponse, Failure> {
        self.set_stage(Stage::Endpoint);
        let refresh_token = base.tokens.refresh_token().filter(|_| !base.logs_in).cloned();
        let presented = refresh_token.is_some() || base.logs_in;
        let has_worked = base.tokens.issued || self.cell.read(State::has_worked);
        let scheme = self.cell.backend.config().scheme.unusual();
        let (uses, was_in_doubt) = self.cell.apply(|state, _| {
            state.note_call(self.ticket);
            let uses = refresh_token.is_some() && state.uses_refresh_token();
            let was_in_doubt = state.is_in_doubt() && !base.logs_in;
            if uses {
                // Until the answer is here. If this task dies with its runtime, the next one knows.
                state.set_in_doubt(self.ticket, true);
            }
            (uses, was_in_doubt)
        });
        let session = self.cell.read(State::id).session;
        let mut request = RefreshRequest::new(refresh_token)
            .of_session(session)
            .with_history(has_worked)
            .with_scheme(scheme);
        if !base.logs_in && self.cell.read(State::is_anonymous) {
            let names = base.record.issued_for().into_iter().flat_map(StoredFor::names);
            request = names.fold(request, RefreshRequest::with_issued_for);
        }
        let call = endpoint.call(request);
        drop(endpoint);
        let answer = match uses {
            true => lease.during(self.patient(call)).await,
            false => lease.during(self.impatient(call)).await,
        };
        let mut failure = match answer {
            Some(Ok(response)) => {
                self.cell.apply(|state, _| state.set_in_doubt(self.ticket, false));
                return Ok(response);
            }
            Some(Err(error)) if base.logs_in => {
                Failure::of_login(error, self.cell.backend.login_name())
            }
            Some(Err(error)) => Failure::of(error, self.cell.backend.endpoint_name()),
            None => {
                let backend = &self.cell.backend;
                let name = match base.logs_in {
                    true => backend.login_name(),
                    false => backend.endpoint_name(),
                };
                Failure::timed_out(backend.config().attempt_timeout, name)
            }
        };
        if base.tokens.refresh_token().is_none() && failure.class == FailureClass::InvalidGrant {
            failure = failure.without_refresh_token(base.tokens.access_token().is_some());
        }
        if !uses {
            failure.used = Spent::No;
        }
        (failure.was_in_doubt, failure.presented) = (was_in_doubt, presented);
        self.cell.apply(|state, _| match failure.used {
            Spent::Maybe | Spent::Yes => state.set_doubt_cause(self.ticket, &failure.error),
            Spent::No if was_in_doubt => {}
            Spent::No => state.set_in_doubt(self.ticket, false),
        });
        Err(failure)
    }

    /// The answer to a call that uses nothing up: the time-out ends it.
    async fn impatient<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        within(self.cell.backend.config().attempt_timeout, pin!(call)).await
    }

    /// The answer to a call that may use up the refresh token. Presented again it could cost the
    /// login, so the time-out ends the wait of the callers alone, and the call goes on.
    async fn patient<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        let (config, mut call) = (self.cell.backend.config(), pin!(call));
        if let Some(answer) = within(config.attempt_timeout, call.as_mut()).await {
            return Some(answer);
        }
        self.set_overdue();
        within(config.call_limit.saturating_sub(config.attempt_timeout), call).await
    }

    /// What to do after a failed attempt.
    async fn judge(
        &self,
        failure: Failure,
        base: &Base,
        round: &mut Round,
    ) -> Result<Next, Failure> {
        let config = self.cell.backend.config();
        let in_progress = failure.verdict() == Verdict::InProgress;
        match failure.class {
            // A grant that the server works on already is at no end, whichever process asks for it.
            FailureClass::Transient if in_progress && Instant::now() < round.until => Ok(failure
                .retry_after
                .map_or(Next::BackOff, |asked| Next::After(asked.min(RETRY_AFTER_LIMIT)))),
            FailureClass::Transient if in_progress => Err(failure.still_in_progress()),
            FailureClass::InvalidGrant => {
                // Perhaps another process was faster: then its tokens are in the store.
                if self.has_newer_tokens(base).await? && round.attempts < MOST_ATTEMPTS {
                    return Ok(Next::Now);
                }
                match failure.verdict() {
                    Verdict::InProgress if Instant::now() < round.until => {
                        let left = round.until - Instant::now();
                        let asked = failure.retry_after.map(|asked| Next::After(asked.min(left)));
                        Ok(asked.unwrap_or(Next::BackOff))
                    }
                    Verdict::InProgress => Err(failure.still_in_progress()),
                    // The first call may still be at work, and the server says so until it is done.
                    Verdict::Plain if self.is_to_be_confirmed(&failure) => {
                        let asked = failure.retry_after.unwrap_or_default();
                        Ok(Next::After(asked.min(RETRY_AFTER_LIMIT).max(config.attempt_timeout)))
                    }
                    Verdict::Plain | Verdict::Reuse => {
                        let cause = self.cell.read(State::doubt_cause);
                        let has_more = !base.logs_in
                            && self.cell.apply(|state, _| {
                                state.note_verdict(self.ticket, failure.was_in_doubt)
                            });
                        if has_more {
                            // A seed or a login, which has attempts of its own.
                            *round = Round::new(config);
                            return Ok(Next::Now);
                        }
                        Err(failure.with_doubt(cause))
                    }
                }
            }
            FailureClass::Transient if failure.used != Spent::Yes && !failure.held_back => {
                let twice_in_doubt = failure.used == Spent::Maybe && failure.was_in_doubt;
                match failure.retry_after {
                    _ if twice_in_doubt || !round.may_go_on => Err(failure),
                    // Too long to keep the callers waiting: the pause sees to it.
                    Some(asked) if asked > config.backoff.1 => Err(failure),
                    Some(asked) => Ok(Next::After(asked.min(RETRY_AFTER_LIMIT))),
                    None => Ok(Next::BackOff),
                }
            }
            _ => Err(failure),
        }
    }

    /// Whether the end of the grant is asked for once more: the first such verdict after a call
    /// without an answer, in whichever refresh it comes.
    fn is_to_be_confirmed(&self, failure: &Failure) -> bool {
        failure.was_in_doubt && self.cell.apply(|state, _| state.refuse_in_doubt(self.ticket))
    }

    /// Whether the store holds other tokens than those that were refused.
    async fn has_newer_tokens(&self, base: &Base) -> Result<bool, Failure> {
        if !self.cell.backend.is_stored() {
            return Ok(false);
        }
        let config = self.cell.backend.config();
        match load(self.cell).await {
            Ok(stored) => {
                let (from, new) = ((&base.tokens, base.turn), (self.cell.backend.owner(), None));
                let compared =
                    self.cell.read(|state| state.compare(self.ticket, from, stored.as_ref(), new));
                // Another process that calls right now is about to save them.
                Ok(!matches!(compared, Compared::Unchanged { leased_to_another: false, .. }))
            }
            Err(_) if self.cell.read(|state| state.goes_alone(config)) => Ok(false),
            Err(error) => Err(Failure::store(error)),
        }
    }

    fn fail(&self, failure: Failure) {
        let config = self.cell.backend.config();
        let (after, error) = (failure.after(), failure.error.clone());
        self.cell.apply(|state, now| state.fail(self.ticket, error, after, config, now));
    }
}

/// What the attempts of one refresh have in common.
struct Round {
    attempts: u32,
    /// Whether there may be another attempt.
    may_go_on: bool,
    /// How long a server may say that it is still at work.
    until: Instant,
}

impl Round {
    fn new(config: &Config) -> Self {
        let until = Instant::now() + config.call_limit;
        Self { attempts: 0, may_go_on: true, until }
    }
}

/// When the next attempt is due.
enum Next {
    Now,
    BackOff,
    After(Duration),
}

/// However often other processes change the store.
const MOST_ATTEMPTS: u32 = 16;

/// The output, unless it takes longer than `limit`. A timer that fires over a second late was that
/// of a process which stood still: the answer gets the same time once more.
async fn within<F: Future>(limit: Duration, mut work: Pin<&mut F>) -> Option<F::Output> {
    let until = Instant::now() + limit;
    if let Ok(output) = timeout_at(until, work.as_mut()).await {
        return Some(output);
    }
    let was_frozen = until.elapsed() > Duration::from_secs(1);
    match was_frozen {
        true => timeout_at(Instant::now() + limit, work).await.ok(),
        false => None,
    }
}
