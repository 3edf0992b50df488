//! What a session knows, and every step that changes it. All of it happens under one short lock;
//! nothing here waits.

use std::{sync::Arc, time::SystemTime};

use http::HeaderValue;
use tokio::time::Instant;

use super::{
    backoff,
    config::Config,
    snapshot::{Snapshot, Stamp, Token},
    waiting::{Flight, Outcome},
    window::{Deadlines, Refusals},
};
use crate::{
    error::{Error, ErrorKind},
    event::Status,
    store::Record,
    token::Tokens,
};

pub(super) struct State {
    pub(super) epoch: u64,
    generation: u64,
    /// The version of what memory holds; 0 while it holds nothing that a store could know.
    version: u64,
    /// The greatest version that the store is known to have held.
    stored: u64,
    current: Option<Current>,
    /// Waits for the store's word that it is empty.
    seed: Option<Tokens>,
    /// The current token was refused; holds for as long as the flight that this started.
    condemned: bool,
    /// The one refresh that everybody waits for, if one is under way. It always replaces the
    /// current generation of the current epoch: whatever changes these takes it out of the slot.
    flight: Option<Arc<Flight>>,
    /// No refresh will bring a token any more.
    ended: Option<Error>,
    pause: Option<Pause>,
    /// Failed rounds in a row.
    failures: u32,
    /// No round starts earlier, so that a token which arrives expired causes no loop.
    not_before: Option<Instant>,
    refusals: Refusals,
    /// A call that may have spent the refresh token has had no answer.
    in_doubt: bool,
    unsaved: Option<Unsaved>,
    /// A task is at work on what is unsaved.
    saving: bool,
    /// Those that run for as long as the session is used.
    tasks: Tasks,
    /// Somebody is logging out.
    leaving: bool,
    closed: bool,
}

/// The tokens in use, and what is derived from them once.
struct Current {
    tokens: Tokens,
    header_value: Option<HeaderValue>,
    deadlines: Option<Deadlines>,
}

/// After a failed round nobody tries before `until`, and who needs a token gets `error`.
struct Pause {
    until: Instant,
    error: Error,
    /// The server asked for it, so that not even somebody's hand can cut it short.
    demanded: bool,
}

/// Tasks that run without a request: the eager mode's timer, and the watch on a shared store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tasks {
    None,
    /// To be started by whoever comes by with a runtime.
    Due,
    Running,
}

/// Why memory is ahead of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsaved {
    /// A refresh brought tokens that could not be saved. A newer version in the store wins.
    Rotation,
    /// Somebody set tokens or logged out. This wins over whatever is stored.
    Decision,
}

/// What somebody needs of the session.
#[derive(Clone, Copy, Debug)]
pub(super) enum Need {
    /// A token that is live, for a request that was not sent yet.
    Live,
    /// A successor of this token, because the API refused it.
    Refused(Stamp),
    /// A successor of this token, because somebody asks for it.
    Renewed(Stamp),
}

pub(super) enum Join {
    Ready(Token),
    /// Wait for this flight; `start` if it has only just been put into the slot.
    Wait {
        flight: Arc<Flight>,
        start: bool,
    },
}

/// How a round that brought no token leaves the session.
pub(super) enum After {
    /// Nobody calls again until tokens are set.
    LoginRequired,
    /// The pause after a fault of configuration.
    Rejected,
    /// A pause that grows with each failed round, and lasts at least as long as the server asked.
    Transient { retry_after: Option<std::time::Duration> },
}

impl State {
    /// `seed` goes into use at once if no store has to be asked first.
    pub(super) fn new(seed: Tokens, ask_store: bool, is_shared: bool, config: &Config) -> Self {
        let mut state = Self {
            epoch: 0,
            generation: 0,
            version: 0,
            stored: 0,
            current: None,
            seed: None,
            condemned: false,
            flight: None,
            ended: None,
            pause: None,
            failures: 0,
            not_before: None,
            refusals: Refusals::default(),
            in_doubt: false,
            unsaved: None,
            saving: false,
            tasks: if config.keep_fresh || is_shared { Tasks::Due } else { Tasks::None },
            leaving: false,
            closed: false,
        };
        if ask_store {
            state.seed = Some(seed);
        } else {
            state.install(seed, 1, config);
        }
        state
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let token = if self.condemned { None } else { self.token() };
        let deadlines = self.current.as_ref().and_then(|current| current.deadlines);
        // Tasks that are to be started need somebody to come by the slow way, once.
        let stale_at = match self.tasks {
            Tasks::Due => Some(Instant::now()),
            Tasks::None | Tasks::Running => self.due(),
        };
        Snapshot {
            token,
            stale_at,
            expires_at: deadlines.map(|deadlines| deadlines.expires_at),
            ended: self.ended.clone(),
        }
    }

    /// When the next refresh should start if nobody needs it earlier; `None` while one is running
    /// or none may start, and for a token of which nothing says when it expires.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.flight.is_some() || self.may_refresh().is_err() {
            return None;
        }
        let stale_at = match &self.current {
            Some(Current { header_value: Some(_), deadlines, .. }) => {
                Some(deadlines.as_ref()?.stale_at)
            }
            _ => None,
        };
        let pause = self.pause.as_ref().map(|pause| pause.until);
        let earliest = [stale_at, pause, self.not_before].into_iter().flatten().max();
        Some(earliest.unwrap_or_else(Instant::now))
    }

    pub(super) fn status(&self) -> Status {
        Status {
            generation: self.generation,
            live: self.live_token(Instant::now()).is_some(),
            expires_at: self.tokens().and_then(Tokens::expires_at),
            refreshing: self.flight.is_some(),
            login_required: self.ended.is_some(),
            unsaved: self.unsaved.is_some(),
        }
    }

    /// The token in use, whether or not it is live.
    pub(super) fn token(&self) -> Option<Token> {
        let header_value = self.current.as_ref()?.header_value.clone()?;
        Some(Token::new(header_value, self.stamp()))
    }

    pub(super) fn stamp(&self) -> Stamp {
        Stamp { epoch: self.epoch, generation: self.generation }
    }

    pub(super) fn tokens(&self) -> Option<&Tokens> {
        self.current.as_ref().map(|current| &current.tokens)
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// What the store should hold.
    pub(super) fn record(&self) -> Record {
        Record::new(self.version, self.tokens().cloned())
    }

    pub(super) fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    pub(super) fn ended(&self) -> Option<&Error> {
        self.ended.as_ref()
    }

    pub(super) fn is_refreshing(&self) -> bool {
        self.flight.is_some()
    }

    pub(super) fn is_flying(&self, flight: &Arc<Flight>) -> bool {
        self.flight.as_ref().is_some_and(|current| Arc::ptr_eq(current, flight))
    }

    pub(super) fn live_token(&self, now: Instant) -> Option<Token> {
        let deadlines = self.current.as_ref()?.deadlines;
        let live = deadlines.is_none_or(|deadlines| now < deadlines.expires_at);
        if live && !self.condemned { self.token() } else { None }
    }

    /// Decides what somebody with this need has to do.
    pub(super) fn join(&mut self, need: Need, config: &Config) -> Result<Join, Error> {
        let now = Instant::now();
        self.notice_drift();
        match need {
            Need::Refused(seen) if seen.epoch != self.epoch => {
                return Err(Error::new(
                    ErrorKind::Refused,
                    "the refused token belongs to an identity that has since been replaced",
                ));
            }
            Need::Refused(seen) if seen == self.stamp() => return self.condemn(now, config),
            Need::Renewed(seen) if seen == self.stamp() => {}
            // Somebody has replaced that token already: any live one will do.
            Need::Live | Need::Refused(_) | Need::Renewed(_) => {
                if let Some(token) = self.live_token(now) {
                    return Ok(Join::Ready(token));
                }
            }
        }
        self.may_refresh()?;
        if let Some(flight) = &self.flight {
            return Ok(Join::Wait { flight: flight.clone(), start: false });
        }
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
        self.may_refresh()?;
        if let Some(flight) = self.flight.clone() {
            self.condemned = true;
            return Ok(Join::Wait { flight, start: false });
        }
        if let Some(pause) = self.pause.as_ref().filter(|pause| now < pause.until) {
            return Err(pause.error.clone());
        }
        if !self.refusals.admit(now, config.refusals) {
            return Err(Error::new(
                ErrorKind::Refused,
                "the API has refused several new tokens in a row: it is left alone for a while",
            ));
        }
        self.condemned = true;
        Ok(self.start())
    }

    /// The token was refused and will have no successor: it serves no more.
    fn withdraw(&mut self) {
        if let Some(current) = &mut self.current {
            current.header_value = None;
        }
    }

    /// Starts a refresh that nobody waits for, if one is due.
    pub(super) fn refresh_ahead(&mut self) -> Option<Arc<Flight>> {
        self.due().filter(|&at| at <= Instant::now())?;
        match self.start() {
            Join::Wait { flight, .. } => Some(flight),
            Join::Ready(_) => None,
        }
    }

    /// Makes a token stale if the wall clock has gone on without the monotonic one: the machine
    /// was suspended, and for the server time has passed.
    pub(super) fn notice_drift(&mut self) {
        if let Some(Current { deadlines: Some(deadlines), .. }) = &mut self.current {
            deadlines.follow_wall_clock(Instant::now(), SystemTime::now());
        }
    }

    pub(super) fn has_tasks_due(&self) -> bool {
        self.tasks == Tasks::Due
    }

    /// Whether the caller is to start the tasks.
    pub(super) fn claim_tasks(&mut self) -> bool {
        let due = self.has_tasks_due();
        if due {
            self.tasks = Tasks::Running;
        }
        due
    }

    /// Their runtime is gone: another may start them.
    pub(super) fn tasks_died(&mut self) {
        self.tasks = if self.closed { Tasks::None } else { Tasks::Due };
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    fn may_refresh(&self) -> Result<(), Error> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        if self.leaving {
            return Err(Error::new(ErrorKind::LoginRequired, "the session is being logged out"));
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

    /// Puts tokens into use. An access token that we have already is no new generation.
    pub(super) fn install(&mut self, tokens: Tokens, version: u64, config: &Config) {
        let known = self.tokens().and_then(Tokens::access_token) == tokens.access_token();
        if !known || self.current.is_none() {
            self.generation += 1;
            // It was the old one that was refused.
            self.condemned = false;
        }
        self.version = version;
        self.seed = None;
        self.ended = None;
        self.current = Some(Current {
            header_value: tokens.access.as_ref().map(|access| access.header_value(&config.scheme)),
            deadlines: Deadlines::of(&tokens, config),
            tokens,
        });
    }

    /// Takes over what the store holds, which is newer.
    pub(super) fn follow(&mut self, record: Record, config: &Config) {
        let version = record.version();
        // Whoever was spending this token may have died over it.
        let in_doubt = record.spending().is_some();
        self.unsaved = None;
        self.stored = version;
        match record.into_tokens() {
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
    pub(super) fn land(&mut self, flight: &Arc<Flight>, config: &Config) {
        self.failures = 0;
        self.pause = None;
        self.not_before = Some(Instant::now() + config.spacing);
        let outcome = match (self.token(), &self.ended) {
            (_, Some(error)) => Outcome::Failed(error.clone()),
            (Some(token), None) => Outcome::Granted(token),
            (None, None) => Outcome::Again,
        };
        self.clear_slot(flight, outcome);
    }

    /// Ends the flight without a token. One that is live stays in use.
    pub(super) fn fail(&mut self, flight: &Arc<Flight>, error: Error, then: After, c: &Config) {
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
        self.not_before = Some(now + c.spacing);
        self.clear_slot(flight, Outcome::Failed(error));
    }

    /// Ends a flight that died: who waited looks again.
    pub(super) fn crash(&mut self, flight: &Arc<Flight>) {
        self.clear_slot(flight, Outcome::Again);
    }

    fn clear_slot(&mut self, flight: &Arc<Flight>, outcome: Outcome) {
        self.flight = None;
        self.condemned = false;
        flight.finish(outcome);
    }

    /// Somebody set tokens: a new epoch, whatever was under way.
    pub(super) fn set(&mut self, tokens: Tokens, config: &Config) {
        self.forget(self.version + 1);
        self.install(tokens, self.version, config);
        self.unsaved = Some(Unsaved::Decision);
    }

    /// Somebody logged out: a new epoch without tokens.
    pub(super) fn clear(&mut self) {
        self.forget(self.version + 1);
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

    pub(super) fn set_leaving(&mut self, leaving: bool) {
        self.leaving = leaving;
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn seed(&self) -> Option<&Tokens> {
        self.seed.as_ref()
    }

    /// Marks that a call may spend the refresh token, or that its answer settled the matter. What
    /// becomes of a call of an earlier epoch says nothing of the refresh token there is now.
    pub(super) fn set_in_doubt(&mut self, flight: &Arc<Flight>, in_doubt: bool) {
        if self.is_flying(flight) {
            self.in_doubt = in_doubt;
        }
    }

    pub(super) fn in_doubt(&self) -> bool {
        self.in_doubt
    }

    pub(super) fn unsaved(&self) -> Option<Unsaved> {
        self.unsaved
    }

    /// A refresh could not be saved. If it goes back to an unsaved decision it counts as that.
    pub(super) fn set_unsaved(&mut self) {
        self.unsaved.get_or_insert(Unsaved::Rotation);
    }

    /// The store holds what memory holds, with the word that we are spending its token.
    pub(super) fn marked(&mut self, version: u64) -> bool {
        self.version = version;
        self.stored = version;
        true
    }

    /// The store held this version when it was looked at.
    pub(super) fn note_stored(&mut self, version: Option<u64>) {
        self.stored = self.stored.max(version.unwrap_or_default());
    }

    /// Whether a store that now holds `version` has lost a newer one.
    pub(super) fn is_lost(&self, version: Option<u64>) -> bool {
        version.unwrap_or_default() < self.stored
    }

    /// The store holds `version`; if that is what memory holds, nothing is owed any more.
    pub(super) fn saved(&mut self, version: u64) -> bool {
        self.stored = self.stored.max(version);
        let settled = self.version == version && self.unsaved.is_some();
        if settled {
            self.unsaved = None;
        }
        settled
    }

    /// Whether the caller is to be the one task that saves.
    pub(super) fn claim_saving(&mut self) -> bool {
        self.unsaved.is_some() && !std::mem::replace(&mut self.saving, true)
    }

    /// Whether there is still something to save; if not, the claim is given back in the same step.
    pub(super) fn keep_saving(&mut self) -> bool {
        self.saving = self.unsaved.is_some();
        self.saving
    }

    pub(super) fn give_up_saving(&mut self) {
        self.saving = false;
    }

    /// Whether the store has gone another way than memory, and its way counts: it is ahead, or
    /// somebody was quicker to give the same version to something else.
    pub(super) fn is_behind(&self, stored: &Record) -> bool {
        let elsewhere = self.unsaved.is_some() && !stored.holds(self.tokens());
        stored.version() > self.version || (stored.version() == self.version && elsewhere)
    }

    /// Makes a decision outrank what somebody else has saved in the meantime.
    pub(super) fn outrank(&mut self, stored: u64) {
        self.version = self.version.max(stored + 1);
    }
}
