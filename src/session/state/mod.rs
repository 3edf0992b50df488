//! What a session knows, and every step that changes it. All of it happens under one short lock;
//! nothing here waits.
//!
//! Read `join` for what somebody who needs a token has to do, `land` for how tokens come into use
//! and a flight ends, and `save` for what the store knows of it.

mod join;
mod land;
mod save;

use std::{sync::Arc, time::SystemTime};

use http::HeaderValue;
use tokio::time::Instant;

use super::{
    config::Config,
    snapshot::{Snapshot, Token, TokenId},
    waiting::Flight,
    window::{Deadlines, Refusals},
};
use crate::{
    error::Error,
    event::Status,
    store::{LoginHistory, Record},
    token::{RefreshToken, Tokens},
};

pub(super) use self::{
    join::{Join, Need},
    land::After,
    save::Unsaved,
};

pub(super) struct State {
    /// Which session this is, among all of this process.
    session: u64,
    login: u64,
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
    /// The one refresh that everybody waits for, if one is under way. It is of the current login:
    /// whatever ends that takes it out of the slot.
    flight: Option<Arc<Flight>>,
    /// No refresh will bring a token any more.
    ended: Option<Error>,
    pause: Option<Pause>,
    /// Failed rounds in a row.
    failures: u32,
    /// The last round's end and `min_interval`. No round starts earlier, so that a token which
    /// arrives expired causes no loop.
    not_before: Option<Instant>,
    refusals: Refusals,
    /// A call that may have spent the refresh token has had no answer.
    in_doubt: bool,
    unsaved: Option<Unsaved>,
    /// What somebody has decided, here or elsewhere, that led to what memory holds.
    decisions: LoginHistory,
    /// What the store holds beside the tokens and is to be written back with them.
    carried: Option<Record>,
    /// The refresh tokens that were spent since memory and store were last the same. Whoever has
    /// stored one of them anew, with a mark for instance, has nothing newer than we do.
    replaced: Vec<RefreshToken>,
    /// When we wrote a lease of ours into the record that memory holds, if we did.
    marked: Option<Instant>,
    /// A task is at work on what is unsaved, or about to be started.
    saving: bool,
    /// Those that run for as long as the session is used.
    tasks: Tasks,
    /// So many are logging out.
    leaving: u32,
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

impl State {
    /// `seed` goes into use at once if no store has to be asked first.
    pub(super) fn new(
        session: u64,
        seed: Tokens,
        ask_store: bool,
        is_shared: bool,
        config: &Config,
    ) -> Self {
        let mut state = Self {
            session,
            login: 0,
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
            decisions: LoginHistory::default(),
            carried: None,
            replaced: Vec::new(),
            marked: None,
            saving: false,
            tasks: if config.keep_fresh || is_shared { Tasks::Due } else { Tasks::None },
            leaving: 0,
            closed: false,
        };
        if ask_store {
            state.seed = Some(seed);
        } else if !seed.is_empty() {
            state.install(seed, 1, config);
        }
        state
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let token = if self.condemned { None } else { self.token() };
        let deadlines = self.current.as_ref().and_then(|current| current.deadlines);
        // Tasks that are to be started need somebody to come by the slow way, once; also where no
        // refresh will bring a token, as they may hear of one.
        let tasks_due = self.has_tasks_due();
        let stale_at = if tasks_due { Some(Instant::now()) } else { self.due() };
        let ended = self.ended.clone().filter(|_| !tasks_due);
        Snapshot {
            token,
            stale_at,
            expires_at: deadlines.map(|deadlines| deadlines.expires_at),
            ended,
            login: self.login,
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
        Some(Token::new(header_value, self.id()))
    }

    pub(super) fn id(&self) -> TokenId {
        TokenId { session: self.session, login: self.login, generation: self.generation }
    }

    pub(super) fn tokens(&self) -> Option<&Tokens> {
        self.current.as_ref().map(|current| &current.tokens)
    }

    /// Whether this is the refresh token that would be spent next.
    pub(super) fn holds(&self, refresh_token: Option<&RefreshToken>) -> bool {
        self.tokens().and_then(Tokens::refresh_token) == refresh_token
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// What the store should hold.
    pub(super) fn record(&self) -> Record {
        self.record_of(self.version, self.tokens().cloned(), &self.decisions)
    }

    /// A record to take the place of what is stored.
    pub(super) fn record_of(
        &self,
        version: u64,
        tokens: Option<Tokens>,
        decisions: &LoginHistory,
    ) -> Record {
        let record = Record::new(version, version, tokens).with_logins(decisions);
        match &self.carried {
            Some(carried) => record.carrying(carried),
            None => record,
        }
    }

    /// Remembers what is stored beside the tokens, and no token.
    pub(super) fn carry(&mut self, stored: &Record) {
        self.carried = Some(Record::empty(stored.version(), stored.turn()).carrying(stored));
    }

    pub(super) fn decisions(&self) -> &LoginHistory {
        &self.decisions
    }

    pub(super) fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    pub(super) fn ended(&self) -> Option<&Error> {
        self.ended.as_ref()
    }

    /// Whether the token in use is one that was refused.
    pub(super) fn is_condemned(&self) -> bool {
        self.condemned
    }

    pub(super) fn is_refreshing(&self) -> bool {
        self.flight.is_some()
    }

    pub(super) fn flight(&self) -> Option<&Arc<Flight>> {
        self.flight.as_ref()
    }

    pub(super) fn is_flying(&self, flight: &Arc<Flight>) -> bool {
        self.flight.as_ref().is_some_and(|current| Arc::ptr_eq(current, flight))
    }

    pub(super) fn live_token(&self, now: Instant) -> Option<Token> {
        let deadlines = self.current.as_ref()?.deadlines;
        let live = deadlines.is_none_or(|deadlines| now < deadlines.expires_at);
        if live && !self.condemned { self.token() } else { None }
    }

    /// Makes a token stale if the wall clock has gone on without the monotonic one: the machine
    /// was suspended, and for the server time has passed.
    pub(super) fn notice_drift(&mut self) {
        if let Some(Current { deadlines: Some(deadlines), .. }) = &mut self.current {
            deadlines.follow_wall_clock(Instant::now(), SystemTime::now());
        }
    }

    /// Whether a task is to be started, by whoever comes by with a runtime.
    pub(super) fn has_tasks_due(&self) -> bool {
        self.tasks == Tasks::Due || self.is_saving_due()
    }

    /// Whether the caller is to start those that run for as long as the session is used.
    pub(super) fn claim_tasks(&mut self) -> bool {
        let due = self.tasks == Tasks::Due;
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

    pub(super) fn begin_leaving(&mut self) {
        self.leaving += 1;
    }

    pub(super) fn end_leaving(&mut self) {
        self.leaving -= 1;
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn seed(&self) -> Option<&Tokens> {
        self.seed.as_ref()
    }
}
