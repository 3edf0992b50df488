//! What a session knows, and every step that changes it: pure, without I/O, a clock or randomness
//! of its own. The steps take `now`, are made under one short lock, and wait for nothing.
//!
//! Read `demand` for what a caller that needs a token has to do, `outcome` for how a refresh ends
//! and tokens come into use, `grant_end` for what comes after the server's final word, `replica` for
//! what is known of the store and `plan` for what a look at it means, `saving` for what is unsaved,
//! `identity` for whose tokens they are, `schedule` for deadlines and pauses, and `refusals` for what
//! refusals may cost.

mod demand;
mod grant_end;
mod identity;
#[cfg(feature = "sessions")]
mod member;
mod outcome;
mod plan;
mod refusals;
mod replica;
mod saving;
mod schedule;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::HeaderValue;
use tokio::time::Instant;

use super::{
    event::{Event, Status},
    single_flight::Waiters,
    snapshot::{Snapshot, Token, TokenId},
};
use crate::{
    error::Error,
    store::LoginHistory,
    token::{RefreshToken, Tokens},
};

pub(crate) use self::refusals::{Refused, Route};
pub(super) use self::{
    demand::{Attention, Join, Need, Started},
    identity::Identity,
    outcome::{After, Published, Then},
    plan::{Base, Compared, Plan, Seen},
    refusals::Answer,
    replica::{Write, next_version},
    saving::Owed,
};
use self::{
    grant_end::End,
    refusals::{Cause, Refusals},
    replica::Replica,
    saving::Unsaved,
    schedule::{Deadlines, Pause},
};
pub(super) use super::now::Now;

pub(super) struct State {
    login: Login,
    slot: Slot,
    replica: Replica,
    life: Life,
    news: VecDeque<News>,
}

/// Whose tokens these are: it changes when tokens are set and at a log-out.
struct Login {
    /// Which session this is, among all of this process.
    session: u64,
    /// Invariant: a request sent in one login never carries a token of another.
    number: u64,
    history: LoginHistory,
    end: Option<End>,
    /// The number that the last log-out here began; 0 before there was one.
    last_log_out: u64,
    /// Whether there is a login endpoint.
    has_endpoint: bool,
}

/// What belongs to one access token.
struct Slot {
    current: Option<Current>,
    generation: u64,
    /// How many lives there were: one more for each new token, and for each token that was given a
    /// later end.
    lives: u64,
    /// The current token was refused. Invariant: only while the refresh that this started is in
    /// the slot and not overdue.
    invalidated: bool,
    /// Invariant: a refresh in the slot is of the current login.
    refresh: Option<Running>,
}

/// The tokens in use, and what is derived from them once.
struct Current {
    tokens: Tokens,
    header_value: Option<HeaderValue>,
    /// Since when it is in use here, and how old it was then.
    since: (Instant, Duration),
    /// `None` if nothing says when the access token expires.
    deadlines: Option<Deadlines>,
}

/// The one refresh that all callers wait for.
struct Running {
    ticket: Ticket,
    waiters: Arc<Waiters>,
    /// A token of a later life ends it.
    replaces: u64,
    by_hand: bool,
    /// It was asked for a new login.
    logs_in: bool,
    /// It has called an endpoint.
    called: bool,
    /// The refusal that started it, if it was one.
    cause: Option<Cause>,
    /// Its call was not answered in time for its first callers, and is still out.
    overdue: bool,
}

/// Names one refresh. Invariant: a step with a ticket that is not in the slot changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    number: u64,
    login: u64,
}

struct Life {
    began: Instant,
    tickets: u64,
    closed: bool,
    /// The endpoint has issued tokens to this session.
    has_worked: bool,
    log_outs_in_progress: u32,
    worker: Worker,
    /// A set's sweep does what is due in time, and hears the store's news.
    is_swept: bool,
    /// Failed refreshes in a row, by kind.
    failures: u32,
    misconfigured: u32,
    /// When the first of the failed refreshes in a row failed, and the error of the last.
    failing: Option<Box<(SystemTime, Error)>>,
    /// The last end of a refresh, and `min_interval`. No refresh starts earlier, so that a token
    /// that arrives expired causes no loop.
    not_before: Option<Instant>,
    pause: Option<Box<Pause>>,
    refusals: Option<Box<Refusals>>,
}

/// The task that does what no caller waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worker {
    /// There is nothing to do.
    None,
    /// Not running. The next caller inside a Tokio runtime starts it.
    Owed,
    Running,
}

/// What is told outside of the lock, in order.
#[derive(Debug)]
pub(crate) enum News {
    Event(Event),
    /// How long the new access token lives from now on.
    TokenLife(Option<Duration>),
}

/// What of a session is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy {
    pub(crate) refreshing: bool,
    pub(crate) unsaved: bool,
}

/// What a session begins with.
pub(super) struct Beginning {
    pub(super) session: u64,
    pub(super) initial_tokens: Tokens,
    /// Whether there is a store that has to be asked first.
    pub(super) is_stored: bool,
    pub(super) is_shared: bool,
    pub(super) has_login: bool,
    pub(super) keep_fresh: bool,
    /// `None` if it is not known whom the tokens are issued for.
    pub(super) identity: Option<Arc<Identity>>,
    /// Whether it is of a set, whose sweep sees to it.
    pub(super) is_swept: bool,
    /// Whether its backend is asked for the first tokens.
    pub(super) asks: bool,
}

impl Current {
    fn age(&self, at: Instant) -> Duration {
        let (since, age) = self.since;
        age.saturating_add(at.saturating_duration_since(since))
    }
}

impl State {
    pub(super) fn new(beginning: Beginning, config: &super::config::Config, now: &Now) -> Self {
        let Beginning {
            session,
            initial_tokens,
            is_stored,
            is_shared,
            has_login,
            keep_fresh,
            is_swept,
            asks,
            identity,
        } = beginning;
        let worker = match (keep_fresh || is_shared) && !is_swept {
            true => Worker::Owed,
            false => Worker::None,
        };
        let mut state = Self {
            login: Login {
                session,
                number: 0,
                history: LoginHistory::default(),
                end: None,
                last_log_out: 0,
                has_endpoint: has_login,
            },
            slot: Slot {
                current: None,
                generation: 0,
                lives: 0,
                invalidated: false,
                refresh: None,
            },
            replica: Replica { asks, ..Replica::new(is_stored, is_shared) },
            life: Life {
                began: now.mono,
                tickets: 0,
                closed: false,
                has_worked: false,
                log_outs_in_progress: 0,
                worker,
                is_swept,
                failures: 0,
                misconfigured: 0,
                failing: None,
                not_before: None,
                pause: None,
                refusals: None,
            },
            news: VecDeque::new(),
        };
        state.replica.identity = identity;
        if is_stored {
            state.replica.seed = Some(Box::new(initial_tokens));
        } else if !initial_tokens.is_empty() {
            state.replica.turn = 1;
            state.install(initial_tokens, config, now);
        }
        state
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let token = if self.is_withheld() { None } else { self.token() };
        let deadlines = self.slot.current.as_ref().and_then(|current| current.deadlines);
        Snapshot {
            token,
            stale_at: self.attention_at(),
            expires_at: deadlines.map(|deadlines| deadlines.expires_at),
            ended: self.ended().cloned(),
            login: self.login.number,
        }
    }

    pub(super) fn status(&self, now: &Now) -> Status {
        Status {
            generation: self.slot.generation,
            live: self.live_token(now).is_some(),
            expires_at: self.tokens().and_then(Tokens::expires_at),
            refreshing: self.slot.refresh.is_some(),
            login_required: self.login.end.is_some(),
            login_required_since: self.over_since(),
            failing_since: self.life.failing.as_ref().map(|failing| failing.0),
            error: self.ended().or(self.last_failure()).cloned(),
            unsaved: self.is_unsaved() && self.unsaved() != Some(Unsaved::End),
        }
    }

    /// The token in use, whether or not it is live.
    fn token(&self) -> Option<Token> {
        let header_value = self.slot.current.as_ref()?.header_value.clone()?;
        Some(Token::new(header_value, self.id()))
    }

    pub(super) fn live_token(&self, now: &Now) -> Option<Token> {
        let deadlines = self.slot.current.as_ref()?.deadlines;
        let live = deadlines.is_none_or(|deadlines| now.mono < deadlines.expires_at);
        if live && !self.is_withheld() { self.token() } else { None }
    }

    /// The token in use is not to be sent: it was refused, or the store is known to have another.
    fn is_withheld(&self) -> bool {
        self.slot.invalidated || self.replica.look_first
    }

    pub(super) fn busy(&self) -> Busy {
        Busy { refreshing: self.is_refreshing(), unsaved: self.is_unsaved() }
    }

    pub(super) fn id(&self) -> TokenId {
        let Login { session, number, .. } = self.login;
        // Neither comes near its end: no two of them follow each other by less than a call takes.
        let [login, generation] = [number, self.slot.generation].map(|number| number as u32);
        TokenId { session, login, generation }
    }

    pub(super) fn tokens(&self) -> Option<&Tokens> {
        self.slot.current.as_ref().map(|current| &current.tokens)
    }

    /// The newest refresh token here, for a log-out.
    pub(super) fn refresh_token(&self) -> Option<&RefreshToken> {
        let tokens = self.tokens().or(self.replica.seed.as_deref());
        tokens.and_then(Tokens::refresh_token)
    }

    fn last_failure(&self) -> Option<&Error> {
        self.life.failing.as_ref().map(|failing| &failing.1)
    }

    /// Whether there was a log-out since the refresh `ticket` began.
    pub(super) fn was_logged_out_since(&self, ticket: Ticket) -> bool {
        self.login.last_log_out > ticket.login || self.is_logged_out()
    }

    pub(super) fn is_refreshing(&self) -> bool {
        self.slot.refresh.is_some()
    }

    pub(super) fn waiters(&self) -> Option<&Arc<Waiters>> {
        self.slot.refresh.as_ref().map(|running| &running.waiters)
    }

    pub(super) fn is_current(&self, ticket: Ticket) -> bool {
        self.slot.refresh.as_ref().is_some_and(|running| running.ticket == ticket)
    }

    pub(super) fn not_before(&self) -> Option<Instant> {
        self.life.not_before
    }

    /// Whether this process has seen the endpoint issue tokens.
    pub(super) fn has_worked(&self) -> bool {
        self.life.has_worked
    }

    pub(super) fn is_closed(&self) -> bool {
        self.life.closed
    }

    pub(super) fn close(&mut self) {
        self.life.closed = true;
    }

    pub(super) fn begin_log_out(&mut self) {
        self.life.log_outs_in_progress += 1;
    }

    pub(super) fn end_log_out(&mut self) {
        self.life.log_outs_in_progress -= 1;
    }

    pub(super) fn step_up_required(&mut self, acr_values: Option<String>, max_age: Option<u64>) {
        self.tell(Event::StepUpRequired { acr_values, max_age });
    }

    fn tell(&mut self, event: Event) {
        self.news.push_back(News::Event(event));
    }

    pub(super) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    pub(super) fn next_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }
}
