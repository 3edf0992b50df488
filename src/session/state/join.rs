//! What somebody who needs a token has to do.

use std::sync::Arc;

use tokio::time::Instant;

use super::State;
use crate::{
    error::{Error, ErrorKind},
    session::{
        config::Config,
        snapshot::{Token, TokenId},
        waiting::Flight,
    },
};

/// What somebody needs of the session.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) enum Need {
    /// A token that is live, for a request that was not sent yet.
    Live,
    /// A successor of this token, because the API refused it.
    Refused(TokenId),
    /// A successor of this token, because somebody asks for it.
    Renewed(TokenId),
}

pub(in crate::session) enum Join {
    Ready(Token),
    /// Wait for this flight; `start` if it has only just been put into the slot.
    Wait {
        flight: Arc<Flight>,
        start: bool,
    },
}

impl State {
    /// Decides what somebody with this need has to do.
    pub(in crate::session) fn join(&mut self, need: Need, config: &Config) -> Result<Join, Error> {
        let now = Instant::now();
        self.notice_drift();
        match need {
            Need::Refused(seen) if seen.session != self.session => {
                return Err(Error::invalid(
                    "the token to replace belongs to another session: ask the session that it \
                     came from",
                ));
            }
            Need::Refused(seen) if seen.login != self.login => {
                return Err(Error::new(
                    ErrorKind::TokenRefused,
                    "the refused token belongs to an identity that has since been replaced",
                ));
            }
            Need::Refused(seen) if seen == self.id() => return self.condemn(now, config),
            Need::Renewed(seen) if seen == self.id() => {}
            // Somebody has replaced that token already: any live one will do.
            Need::Live | Need::Refused(_) | Need::Renewed(_) => {
                if let Some(token) = self.live_token(now) {
                    return Ok(Join::Ready(token));
                }
            }
        }
        if let Some(flight) = &self.flight {
            return Ok(Join::Wait { flight: flight.clone(), start: false });
        }
        self.may_refresh()?;
        let by_hand = matches!(need, Need::Renewed(_));
        match &self.pause {
            Some(pause) if now < pause.until && (pause.demanded || !by_hand) => {
                Err(pause.error.clone())
            }
            _ => Ok(self.start()),
        }
    }

    /// A refusal of the current token. It joins the running flight or starts one, and while that
    /// lasts nobody is given the token. In the pause after a failure and past the window of
    /// refusals it is somebody else's problem: the refusal goes to the caller.
    fn condemn(&mut self, now: Instant, config: &Config) -> Result<Join, Error> {
        if self.ended.is_some() {
            self.withdraw();
        }
        if let Some(flight) = self.flight.clone() {
            self.condemned = true;
            return Ok(Join::Wait { flight, start: false });
        }
        self.may_refresh()?;
        if let Some(pause) = self.pause.as_ref().filter(|pause| now < pause.until) {
            return Err(pause.error.clone());
        }
        if !self.refusals.admit(now, config.refusals) {
            return Err(Error::new(
                ErrorKind::TokenRefused,
                "the API has refused several new tokens in a row: it is left alone for a while",
            ));
        }
        self.condemned = true;
        Ok(self.start())
    }

    /// Starts a refresh that nobody waits for, if one is due.
    pub(in crate::session) fn refresh_ahead(&mut self) -> Option<Arc<Flight>> {
        self.due().filter(|&at| at <= Instant::now())?;
        match self.start() {
            Join::Wait { flight, .. } => Some(flight),
            Join::Ready(_) => None,
        }
    }

    pub(super) fn may_refresh(&self) -> Result<(), Error> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        if self.leaving > 0 {
            return Err(Error::new(ErrorKind::Closed, "the session is being logged out"));
        }
        if self.closed {
            return Err(Error::new(ErrorKind::Closed, "the session was closed"));
        }
        Ok(())
    }

    fn start(&mut self) -> Join {
        let flight = Arc::new(Flight::new(self.generation));
        self.flight = Some(flight.clone());
        Join::Wait { flight, start: true }
    }

    /// The token was refused and will have no successor: it serves no more.
    pub(super) fn withdraw(&mut self) {
        if let Some(current) = &mut self.current {
            current.header_value = None;
        }
    }
}
