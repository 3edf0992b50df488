//! The end of a grant, and what may still be tried after a verdict of the server.
//!
//! After the verdict on a refresh token come, in this order: a seed that the store has not seen,
//! the login endpoint, and the end. The end is in the record with its date, so that it counts for
//! all processes and after a restart.

use std::time::{Duration, SystemTime};

use super::{Event, Now, State, Ticket, replica::Write, replica::next_version, saving::Unsaved};
use crate::{
    error::{Error, ErrorKind},
    store::{Ended, Record},
    token::{RefreshToken, Tokens},
};

/// Why no refresh brings a token any more.
pub(super) enum End {
    LoggedOut(Error),
    /// The server says that the grant is over. A caller may still ask by hand.
    Over(Box<Over>),
}

pub(super) struct Over {
    pub(super) error: Error,
    pub(super) ended: Ended,
}

/// For how long nothing is called by itself after the end of a grant.
const QUIET: Duration = Duration::from_secs(60 * 60);

impl Over {
    /// A date far ahead is that of a clock that was wrong.
    fn is_recent(&self, now: &Now) -> bool {
        let apart = match now.wall.duration_since(self.ended.at) {
            Ok(age) => age,
            Err(ahead) => ahead.duration(),
        };
        apart < QUIET
    }
}

impl State {
    /// Why no refresh brings a token.
    pub(in crate::session) fn ended(&self) -> Option<&Error> {
        match self.login.end.as_ref()? {
            End::LoggedOut(error) => Some(error),
            End::Over(over) => Some(&over.error),
        }
    }

    pub(in crate::session) fn is_logged_out(&self) -> bool {
        matches!(self.login.end, Some(End::LoggedOut(_)))
    }

    pub(super) fn over(&self) -> Option<&Over> {
        match &self.login.end {
            Some(End::Over(over)) => Some(over),
            _ => None,
        }
    }

    /// Since when a log-in is required.
    pub(super) fn over_since(&self) -> Option<SystemTime> {
        self.over().map(|over| over.ended.at)
    }

    /// Why the refresh in the slot has nothing to call, now that the store was read.
    pub(super) fn end_in_force(&self, now: &Now) -> Option<&Error> {
        let running = self.slot.refresh.as_ref()?;
        match self.login.end.as_ref()? {
            _ if running.logs_in => None,
            End::LoggedOut(error) => Some(error),
            End::Over(over) => {
                Some(&over.error).filter(|_| !running.by_hand && over.is_recent(now))
            }
        }
    }

    /// The server's final word on the refresh token that the refresh `ticket` has presented.
    /// Whether there is something else to try.
    pub(in crate::session) fn note_verdict(&mut self, ticket: Ticket, rotation_lost: bool) -> bool {
        let has_seed = !self.replica.refused && self.replica.spare.is_some();
        if !self.is_current(ticket) || !(has_seed || self.login.has_endpoint) {
            return false;
        }
        self.replica.refused = true;
        self.replica.in_doubt = None;
        if rotation_lost {
            self.tell(Event::RotationLost);
        }
        true
    }

    /// The refresh `ticket` calls an endpoint now.
    pub(in crate::session) fn note_call(&mut self, ticket: Ticket) {
        if let Some(running) = self.slot.refresh.as_mut().filter(|it| it.ticket == ticket) {
            running.called = true;
        }
    }

    /// Whether the next call of the refresh in the slot goes to the login endpoint.
    pub(super) fn logs_in(&self) -> bool {
        let asked = self.slot.refresh.as_ref().is_some_and(|running| running.logs_in);
        let refreshes = self.refresh_token().is_some() && !self.replica.refused;
        self.login.has_endpoint && (asked || !refreshes)
    }

    /// The grant is over. `is_recorded` if the store says so already.
    pub(super) fn end_grant(&mut self, error: Error, ended: Ended, is_recorded: bool) {
        if self.is_logged_out() {
            // A login that was asked for and refused changes nothing.
            return;
        }
        self.login.end = Some(End::Over(Box::new(Over { error, ended })));
        self.replica.in_doubt = None;
        if self.slot.invalidated {
            self.withdraw();
        }
        if !is_recorded {
            self.set_unsaved(Unsaved::End);
        }
    }

    /// The store says that the grant is over. A seed that the store has not seen may still do, and
    /// a login, if it was not a login that the server refused.
    pub(super) fn adopt_end(&mut self, ended: &Ended) {
        if self.is_logged_out() {
            return;
        }
        if self.replica.spare.is_some() || (self.login.has_endpoint && !ended.login) {
            self.replica.refused = true;
            return;
        }
        if let Some(End::Over(over)) = &mut self.login.end {
            over.ended.at = over.ended.at.max(ended.at);
            return;
        }
        let error = self.with_seed_remark(error_of(ended));
        self.tell(Event::RefreshFailed { error: error.clone() });
        self.end_grant(error, ended.clone(), true);
    }

    /// A record that is to say so too, if this session owes that to the store.
    pub(super) fn owed_end(&self, stored: &Record) -> Option<Record> {
        let over = self.over().filter(|_| self.unsaved() == Some(Unsaved::End))?;
        stored.ended().is_none().then(|| stored.clone().with_ended(over.ended.clone()))
    }

    /// The store has a record, so the seed is not put into it. It is kept for when the server
    /// refuses the refresh token that is stored, unless it was stored before.
    pub(super) fn set_seed_aside(&mut self, stored: &Record) {
        self.replica.spare.take_if(|spare| {
            spare.refresh_token().is_some_and(|seed| stored.seeds().contains(seed))
        });
        let Some(seed) = self.replica.seed.take().filter(|seed| !seed.is_empty()) else { return };
        let Some(refresh) = seed.refresh.clone() else {
            self.replica.seed_unused = true;
            return;
        };
        if stored.tokens().and_then(Tokens::refresh_token) == Some(&refresh) {
            self.replica.seen_seed = Some(Box::new(refresh));
        } else if stored.is_logged_out() || stored.seeds().contains(&refresh) {
            self.replica.seed_unused = true;
        } else {
            self.replica.spare = Some(seed);
        }
    }

    /// After a log-out no seed is used.
    pub(super) fn drop_seeds(&mut self) {
        if let Some(spare) = self.replica.spare.take().or(self.replica.seed.take()) {
            self.replica.seen_seed = spare.refresh.map(Box::new);
        }
    }

    /// What to write if the refresh token in the store was refused for good, and there is a seed
    /// that it has not seen.
    pub(super) fn spare_seed(&mut self, stored: &Record, now: &Now) -> Option<Write> {
        let is_refused = self.replica.refused && stored.holds(self.tokens());
        let seed = self.replica.spare.as_deref().filter(|_| is_refused)?.clone();
        let (refresh, expected) = (seed.refresh.clone()?, stored.version());
        let record = Record::new(1, stored.turn() + 1, Some(seed)).with_logins(&self.login.history);
        let record = self.named(self.carrying(record, stored)).with_seed(&refresh);
        let record = record.with_version(next_version(Some(expected), now));
        Some(Write { record, expected: Some(expected), login: self.login.number })
    }

    /// Says what became of initial tokens that were not used.
    pub(super) fn with_seed_remark(&self, error: Error) -> Error {
        if !self.replica.seed_unused {
            return error;
        }
        let message = "the stored grant is over, and the initial tokens were not used because the \
                       store had tokens already and has seen these before: log in and call \
                       `set_tokens`, or start with initial tokens that are new";
        Error::with_source(ErrorKind::LoginRequired, message, error)
    }

    /// What the record gets beside its tokens.
    pub(in crate::session) fn carrying(&self, record: Record, stored: &Record) -> Record {
        let record = record.carrying(stored);
        let seen: Option<&RefreshToken> = self.replica.seen_seed.as_deref();
        seen.into_iter().fold(record, |record, seed| record.with_seed(seed))
    }
}

/// The last date that can be written, in the year 9999.
const LAST_DATE: Duration = Duration::from_secs(253_402_300_799);

/// The error of a session that has read of the end.
fn error_of(ended: &Ended) -> Error {
    let date = httpdate::fmt_http_date(ended.at.min(SystemTime::UNIX_EPOCH + LAST_DATE));
    let code = match ended.code.is_empty() {
        true => String::new(),
        false => format!(" ({})", ended.code),
    };
    let message = match ended.login {
        true => format!(
            "the login endpoint refused the login{code} on {date}, and by itself it is not asked \
             again within the hour: correct its credentials and call `log_in`, or `set_tokens`"
        ),
        false => format!(
            "the token endpoint no longer accepts the refresh token{code}, as the store says since \
             {date}: log in and set new tokens"
        ),
    };
    Error::new(ErrorKind::LoginRequired, message)
}
