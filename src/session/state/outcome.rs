//! How tokens come into use, and how a refresh ends.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Current, Event, News, Now, Pause, Running, State, Ticket, grant_end::End, saving::Unsaved,
    schedule::Deadlines,
};
use crate::{
    error::{Error, ErrorKind},
    session::{
        backoff,
        config::{Config, MISCONFIGURED_PAUSES, RETRY_AFTER_LIMIT},
        single_flight::Outcome,
    },
    store::Ended,
    token::{LONGEST_LIFE, RefreshToken, Tokens},
};

/// How a refresh that brought no token leaves the session.
pub(in crate::session) enum After {
    /// No call before new tokens are set, but by hand.
    LoginRequired {
        rotation_lost: bool,
        ended: Ended,
        /// Whether the store says so.
        is_recorded: bool,
    },
    /// A pause that doubles with each such refresh in a row, and lasts at least as long as the
    /// server asked.
    Misconfigured { retry_after: Option<Duration> },
    /// The refresh token was used, and the answer has no access token in it: no call by itself.
    Used { retry_after: Option<Duration> },
    /// The endpoint was not asked: a pause of so long, and no failed refresh.
    HeldBack { rest: Duration },
    /// A pause that grows with each failed refresh, and lasts at least as long as the server asked.
    Transient { retry_after: Option<Duration> },
}

/// What comes after the save of what a call has brought.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum Then {
    /// The refresh has succeeded.
    Publish,
    /// So it has, by a new login.
    LogIn,
    /// There is a new refresh token and no access token.
    Keep,
}

/// What became of the tokens that a call has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Published {
    Done,
    /// Other tokens have taken the place of those that the call started from.
    Superseded,
    /// The call is of an earlier login; after a log-out what it brought is to be revoked.
    EarlierLogin {
        logged_out: bool,
    },
}

impl State {
    /// Puts tokens into use. The access token that is in use already is no new generation, but it
    /// may have a new life.
    pub(super) fn install(&mut self, tokens: Tokens, config: &Config, now: &Now) {
        let mut deadlines = Deadlines::of(&tokens, config, now);
        let slot = &mut self.slot;
        let known = match &slot.current {
            Some(current) => current.tokens.access == tokens.access,
            None => tokens.access.is_none(),
        };
        let mut since = (now.mono, tokens.age(now.mono, now.wall));
        if known {
            since = slot.current.as_ref().map_or(since, |current| current.since);
            let old = slot.current.as_ref().and_then(|current| current.deadlines);
            match (old, deadlines) {
                (Some(old), Some(new)) if new.is_later_than(&old) => slot.lives += 1,
                // Fixed once for each life, however often its record is written.
                (Some(old), _) => deadlines = Some(old),
                (None, _) => {}
            }
        } else {
            slot.generation += 1;
            slot.lives += 1;
            // It was the old one that was refused.
            slot.invalidated = false;
        }
        let held = slot.current.as_ref().and_then(|current| current.tokens.refresh.as_ref());
        if held != tokens.refresh_token() {
            self.replica.refused = false;
        }
        let scheme = config.scheme.as_str();
        slot.current = Some(Current {
            header_value: tokens.access.as_ref().map(|access| access.header_value(scheme)),
            since,
            deadlines,
            tokens,
        });
        self.replica.seed = None;
        self.login.end = None;
    }

    /// Publishes what a call has brought in the place of `replaced`, saved or not. A store that
    /// could not take it does not hold it back: the refresh token before it is worth nothing any
    /// more.
    pub(in crate::session) fn publish(
        &mut self,
        ticket: Ticket,
        replaced: Option<&RefreshToken>,
        (tokens, turn, saved): (Tokens, u64, Result<(), Error>),
        then: Then,
        (config, now): (&Config, &Now),
    ) -> Published {
        if !self.is_current(ticket) {
            return Published::EarlierLogin { logged_out: self.was_logged_out_since(ticket) };
        }
        if saved.is_err() && self.tokens().and_then(Tokens::refresh_token) != replaced {
            // Meanwhile memory has followed what another process had stored.
            return Published::Superseded;
        }
        let life = tokens.life;
        self.replica.keeps_refresh_token = replaced.is_some() && tokens.refresh_token() == replaced;
        self.replica.is_initial &= self.replica.keeps_refresh_token;
        self.install(tokens, config, now);
        self.replica.turn = self.replica.turn.max(turn);
        self.replica.in_doubt = None;
        if then == Then::LogIn {
            self.tell(Event::LoggedIn);
        }
        if then != Then::Keep {
            self.life.has_worked = true;
            let cause = self.slot.refresh.as_ref().and_then(|running| running.cause);
            self.charge(cause, now);
            self.land(ticket, config, now);
            self.news.push_back(News::TokenLife(life));
            self.tell(Event::Refreshed { generation: self.slot.generation, adopted: false });
        }
        match saved {
            Ok(()) => self.on_stored(turn, self.login.number),
            Err(error) => {
                self.set_unsaved(Unsaved::Rotation);
                self.save_failed(error, config, now);
            }
        }
        Published::Done
    }

    /// Ends the refresh: all who waited get the token in use, live or not.
    pub(super) fn land(&mut self, ticket: Ticket, config: &Config, now: &Now) {
        self.life.failures = 0;
        self.life.misconfigured = 0;
        self.life.failing = None;
        self.life.pause = None;
        self.life.not_before = Some(now.mono + config.min_interval);
        let outcome = match (self.ended(), self.token()) {
            (Some(error), _) => Outcome::Failed(error.clone()),
            (None, Some(token)) => Outcome::Granted(token),
            (None, None) => Outcome::Superseded,
        };
        self.clear_slot(ticket, outcome);
    }

    /// Ends the refresh without a token. One that is live stays in use.
    pub(in crate::session) fn fail(
        &mut self,
        ticket: Ticket,
        error: Error,
        after: After,
        config: &Config,
        now: &Now,
    ) {
        if !self.is_current(ticket) {
            return;
        }
        let mut error = error;
        self.note_failure(&error, now);
        match after {
            After::LoginRequired { rotation_lost, ended, is_recorded } => {
                error = self.with_seed_remark(error);
                self.end_grant(error.clone(), ended, is_recorded);
                if rotation_lost {
                    self.tell(Event::RotationLost);
                }
            }
            After::Misconfigured { retry_after } => {
                let (first, most) = MISCONFIGURED_PAUSES;
                let doublings = self.life.misconfigured.min(16);
                self.life.misconfigured = self.life.misconfigured.saturating_add(1);
                let pause = most.min(first * 2u32.pow(doublings));
                self.pause_as_asked(pause, retry_after, &error, now);
            }
            After::Used { retry_after } => {
                let asked_until = now.mono + asked(retry_after);
                self.pause_until(now.mono + LONGEST_LIFE, asked_until, &error);
            }
            After::HeldBack { rest } => self.pause_as_asked(rest, None, &error, now),
            After::Transient { retry_after } => self.pause_after(retry_after, &error, config, now),
        }
        self.life.not_before = Some(now.mono + config.min_interval);
        self.tell(Event::RefreshFailed { error: error.clone() });
        self.clear_slot(ticket, Outcome::Failed(error));
    }

    /// The call was not answered in time for those who wait. It goes on, and stays in the slot, so
    /// that nothing starts another before it has ended.
    pub(in crate::session) fn set_overdue(
        &mut self,
        ticket: Ticket,
        error: Error,
        config: &Config,
        now: &Now,
    ) {
        if !self.is_current(ticket) {
            return;
        }
        let Some(running) = self.slot.refresh.as_mut().filter(|running| !running.overdue) else {
            return;
        };
        running.overdue = true;
        let waiters = running.waiters.clone();
        running.waiters = Arc::new(waiters.successor());
        self.slot.invalidated = false;
        self.note_failure(&error, now);
        self.pause_after(None, &error, config, now);
        self.tell(Event::RefreshFailed { error: error.clone() });
        waiters.finish(Outcome::Failed(error));
    }

    /// The task of the refresh ended before the refresh: all who waited look again.
    pub(in crate::session) fn abandon(&mut self, ticket: Ticket) {
        if self.is_current(ticket) {
            self.clear_slot(ticket, Outcome::Superseded);
        }
    }

    /// Ends a refresh that has found out that it can bring nothing, quietly.
    pub(super) fn end_quietly(&mut self, ticket: Ticket, error: Error) {
        self.clear_slot(ticket, Outcome::Failed(error));
    }

    fn clear_slot(&mut self, ticket: Ticket, outcome: Outcome) {
        if let Some(Running { waiters, .. }) =
            self.slot.refresh.take_if(|running| running.ticket == ticket)
        {
            self.slot.invalidated = false;
            self.replica.look_first = false;
            waiters.finish(outcome);
        }
    }

    /// Since when refreshes fail, and why.
    fn note_failure(&mut self, error: &Error, now: &Now) {
        let since = self.life.failing.as_ref().map_or(now.wall, |failing| failing.0);
        self.life.failing = Some(Box::new((since, error.clone())));
    }

    fn pause_after(
        &mut self,
        retry_after: Option<Duration>,
        error: &Error,
        config: &Config,
        now: &Now,
    ) {
        self.life.failures = self.life.failures.saturating_add(1);
        let pause = backoff::pause(config.pause, self.life.failures, now.chance);
        self.pause_as_asked(pause, retry_after, error, now);
    }

    fn pause_as_asked(
        &mut self,
        pause: Duration,
        retry_after: Option<Duration>,
        error: &Error,
        now: &Now,
    ) {
        let mut until = now.mono + pause;
        let deadlines = self.slot.current.as_ref().and_then(|current| current.deadlines);
        if let Some(end) = deadlines.map(|deadlines| deadlines.expires_at)
            && now.mono < end
        {
            // No pause of ours outlasts the live token: by then callers need another.
            until = until.min(end);
        }
        let asked_until = now.mono + asked(retry_after);
        self.pause_until(until.max(asked_until), asked_until, error);
    }

    fn pause_until(&mut self, until: Instant, asked_until: Instant, error: &Error) {
        self.life.pause = Some(Box::new(Pause { until, error: error.clone(), asked_until }));
    }

    /// Tokens were set: a new login, whatever was under way.
    pub(in crate::session) fn set(
        &mut self,
        tokens: Tokens,
        login: String,
        config: &Config,
        now: &Now,
    ) {
        let held = self.tokens().and_then(Tokens::refresh_token);
        let is_presented = self.is_refreshing() || self.is_in_doubt();
        if is_presented && tokens.refresh.is_some() && held == tokens.refresh_token() {
            // As a new login its refresh token would be presented a second time.
            self.replica.turn = self.next_turn();
            self.install(tokens, config, now);
            self.set_unsaved(Unsaved::Rotation);
        } else {
            self.begin_login(login);
            self.install(tokens, config, now);
        }
        self.tell(Event::TokensSet);
    }

    /// A log-out: a new login without tokens.
    pub(in crate::session) fn log_out(&mut self, login: String) {
        self.drop_seeds();
        self.begin_login(login);
        self.login.last_log_out = self.login.number;
        self.login.end = Some(End::LoggedOut(Error::new(
            ErrorKind::LoginRequired,
            "the session was logged out: log in and set new tokens",
        )));
        self.tell(Event::LoggedOut);
    }

    fn begin_login(&mut self, login: String) {
        self.forget();
        self.replica.turn = self.next_turn();
        self.login.history.add(login);
        self.set_unsaved(Unsaved::Decision);
    }

    /// The turn of tokens that come now.
    pub(in crate::session) fn next_turn(&self) -> u64 {
        self.replica.turn.max(self.replica.stored_turn) + 1
    }

    /// Ends a login. A refresh of it runs on, but nothing waits for it any more.
    pub(super) fn forget(&mut self) {
        self.login.number += 1;
        self.login.end = None;
        self.slot.current = None;
        self.slot.invalidated = false;
        self.replica.look_first = false;
        self.replica.forget();
        self.forget_routes();
        self.life.pause = None;
        self.life.failures = 0;
        self.life.misconfigured = 0;
        self.life.failing = None;
        self.life.not_before = None;
        if let Some(running) = self.slot.refresh.take() {
            running.waiters.finish(Outcome::Superseded);
        }
    }
}

/// How much of what a server asked for is respected.
fn asked(retry_after: Option<Duration>) -> Duration {
    retry_after.unwrap_or_default().min(RETRY_AFTER_LIMIT)
}
