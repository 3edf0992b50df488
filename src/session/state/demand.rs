//! What a caller that needs a token has to do.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Cause, Event, Now, Pause, Refused, Running, State, Ticket, Worker, grant_end::End};
use crate::{
    error::{Error, ErrorKind},
    session::{
        config::Config,
        single_flight::Waiters,
        snapshot::{Token, TokenId},
    },
};

/// What a caller needs of the session.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) enum Need {
    /// A token that is live, for a request that was not sent yet.
    Live,
    /// A successor of a token that the API refused.
    Refused(Refused),
    /// A successor of this token, asked for by hand.
    Renewed(TokenId),
    /// A successor of this token, as the machine has slept past its end.
    Outlived(TokenId),
    /// A new login, asked for by hand when this was the token.
    Login(TokenId),
}

impl Need {
    pub(in crate::session) fn is_by_hand(&self) -> bool {
        matches!(self, Self::Renewed(_) | Self::Login(_))
    }
}

pub(in crate::session) enum Join {
    Ready(Token),
    Wait {
        waiters: Arc<Waiters>,
        /// The call is overdue: wait for this long at most.
        overdue: bool,
        /// What is waited for is not what the caller needs: ask again after it.
        again: bool,
        start: Option<Started>,
    },
}

/// A refresh that was put into the slot and needs its task.
#[must_use = "callers wait for it"]
pub(in crate::session) struct Started {
    pub(in crate::session) ticket: Ticket,
    pub(in crate::session) waiters: Arc<Waiters>,
}

/// What is due when a request comes by, and no caller waits for.
#[derive(Default)]
pub(in crate::session) struct Attention {
    pub(in crate::session) refresh: Option<Started>,
    pub(in crate::session) worker: bool,
}

impl State {
    /// Decides what a caller with this need has to do.
    pub(in crate::session) fn join(
        &mut self,
        need: Need,
        config: &Config,
        now: &Now,
    ) -> Result<Join, Error> {
        self.notice_drift(now);
        match need {
            Need::Refused(Refused { token, .. }) if token.session != self.login.session => {
                return Err(Error::invalid(
                    "the token to replace belongs to another session: ask the session that it \
                     came from",
                ));
            }
            Need::Refused(Refused { token, .. }) if !token.is_of_login(&self.id()) => {
                return Err(Error::new(
                    ErrorKind::TokenRefused,
                    "the refused token belongs to an identity that has since been replaced",
                ));
            }
            Need::Login(seen) if seen.is_of_login(&self.id()) => return self.join_login(now),
            Need::Refused(refused) if refused.token == self.id() => {
                let joined = self.invalidate(&refused, config, now);
                if joined.is_ok() && !refused.is_retried {
                    self.watch_route(&refused, now);
                }
                return joined;
            }
            Need::Renewed(seen) | Need::Outlived(seen) if seen == self.id() => {}
            // That token was replaced already: any live one will do.
            _ => {
                if let Some(token) = self.live_token(now) {
                    return Ok(Join::Ready(token));
                }
            }
        }
        let by_hand = need.is_by_hand();
        if let Some(running) = &mut self.slot.refresh {
            running.by_hand |= by_hand;
            return running.join(self.life.pause.as_deref(), now);
        }
        // Another process may have logged in since.
        let looks = self.login.end.is_some() && self.look_at().is_some_and(|at| at <= now.mono);
        if !looks {
            self.may_refresh(by_hand)?;
        }
        match &self.life.pause {
            Some(pause) if !pause.permits(by_hand, now.mono) => {
                let error = pause.error.clone();
                // Another process may have better tokens by now.
                self.look_if_due(now);
                Err(error)
            }
            _ => Ok(self.start(by_hand, None).into()),
        }
    }

    /// A new login, by hand: not in the pause that the server asked for, but after a log-out too.
    fn join_login(&mut self, now: &Now) -> Result<Join, Error> {
        if !self.login.has_endpoint {
            return Err(Error::invalid(
                "the session has no login endpoint: name one with `SessionBuilder::login_with`, or \
                 log in by other means and call `set_tokens`",
            ));
        }
        if let Some(running) = &self.slot.refresh {
            let join = running.join(self.life.pause.as_deref(), now);
            return join.map(|join| join.again_if(!running.logs_in));
        }
        self.may_start()?;
        if let Some(pause) = self.life.pause.as_ref().filter(|pause| !pause.permits(true, now.mono))
        {
            return Err(pause.error.clone());
        }
        let started = self.start(true, None);
        if let Some(running) = &mut self.slot.refresh {
            running.logs_in = true;
        }
        Ok(started.into())
    }

    /// A refusal of the current token. It joins the running refresh or starts one, and while that
    /// lasts the token is not sent. In the pause after a failure, and past the budget of refusals,
    /// the refusal goes to the caller, and so does one of a route that refuses by itself.
    fn invalidate(&mut self, refused: &Refused, config: &Config, now: &Now) -> Result<Join, Error> {
        if self.login.end.is_some() {
            self.withdraw();
        }
        self.check_route(refused, now)?;
        let pause = self.life.pause.as_deref().filter(|pause| now.mono < pause.until);
        if let Some(running) = &self.slot.refresh {
            let join = running.join(pause, now)?;
            if !running.overdue {
                self.refuse();
            }
            return Ok(join);
        }
        if let Some(pause) = pause {
            return Err(pause.error.clone());
        }
        self.may_refresh(false)?;
        let cause = self.admit(refused, config, now)?;
        self.refuse();
        Ok(self.start(false, Some(cause)).into())
    }

    /// Told once, however many requests were refused.
    fn refuse(&mut self) {
        if !std::mem::replace(&mut self.slot.invalidated, true) {
            self.tell(Event::Refused { generation: self.slot.generation });
        }
    }

    /// Starts what is due, for a caller inside a runtime.
    pub(in crate::session) fn attend(&mut self, now: &Now) -> Attention {
        self.look_if_due(now);
        Attention { worker: self.claim_worker(), refresh: self.refresh_if_due(now) }
    }

    fn look_if_due(&mut self, now: &Now) {
        if self.look_at().is_some_and(|at| at <= now.mono) {
            self.replica.look_owed = true;
            self.owe_worker();
        }
    }

    /// Starts a refresh that no caller waits for, if one is due.
    pub(super) fn refresh_if_due(&mut self, now: &Now) -> Option<Started> {
        self.refresh_at().filter(|&at| at <= now.mono)?;
        Some(self.start(false, None))
    }

    /// When the next request has to come the slow way, although there is a live token.
    pub(super) fn attention_at(&self) -> Option<Instant> {
        if self.life.worker == Worker::Owed || self.replica.look_first {
            return Some(self.life.began);
        }
        [self.refresh_at(), self.look_at()].into_iter().flatten().min()
    }

    /// When the next refresh should start if no caller needs it earlier; `None` while one runs or
    /// may not start, and for a token of which nothing says when it expires.
    pub(in crate::session) fn refresh_at(&self) -> Option<Instant> {
        if self.slot.refresh.is_some() || self.may_refresh(false).is_err() {
            return None;
        }
        let stale_at = match &self.slot.current {
            Some(current) if current.header_value.is_some() => {
                Some(current.deadlines.as_ref()?.stale_at)
            }
            _ => None,
        };
        let pause = self.life.pause.as_ref().map(|pause| pause.until);
        let earliest = [stale_at, pause, self.life.not_before].into_iter().flatten().max();
        Some(earliest.unwrap_or(self.life.began))
    }

    pub(super) fn may_refresh(&self, by_hand: bool) -> Result<(), Error> {
        match &self.login.end {
            Some(End::Over(_)) if by_hand => {}
            Some(End::LoggedOut(error)) => return Err(error.clone()),
            Some(End::Over(over)) => return Err(over.error.clone()),
            None => {}
        }
        self.may_start()
    }

    fn may_start(&self) -> Result<(), Error> {
        if self.life.log_outs_in_progress > 0 {
            return Err(Error::new(ErrorKind::Closed, "the session is being logged out"));
        }
        if self.life.closed {
            return Err(Error::new(ErrorKind::Closed, "the session was closed"));
        }
        Ok(())
    }

    fn start(&mut self, by_hand: bool, cause: Option<Cause>) -> Started {
        self.life.tickets += 1;
        let ticket = Ticket { number: self.life.tickets, login: self.login.number };
        let waiters = Arc::new(Waiters::new());
        self.slot.refresh = Some(Running {
            ticket,
            waiters: waiters.clone(),
            // If only a look is due, the life that there is will do.
            replaces: self.slot.lives - u64::from(self.replica.look_first && self.slot.lives > 0),
            by_hand,
            logs_in: false,
            called: false,
            cause,
            overdue: false,
        });
        Started { ticket, waiters }
    }

    /// The token was refused and will have no successor: it serves no more.
    pub(super) fn withdraw(&mut self) {
        if let Some(current) = &mut self.slot.current {
            current.header_value = None;
        }
    }

    /// The worker has something to do.
    pub(super) fn owe_worker(&mut self) {
        if self.life.worker == Worker::None {
            self.life.worker = Worker::Owed;
        }
    }
}

impl Running {
    /// While the call is overdue, the pause comes first.
    fn join(&self, pause: Option<&Pause>, now: &Now) -> Result<Join, Error> {
        match pause.filter(|pause| self.overdue && now.mono < pause.until) {
            Some(pause) => Err(pause.error.clone()),
            None => Ok(Join::Wait {
                waiters: self.waiters.clone(),
                overdue: self.overdue,
                again: false,
                start: None,
            }),
        }
    }
}

impl Join {
    fn again_if(mut self, is_another: bool) -> Self {
        if let Self::Wait { again, .. } = &mut self {
            *again = is_another;
        }
        self
    }
}

impl Pause {
    /// Whether a refresh may start all the same.
    fn permits(&self, by_hand: bool, now: Instant) -> bool {
        now >= if by_hand { self.asked_until } else { self.until }
    }
}

impl From<Started> for Join {
    fn from(started: Started) -> Self {
        let waiters = started.waiters.clone();
        Self::Wait { waiters, overdue: false, again: false, start: Some(started) }
    }
}
