//! The way of a refresh.
//!
//! A refresh runs in a task of its own, so no caller can cancel it, and holds an async mutex, so
//! there is one call at a time. In order:
//!
//! 1. take the store's lease, and adopt what the store holds if that is newer;
//! 2. call the endpoint;
//! 3. **save first, publish second**: who sees the new token can find it in the store;
//! 4. tell everybody who waited the one outcome, success or failure.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tower::ServiceExt;
use tower_service::Service;

use super::{
    backoff,
    brought::{Brought, Landing},
    failure::Failure,
    lease::Lease,
    reconcile::{Base, Reconciled, reconcile},
    save,
    shared::Shared,
    state::State,
    waiting::Flight,
};
use crate::endpoint::{FailureClass, RefreshRequest, TokenResponse};

tokio::task_local! {
    /// The session whose refresh this task runs. An endpoint whose own HTTP waits for that very
    /// session would wait for ever.
    static FLYING: u64;
}

/// Whether the caller is, somewhere up its stack, the refresh that it is about to wait for.
pub(super) fn is_own_refresh(shared: &Shared) -> bool {
    FLYING.try_with(|&flying| flying == shared.read(State::id).session).unwrap_or(false)
}

/// Runs one refresh to its end, whoever still waits for it.
pub(super) async fn fly(takeoff: Takeoff) {
    let Takeoff { shared, flight } = &takeoff;
    let round = Round { shared, flight };
    let run = AssertUnwindSafe(round.run()).catch_unwind();
    let start = Instant::now();
    match FLYING.scope(shared.read(State::id).session, run).await {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => shared.fail(flight, failure),
        Err(_panic) => shared.fail(flight, Failure::panicked()),
    }
    shared.events.observer().refresh_took(start.elapsed());
}

/// A flight that is about to start or under way. If it is dropped before it has an outcome (its
/// runtime is gone), who waits for it starts another.
pub(super) struct Takeoff {
    pub(super) shared: Arc<Shared>,
    pub(super) flight: Arc<Flight>,
}

impl Drop for Takeoff {
    fn drop(&mut self) {
        self.shared.change(|state| {
            if state.is_flying(&self.flight) {
                state.crash(&self.flight);
            }
        });
        self.shared.task_ended();
    }
}

struct Round<'a> {
    shared: &'a Arc<Shared>,
    flight: &'a Arc<Flight>,
}

impl Round<'_> {
    async fn run(&self) -> Result<(), Failure> {
        let _turn = self.shared.turn.lock().await;
        if let Some(at) = self.shared.read(State::not_before) {
            sleep_until(at).await;
        }
        self.flight.is_at("it waits for the token store, or for another process that refreshes");
        let Some(lease) = Lease::take(self.shared, self.flight).await? else {
            return Ok(());
        };
        let attempts = self.attempts(&lease);
        let result = lease.renewed_during(lease.third(), attempts).await;
        if let Err(failure) = result {
            self.shared.fail(self.flight, failure);
            self.shared.unmark().await;
        }
        // Tokens that are not saved yet are nobody else's to refresh: whoever saves them gives
        // the lease back.
        if self.shared.read(State::unsaved).is_none() {
            lease.release().await;
        }
        Ok(())
    }

    async fn attempts(&self, lease: &Lease<'_>) -> Result<(), Failure> {
        let config = &self.shared.config;
        let mut delays = backoff::delays(config.backoff);
        let (mut attempt, mut reread) = (0, false);
        loop {
            attempt += 1;
            let base = match reconcile(self.shared, self.flight).await? {
                Reconciled::Over => return Ok(()),
                Reconciled::Base(base) => base,
            };
            self.flight.is_at("the token endpoint has not answered");
            let called = self.call(&base).await;
            let last = attempt >= config.attempts || lease.is_lost();
            let failure = match called {
                Ok(response) => match self.land(&base, response).await {
                    Landing::Down => return Ok(()),
                    // Somebody else has saved: theirs counts, ours is dropped.
                    Landing::Conflict if !last => continue,
                    Landing::Conflict => return Err(Failure::conflict()),
                },
                Err(failure) => failure,
            };
            self.flight.has_failed(failure.error.clone());
            self.flight.is_at("the token endpoint is to be called again");
            match failure.class {
                FailureClass::Misconfigured => return Err(failure),
                FailureClass::InvalidGrant if reread => return Err(failure),
                FailureClass::InvalidGrant => {
                    // Perhaps another process was faster: then its tokens are in the store.
                    reread = true;
                    match reconcile(self.shared, self.flight).await? {
                        Reconciled::Base(now)
                            if now.tokens.refresh_token() == base.tokens.refresh_token() =>
                        {
                            return Err(failure);
                        }
                        _ => continue,
                    }
                }
                FailureClass::Transient if last || failure.final_in_doubt => return Err(failure),
                // The token may be spent and the answer lost. Some servers give the same answer
                // again for a moment, so ask at once, and only once; unless they say when to.
                FailureClass::Transient
                    if failure.may_have_spent && failure.retry_after.is_none() =>
                {
                    continue;
                }
                FailureClass::Transient => {}
            }
            match failure.retry_after {
                // Too long to keep everybody waiting: the pause will see to it.
                Some(asked) if asked > config.backoff.1 => return Err(failure),
                Some(asked) => sleep(asked).await,
                None => sleep(delays.next().unwrap_or(config.backoff.1)).await,
            }
        }
    }

    /// One call on a clone of the endpoint, with one time-out over readiness and answer.
    async fn call(&self, base: &Base) -> Result<TokenResponse, Failure> {
        let refresh_token = base.tokens.refresh_token().cloned();
        let spends = refresh_token.is_some();
        let was_in_doubt = self.shared.read(State::in_doubt);
        let mut called = false;
        let call = async {
            let mut endpoint = self.shared.endpoint.instance();
            endpoint.ready().await?;
            called = true;
            if spends {
                // Until the answer is here. If this task dies with its runtime, the next one knows.
                self.shared.change(|state| state.set_in_doubt(self.flight, true));
            }
            let answer = endpoint.call(RefreshRequest::new(refresh_token));
            drop(endpoint);
            answer.await
        };
        let answer = timeout(self.shared.config.attempt_timeout, call).await;
        let mut failure = match answer {
            Ok(Ok(response)) => {
                self.shared.change(|state| state.set_in_doubt(self.flight, false));
                return Ok(response);
            }
            Ok(Err(error)) => Failure::of(error),
            Err(_elapsed) => Failure::timed_out(self.shared.config.attempt_timeout),
        };
        failure.may_have_spent &= spends && called;
        failure.final_in_doubt = failure.may_have_spent && was_in_doubt;
        failure.rotation_lost = failure.class == FailureClass::InvalidGrant && was_in_doubt;
        let in_doubt = failure.may_have_spent || was_in_doubt;
        self.shared.change(|state| state.set_in_doubt(self.flight, spends && in_doubt));
        Err(failure)
    }

    /// Saves the new tokens, then publishes them. A save that fails does not hold them back: the
    /// old refresh token is worth nothing any more, so these are the only good ones.
    async fn land(&self, base: &Base, response: TokenResponse) -> Landing {
        self.flight.is_at("the token store has not taken the new tokens");
        let tokens = response.into_tokens(&base.tokens, Instant::now());
        let brought = Brought::new(self.shared, self.flight, base, &tokens);
        // Whoever saves what memory holds is not to take ours for another process's.
        let _writing = self.shared.writing.lock().await;
        if !self.shared.read(|state| state.is_flying(self.flight)) {
            return Landing::Down;
        }
        let (version, saved) = save::rotated(self.shared, self.flight, base, &tokens).await;
        match saved {
            Ok(true) => brought.publish(version, None),
            Ok(false) => brought.give_up(),
            Err(error) => brought.publish(version, Some(error)),
        }
    }
}
