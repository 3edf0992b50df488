//! How tokens come into use, and how a flight ends.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Current, Pause, State, Unsaved};
use crate::{
    error::{Error, ErrorKind},
    session::{
        backoff,
        config::Config,
        unique::unique,
        waiting::{Flight, Outcome},
        window::Deadlines,
    },
    store::Record,
    token::Tokens,
};

/// How a round that brought no token leaves the session.
pub(in crate::session) enum After {
    /// Nobody calls again until tokens are set.
    LoginRequired,
    /// The pause after a fault of configuration.
    Rejected,
    /// A pause that grows with each failed round, and lasts at least as long as the server asked.
    Transient { retry_after: Option<Duration> },
}

impl State {
    /// Puts tokens into use. An access token that we have already is no new generation, and neither
    /// is a refresh token alone.
    pub(in crate::session) fn install(&mut self, tokens: Tokens, version: u64, config: &Config) {
        let known = self.tokens().and_then(Tokens::access_token) == tokens.access_token();
        if !known {
            self.generation += 1;
            // It was the old one that was refused.
            self.condemned = false;
        }
        self.version = version;
        self.marked = false;
        self.seed = None;
        self.ended = None;
        self.current = Some(Current {
            header_value: tokens
                .access
                .as_ref()
                .map(|access| access.header_value(config.scheme.as_str())),
            deadlines: Deadlines::of(&tokens, config),
            tokens,
        });
    }

    /// Takes over what the store holds, which is newer.
    pub(in crate::session) fn follow(&mut self, record: Record, in_doubt: bool, config: &Config) {
        let version = record.version();
        self.unsaved = None;
        self.replaced.clear();
        self.stored = version;
        self.decisions = record.decisions().clone();
        let same = record.holds(self.tokens());
        match record.into_tokens() {
            // Somebody has marked them, or taken that back. What is known of them still holds, above
            // all that the endpoint no longer accepts them.
            Some(_) if same => {
                self.in_doubt = in_doubt;
                self.version = version;
                self.marked = false;
            }
            Some(tokens) => {
                self.in_doubt = in_doubt;
                let same = |current: &&Current| current.tokens.access == tokens.access;
                let deadlines = self.current.as_ref().filter(same).and_then(|c| c.deadlines);
                self.install(tokens, version, config);
                // Fixed once per token, however often its record is written.
                if let Some(current) = self.current.as_mut().filter(|_| deadlines.is_some()) {
                    current.deadlines = deadlines;
                }
            }
            None => {
                self.forget(version);
                self.ended = Some(Error::new(
                    ErrorKind::LoginRequired,
                    "somebody logged out: log in and set new tokens",
                ));
            }
        }
    }

    /// Ends the flight: everybody who waited gets the token in use, live or not.
    pub(in crate::session) fn land(&mut self, flight: &Arc<Flight>, config: &Config) {
        self.failures = 0;
        self.pause = None;
        self.not_before = Some(Instant::now() + config.min_interval);
        let outcome = match (self.token(), &self.ended) {
            (_, Some(error)) => Outcome::Failed(error.clone()),
            (Some(token), None) => Outcome::Granted(token),
            (None, None) => Outcome::Again,
        };
        self.clear_slot(flight, outcome);
    }

    /// Ends the flight without a token. One that is live stays in use.
    pub(in crate::session) fn fail(
        &mut self,
        flight: &Arc<Flight>,
        error: Error,
        then: After,
        c: &Config,
    ) {
        let now = Instant::now();
        match then {
            After::LoginRequired => {
                self.ended = Some(error.clone());
                if self.condemned {
                    self.withdraw();
                }
            }
            After::Rejected => {
                let until = now + c.rejected_pause;
                self.pause = Some(Pause { until, error: error.clone(), demanded: false });
            }
            After::Transient { retry_after } => {
                self.failures = self.failures.saturating_add(1);
                let pause = backoff::pause(c.pause, self.failures);
                let asked = retry_after.unwrap_or_default().min(c.retry_after_limit);
                self.pause = Some(Pause {
                    until: now + pause.max(asked),
                    error: error.clone(),
                    demanded: retry_after.is_some(),
                });
            }
        }
        self.not_before = Some(now + c.min_interval);
        self.clear_slot(flight, Outcome::Failed(error));
    }

    /// Ends a flight that died: who waited looks again.
    pub(in crate::session) fn crash(&mut self, flight: &Arc<Flight>) {
        self.marked = false;
        self.clear_slot(flight, Outcome::Again);
    }

    fn clear_slot(&mut self, flight: &Arc<Flight>, outcome: Outcome) {
        self.flight = None;
        self.condemned = false;
        flight.finish(outcome);
    }

    /// Somebody set tokens: a new epoch, whatever was under way.
    pub(in crate::session) fn set(&mut self, tokens: Tokens, config: &Config) {
        self.forget(self.version + 1);
        self.decisions.add(unique());
        self.install(tokens, self.version, config);
        self.unsaved = Some(Unsaved::Decision);
    }

    /// Somebody logged out: a new epoch without tokens.
    pub(in crate::session) fn clear(&mut self) {
        self.forget(self.version + 1);
        self.decisions.add(unique());
        self.unsaved = Some(Unsaved::Decision);
        self.ended = Some(Error::new(
            ErrorKind::LoginRequired,
            "the session was cleared: log in and set new tokens",
        ));
    }

    /// Begins a new epoch. A flight of the old one flies on, but nobody waits for it and what it
    /// brings is dropped.
    fn forget(&mut self, version: u64) {
        self.epoch += 1;
        self.version = version;
        self.marked = false;
        self.replaced.clear();
        self.current = None;
        self.seed = None;
        self.condemned = false;
        self.ended = None;
        self.pause = None;
        self.failures = 0;
        self.not_before = None;
        self.in_doubt = false;
        if let Some(flight) = self.flight.take() {
            flight.finish(Outcome::Again);
        }
    }
}
