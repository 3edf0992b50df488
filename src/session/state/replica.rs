//! What the store is known to hold beside memory, and what a look at it means.
//!
//! A record is newer than memory if its `turn` is greater: that grows only when tokens change and
//! with each login and log-out. Of one turn with other tokens the store counts. `version` is for
//! compare-and-swap alone: leases are taken and renewed under new versions.

use std::time::Duration;

use tokio::time::Instant;

use super::{End, Event, News, Now, State, Ticket, Worker, demand::Started};
use crate::{
    error::{Error, ErrorKind},
    session::{backoff, config::Config},
    store::{Lease, LoginHistory, RESTORED, Record},
    token::Tokens,
};

pub(super) struct Replica {
    is_stored: bool,
    is_shared: bool,
    /// Waits for the store to say that it is empty. `None` once the store was read.
    pub(super) seed: Option<Box<Tokens>>,
    /// The turn of what memory holds; 0 before there is anything.
    pub(super) turn: u64,
    /// The greatest turn that the store is known to have held.
    pub(super) stored_turn: u64,
    unsaved: Option<Box<Saving>>,
    /// A call that may have used the refresh token had no answer.
    pub(super) in_doubt: Option<Doubt>,
    /// The last answer kept the refresh token: at this server a call does not use it up.
    pub(super) keeps_refresh_token: bool,
    outage: Option<Outage>,
    /// When the next look at the store is due, for a session that is used.
    look_at: Option<Instant>,
    pub(super) look_owed: bool,
}

/// Why memory is ahead of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsaved {
    /// A refresh brought tokens that could not be saved. A newer turn in the store wins.
    Rotation,
    /// Tokens were set, or a log-out. This wins over what is stored, but for what came of it.
    Decision,
}

struct Saving {
    what: Unsaved,
    /// The worker knows of it, and keeps the session alive.
    noticed: bool,
    failures: u32,
    /// The last failure.
    error: Option<Error>,
    try_at: Option<Instant>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Doubt {
    /// The failure that began it.
    cause: Option<Error>,
}

/// The store could not be reached. It may have lost what it held last.
#[derive(Clone, Copy)]
enum Outage {
    Lasting,
    OverSince(Instant),
}

/// Since when a refresh has seen the version that is stored.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::session) struct Seen(Option<(Option<u64>, Instant)>);

/// What a look at the store means for a refresh.
pub(in crate::session) enum Plan {
    /// The refresh has ended: there is a live token, or it is of an earlier login.
    Done,
    /// Another process is at work: look again.
    Yield,
    /// Write this, then look again.
    Write(Write),
    /// Memory and store agree.
    Go(Base),
}

/// What the store gets in the place of the version that is expected there.
pub(in crate::session) struct Write {
    pub(in crate::session) record: Record,
    pub(in crate::session) expected: Option<u64>,
}

/// What a refresh starts from: the newest tokens there are.
pub(in crate::session) struct Base {
    pub(in crate::session) tokens: Tokens,
    pub(in crate::session) turn: u64,
    /// What is stored, to be written back but for what changes.
    pub(in crate::session) record: Record,
    /// The stored version; `None` if nothing is stored.
    pub(in crate::session) version: Option<u64>,
    /// Whether the store can say that this session calls.
    pub(in crate::session) may_lease: bool,
}

/// What is stored, beside what a refresh started from.
pub(in crate::session) enum Compared {
    /// The refresh is of an earlier login.
    EarlierLogin,
    /// The new tokens: the write was carried out.
    Landed,
    /// The same tokens, or a store that has gone back behind them. Write on this version.
    Unchanged { version: Option<u64>, leased_to_another: bool },
    /// Other tokens, or a log-out.
    Superseded,
}

/// What the worker is to do.
pub(in crate::session) enum Owed {
    Save,
    Look,
    Refresh(Started),
    /// Wait until then, for a change of the session, and for news of the store if there are any.
    Wait {
        until: Option<Instant>,
        news: bool,
        unsaved: bool,
    },
    Nothing,
}

enum Relation {
    /// The store is newer.
    Follow,
    Same,
    /// Memory is newer.
    Ahead,
    /// The store is empty, and there is a seed.
    Seed,
    /// Neither has anything.
    Empty,
}

impl Replica {
    pub(super) fn new(is_stored: bool, is_shared: bool) -> Self {
        Self {
            is_stored,
            is_shared,
            seed: None,
            turn: 0,
            stored_turn: 0,
            unsaved: None,
            in_doubt: None,
            keeps_refresh_token: false,
            outage: None,
            look_at: None,
            look_owed: false,
        }
    }

    pub(super) fn forget(&mut self) {
        self.seed = None;
        self.unsaved = None;
        self.in_doubt = None;
        self.keeps_refresh_token = false;
    }
}

impl State {
    /// What a look at the store means for the refresh `ticket` of the session `owner`.
    pub(in crate::session) fn on_loaded(
        &mut self,
        ticket: Ticket,
        stored: Option<Record>,
        (owner, seen): (&str, &mut Seen),
        (config, now): (&Config, &Now),
    ) -> Plan {
        self.note_look(config, now);
        if !self.is_current(ticket) {
            return Plan::Done;
        }
        if let Some(write) = self.agree(stored.as_ref(), config, now) {
            return Plan::Write(write);
        }
        if self.has_ended(ticket, config, now) {
            return Plan::Done;
        }
        let held = seen.since(stored.as_ref().map(Record::version), now.mono);
        match stored.as_ref().and_then(Record::lease) {
            Some(lease) if lease.owner() == owner => return self.base(stored).into(),
            Some(lease) if self.replica.is_shared && held < lease.life() => return Plan::Yield,
            // That process may have called the endpoint, and died over it.
            Some(lease) if lease.owner() != RESTORED && self.uses_refresh_token() => {
                self.replica.in_doubt.get_or_insert_default();
            }
            _ => {}
        }
        if self.replica.is_shared && !self.has_nothing_to_lose() {
            match self.replica.outage {
                // Another process may hold something newer than the store after its outage.
                Some(Outage::OverSince(since)) if now.mono - since < config.lease => {
                    return Plan::Yield;
                }
                _ => self.replica.outage = None,
            }
        }
        self.base(stored).into()
    }

    /// What memory holds, where there is no store or the store need not be waited for.
    pub(in crate::session) fn go_alone(
        &mut self,
        ticket: Ticket,
        config: &Config,
        now: &Now,
    ) -> Option<Base> {
        if !self.is_current(ticket) {
            return None;
        }
        if let Some(seed) = self.replica.seed.take().filter(|seed| !seed.is_empty()) {
            self.replica.turn = self.replica.turn.max(1);
            self.install(*seed, config, now);
        }
        let base = |state: &Self| Base { may_lease: false, ..state.base(None) };
        (!self.has_ended(ticket, config, now)).then(|| base(self))
    }

    /// Ends the refresh if there is a later life than it was started for, or none to be had.
    fn has_ended(&mut self, ticket: Ticket, config: &Config, now: &Now) -> bool {
        let Some(running) = &self.slot.refresh else { return true };
        let by_hand = running.by_hand;
        if running.replaces < self.slot.lives && self.live_token(now).is_some() {
            self.land(ticket, config, now);
        } else if let Some(error) = self.ended().filter(|_| !by_hand || self.is_logged_out()) {
            self.end_quietly(ticket, error.clone());
        }
        !self.is_current(ticket)
    }

    fn base(&self, stored: Option<Record>) -> Base {
        let (tokens, turn) = (self.tokens().cloned().unwrap_or_default(), self.replica.turn);
        let version = stored.as_ref().map(Record::version);
        let record = stored.unwrap_or_else(|| Record::empty(1, turn.max(1)));
        Base { tokens, turn, record, version, may_lease: true }
    }

    /// Brings memory up to the store, or says what to write to bring the store up to memory.
    fn agree(&mut self, stored: Option<&Record>, config: &Config, now: &Now) -> Option<Write> {
        let expected = stored.map(Record::version);
        let record = match self.relation(stored) {
            Relation::Follow => {
                self.follow(stored?.clone(), config, now);
                return None;
            }
            Relation::Same => {
                self.settle(stored?, config, now);
                return None;
            }
            Relation::Empty => {
                self.replica.seed = None;
                self.replica.turn = self.replica.turn.max(stored.map_or(0, Record::turn));
                return None;
            }
            Relation::Seed => {
                let seed = self.replica.seed.as_deref()?.clone();
                let refresh = seed.refresh.clone();
                let record = Record::new(1, stored.map_or(0, Record::turn) + 1, Some(seed));
                let record = stored.into_iter().fold(record, Record::carrying);
                match refresh {
                    Some(refresh) => record.with_seed(&refresh),
                    None => record,
                }
            }
            Relation::Ahead => self.newer_record(stored, config),
        };
        let version = next_version(expected, now);
        Some(Write { record: record.with_version(version), expected })
    }

    /// What memory holds, for a store that has something older.
    fn newer_record(&mut self, stored: Option<&Record>, config: &Config) -> Record {
        if let Some(stored) = stored
            && self.unsaved() == Some(Unsaved::Decision)
            && !stored.logins().include(&self.login.history)
        {
            self.replica.turn = self.replica.turn.max(stored.turn() + 1);
            // The process that decided what is stored learns that it was saved, and that this is
            // later.
            self.login.history.come_after(stored.logins());
        }
        let found = stored.filter(|stored| !stored.is_empty());
        let is_lost = found.map_or(0, Record::turn) < self.replica.stored_turn;
        let tokens = self.tokens().cloned();
        let record = Record::new(1, self.replica.turn, tokens).with_logins(&self.login.history);
        let record = stored.into_iter().fold(record, Record::carrying);
        let in_use = self.is_refreshing() || self.is_in_doubt();
        match stored.and_then(Record::lease) {
            // While this lease lasts, which is no session's, newer tokens can be put back.
            _ if is_lost && self.replica.is_shared => record.with_lease(RESTORED, config.lease),
            // The refresh token beside it is being presented.
            Some(lease) if self.is_rotation_unsaved() && in_use => {
                record.with_lease(lease.owner(), lease.life())
            }
            _ => record,
        }
    }

    fn relation(&self, stored: Option<&Record>) -> Relation {
        let stored = stored.filter(|stored| !stored.is_empty());
        let is_empty = self.slot.current.is_none() && !self.is_logged_out();
        match stored {
            None => match &self.replica.seed {
                Some(seed) if !seed.is_empty() => Relation::Seed,
                _ if is_empty => Relation::Empty,
                _ => Relation::Ahead,
            },
            Some(_) if is_empty => Relation::Follow,
            Some(stored) if stored.holds(self.tokens()) => Relation::Same,
            Some(stored) => {
                let (theirs, ours) = (stored.logins(), &self.login.history);
                if self.unsaved() == Some(Unsaved::Decision) && !theirs.include(ours) {
                    return Relation::Ahead;
                }
                match (is_known(theirs, ours), is_known(ours, theirs)) {
                    // Another process has decided what is not known here.
                    (false, _) => Relation::Follow,
                    (true, false) => Relation::Ahead,
                    (true, true) if stored.turn() >= self.replica.turn => Relation::Follow,
                    (true, true) => Relation::Ahead,
                }
            }
        }
    }

    fn follow(&mut self, record: Record, config: &Config, now: &Now) {
        let generation = self.slot.generation;
        let (turn, history) = (record.turn(), record.logins().clone());
        match record.into_tokens() {
            Some(tokens) => {
                let held = self.tokens().and_then(Tokens::refresh_token);
                let same = held == tokens.refresh_token();
                let keeps = self.replica.keeps_refresh_token && same;
                if self.slot.current.is_some() && !is_known(&history, &self.login.history) {
                    self.login.number += 1;
                }
                self.replica.forget();
                self.replica.keeps_refresh_token = keeps;
                self.life.pause.take_if(|pause| !same && !pause.demanded);
                let life = tokens.left(now.wall);
                self.install(tokens, config, now);
                if self.live_token(now).is_some() {
                    self.life.pause = None;
                }
                self.news.push_back(News::TokenLife(life));
                if self.slot.generation != generation {
                    let generation = self.slot.generation;
                    self.tell(Event::Refreshed { generation, adopted: true });
                }
            }
            None => {
                self.forget();
                self.login.end = Some(End::LoggedOut(Error::new(
                    ErrorKind::LoginRequired,
                    "the session was logged out by another process: log in and set new tokens",
                )));
                self.tell(Event::LoggedOut);
            }
        }
        self.login.history = history;
        self.replica.turn = turn;
        self.replica.stored_turn = self.replica.stored_turn.max(turn);
    }

    /// The store holds what memory holds.
    fn settle(&mut self, stored: &Record, config: &Config, now: &Now) {
        if stored.turn() > self.replica.turn
            && let Some(tokens) = stored.tokens()
        {
            // The same access token with a later end is a new life.
            self.install(tokens.clone(), config, now);
        }
        // What is stored already has this history and this turn for the others: memory must not be
        // ahead of it, or it would be written over what they make of it.
        self.login.history = stored.logins().clone();
        self.replica.turn = stored.turn();
        self.on_stored(stored.turn());
    }

    /// The store holds this turn; if that is what memory holds, nothing is owed any more.
    pub(in crate::session) fn on_stored(&mut self, turn: u64) {
        self.replica.stored_turn = self.replica.stored_turn.max(turn);
        if turn == self.replica.turn && self.replica.unsaved.take().is_some() {
            self.tell(Event::Saved);
        }
    }

    /// Compares what is stored with what the refresh `ticket` started from, after a conflict or a
    /// write that was not answered. Versions say nothing then.
    pub(in crate::session) fn compare(
        &self,
        ticket: Ticket,
        (tokens, turn): (&Tokens, u64),
        stored: Option<&Record>,
        (owner, new): (&str, Option<&Tokens>),
    ) -> Compared {
        if !self.is_current(ticket) {
            return Compared::EarlierLogin;
        }
        let version = stored.map(Record::version);
        // A lease of no session, on tokens that were put back, is no other's.
        let is_another = |lease: &&Lease| ![owner, RESTORED].contains(&lease.owner());
        let lease = stored.and_then(Record::lease).filter(is_another);
        let unchanged = Compared::Unchanged { version, leased_to_another: lease.is_some() };
        let Some(stored) = stored.filter(|stored| !stored.is_empty()) else { return unchanged };
        // A server that rotates has used up the refresh token that is stored, whatever was set
        // beside it meanwhile.
        let stored_token = stored.tokens().and_then(Tokens::refresh_token);
        let used_up = new.is_some_and(|new| new.refresh != tokens.refresh)
            && stored_token.is_some()
            && stored_token == tokens.refresh_token();
        if used_up {
            return unchanged;
        }
        if !is_known(stored.logins(), &self.login.history) {
            return Compared::Superseded;
        }
        match stored.turn() {
            later if later > turn && new.is_some() && stored.holds(new) => Compared::Landed,
            later if later > turn => Compared::Superseded,
            same if same == turn && !stored.holds(Some(tokens)) => Compared::Superseded,
            _ => unchanged,
        }
    }

    /// Takes over the logins that led to what is stored, whose refresh token was used up.
    pub(in crate::session) fn adopt_logins(&mut self, ticket: Ticket, stored: &Record) {
        if self.is_current(ticket) && !is_known(stored.logins(), &self.login.history) {
            self.login.history = stored.logins().clone();
        }
    }

    /// Follows what has taken the place of the tokens that the refresh `ticket` started from.
    pub(in crate::session) fn supersede(
        &mut self,
        ticket: Ticket,
        stored: &Record,
        config: &Config,
        now: &Now,
    ) {
        if !self.is_current(ticket) {
            return;
        }
        match self.relation(Some(stored)) {
            Relation::Follow => self.follow(stored.clone(), config, now),
            Relation::Same => self.settle(stored, config, now),
            _ => return,
        }
        self.has_ended(ticket, config, now);
    }

    /// What a look means that no refresh waits for.
    pub(in crate::session) fn on_look(
        &mut self,
        stored: Option<&Record>,
        config: &Config,
        now: &Now,
    ) -> Option<Write> {
        self.note_look(config, now);
        // A refresh looks for itself, and so does the save of what is unsaved. A seed goes into an
        // empty store with the first refresh.
        let waits = matches!(self.relation(stored), Relation::Seed | Relation::Empty);
        if self.is_refreshing() || self.is_unsaved() || waits {
            return None;
        }
        self.agree(stored, config, now)
    }

    /// Whether the store holds what memory has replaced.
    pub(in crate::session) fn is_ahead_of(&self, stored: &Record) -> bool {
        matches!(self.relation(Some(stored)), Relation::Ahead)
    }

    /// What the store is to get of what is unsaved.
    pub(in crate::session) fn on_saving(
        &mut self,
        stored: Option<&Record>,
        config: &Config,
        now: &Now,
    ) -> Option<Write> {
        self.note_look(config, now);
        if !self.is_unsaved() {
            return None;
        }
        self.agree(stored, config, now)
    }

    /// The store was read.
    fn note_look(&mut self, config: &Config, now: &Now) {
        self.replica.look_owed = false;
        // A store that has lost something is given the life of a lease for the newest tokens to
        // come back. A look has to fall into it, also one that is late.
        let gap = config.lease.mul_f64(0.3 + 0.2 * now.chance);
        self.replica.look_at = self.replica.is_shared.then(|| now.mono + gap);
        if let Some(Outage::Lasting) = self.replica.outage {
            self.replica.outage = Some(Outage::OverSince(now.mono));
        }
    }

    /// A call to the store failed.
    pub(in crate::session) fn note_outage(&mut self, config: &Config, now: &Now) {
        self.replica.outage = self.replica.is_shared.then_some(Outage::Lasting);
        self.replica.look_owed = false;
        self.replica.look_at = self.replica.is_shared.then(|| now.mono + config.lease / 3);
    }

    /// When a session that is used is to look at a shared store.
    pub(super) fn look_at(&self) -> Option<Instant> {
        let quiet = !self.is_refreshing() && !self.is_unsaved() && self.replica.seed.is_none();
        self.replica.look_at.filter(|_| quiet && !self.life.closed && !self.replica.look_owed)
    }

    /// The store may have changed.
    pub(in crate::session) fn look_soon(&mut self) {
        self.replica.look_owed = self.replica.seed.is_none();
    }

    /// Whether a call may use up the refresh token that there is.
    pub(in crate::session) fn uses_refresh_token(&self) -> bool {
        self.refresh_token().is_some() && !self.replica.keeps_refresh_token
    }

    /// Whether it is known that there is no refresh token, here and in the store.
    pub(in crate::session) fn has_nothing_to_lose(&self) -> bool {
        self.replica.seed.is_none() && self.refresh_token().is_none()
    }

    /// Whether refreshes go on while the store fails: no other process uses the tokens, or the
    /// program has said so.
    pub(in crate::session) fn goes_alone(&self, config: &Config) -> bool {
        let loaded = self.replica.seed.is_none();
        config.refresh_without_store
            || (loaded && !self.replica.is_shared)
            || self.has_nothing_to_lose()
    }

    /// The logins that led to what memory holds.
    pub(in crate::session) fn login_history(&self) -> LoginHistory {
        self.login.history.clone()
    }

    pub(in crate::session) fn is_in_doubt(&self) -> bool {
        self.replica.in_doubt.is_some()
    }

    pub(in crate::session) fn doubt_cause(&self) -> Option<Error> {
        self.replica.in_doubt.as_ref()?.cause.clone()
    }

    /// A call may use the refresh token, or its answer settled the matter. What becomes of a call
    /// of an earlier login says nothing of the refresh token there is now.
    pub(in crate::session) fn set_in_doubt(&mut self, ticket: Ticket, in_doubt: bool) {
        if !self.is_current(ticket) {
            return;
        }
        match in_doubt {
            true => _ = self.replica.in_doubt.get_or_insert_default(),
            false => self.replica.in_doubt = None,
        }
    }

    /// The first failure is the cause of the doubt.
    pub(in crate::session) fn set_doubt_cause(&mut self, ticket: Ticket, cause: &Error) {
        if self.is_current(ticket)
            && let Some(doubt) = &mut self.replica.in_doubt
        {
            doubt.cause.get_or_insert_with(|| cause.clone());
        }
    }

    pub(in crate::session) fn is_unsaved(&self) -> bool {
        self.replica.unsaved.is_some()
    }

    /// Whether the worker knows of what is unsaved, and keeps the session alive for it; or there is
    /// nothing.
    pub(in crate::session) fn is_saving_noticed(&self) -> bool {
        self.replica.unsaved.as_ref().is_none_or(|saving| saving.noticed)
    }

    pub(super) fn unsaved(&self) -> Option<Unsaved> {
        self.replica.unsaved.as_ref().map(|saving| saving.what)
    }

    /// Whether what is unsaved came of a refresh: then the store holds a refresh token that is used
    /// up, and the lease keeps others from it.
    pub(in crate::session) fn is_rotation_unsaved(&self) -> bool {
        self.unsaved() == Some(Unsaved::Rotation)
    }

    /// Why the store did not take what is unsaved.
    pub(in crate::session) fn save_error(&self) -> Option<&Error> {
        self.replica.unsaved.as_ref()?.error.as_ref()
    }

    /// What goes back to an unsaved decision counts as that.
    pub(super) fn set_unsaved(&mut self, what: Unsaved) {
        if !self.replica.is_stored {
            return;
        }
        let saving = Saving { what, noticed: false, failures: 0, error: None, try_at: None };
        self.replica.unsaved.get_or_insert(Box::new(saving));
        self.owe_worker();
    }

    /// The store did not take what is unsaved. Told once.
    pub(in crate::session) fn save_failed(&mut self, error: Error, config: &Config, now: &Now) {
        let Some(saving) = &mut self.replica.unsaved else { return };
        saving.failures += 1;
        let most = config.backoff.1.min(config.lease / 3);
        let pause = backoff::pause(config.backoff, saving.failures, now.chance).min(most);
        saving.try_at = Some(now.mono + pause);
        if saving.error.replace(error.clone()).is_none() {
            self.tell(Event::SaveFailed { error });
        }
        self.note_outage(config, now);
    }

    /// Another process wrote at the same time: try again soon.
    pub(in crate::session) fn save_conflicted(&mut self, now: &Now) {
        if let Some(saving) = &mut self.replica.unsaved {
            saving.try_at = Some(now.mono + Duration::from_millis(100).mul_f64(now.chance));
        }
    }

    /// What the worker is to do now. With nothing left its claim ends in the same step.
    pub(in crate::session) fn owed(&mut self, config: &Config, now: &Now) -> Owed {
        self.notice_drift(now);
        let try_at = self.replica.unsaved.as_mut().map(|saving| {
            saving.noticed = true;
            saving.try_at
        });
        let is_left = self.is_refreshing() && self.is_rotation_unsaved();
        match try_at {
            // A refresh under way saves what was set beside its refresh token.
            Some(_) if is_left => {}
            Some(at) if at.is_none_or(|at| at <= now.mono) => return Owed::Save,
            _ => {}
        }
        let quiet = !self.is_refreshing() && !self.is_unsaved();
        if self.replica.look_owed && quiet && !self.life.closed {
            return Owed::Look;
        }
        let fresh = config.keep_fresh && !self.life.closed;
        if fresh && let Some(started) = self.refresh_if_due(now) {
            return Owed::Refresh(started);
        }
        let news = self.replica.is_shared && !self.life.closed;
        if !fresh && !news && try_at.is_none() {
            self.life.worker = Worker::None;
            return Owed::Nothing;
        }
        // However far off the next refresh is, so often the clocks are compared.
        let tick = now.mono + Duration::from_secs(15);
        let due = fresh.then(|| self.refresh_at().unwrap_or(tick).min(tick));
        let save_at = try_at.flatten().filter(|_| !is_left);
        let until = [due, save_at].into_iter().flatten().min();
        Owed::Wait { until, news, unsaved: try_at.is_some() }
    }

    /// Whether the caller is to start the worker.
    pub(in crate::session) fn claim_worker(&mut self) -> bool {
        let owed = self.life.worker == Worker::Owed;
        if owed {
            self.life.worker = Worker::Running;
        }
        owed
    }

    pub(in crate::session) fn is_worker_owed(&self) -> bool {
        self.life.worker == Worker::Owed
    }

    /// The worker ended with its runtime: the next caller inside another starts it.
    pub(in crate::session) fn worker_ended(&mut self, config: &Config) {
        if let Some(saving) = &mut self.replica.unsaved {
            saving.noticed = false;
        }
        let needed = (config.keep_fresh || self.replica.is_shared) && !self.life.closed;
        self.life.worker = if needed || self.is_unsaved() { Worker::Owed } else { Worker::None };
    }
}

impl Seen {
    /// For how long the refresh has seen this version.
    fn since(&mut self, version: Option<u64>, now: Instant) -> Duration {
        match self.0 {
            Some((seen, since)) if seen == version => now - since,
            _ => {
                self.0 = Some((version, now));
                Duration::ZERO
            }
        }
    }
}

impl From<Base> for Plan {
    fn from(base: Base) -> Self {
        Self::Go(base)
    }
}

/// Whether the newest of `logins` is known to `others`.
fn is_known(logins: &LoginHistory, others: &LoginHistory) -> bool {
    logins.is_empty() || others.include(logins)
}

/// A version for the next write. It grows by a random step, so that two histories of a store that
/// a failover has forked do not meet in a number.
pub(in crate::session) fn next_version(stored: Option<u64>, now: &Now) -> u64 {
    let step = 1 + (now.chance * f64::from(1 << 20)) as u64;
    let stored = stored.unwrap_or(0);
    stored
        .checked_add(step)
        .filter(|&next| next <= i64::MAX as u64)
        .unwrap_or(stored.saturating_add(1))
}
