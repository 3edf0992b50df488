//! What the store is known to hold beside memory, and what a look at it means.
//!
//! A record is newer than memory if its `turn` is greater: that grows only when tokens change and
//! with each login and log-out. Of one turn with other tokens the store counts. `version` is for
//! compare-and-swap alone: leases are taken and renewed under new versions.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Event, News, Now, State,
    grant_end::End,
    identity::{Identity, Scope},
    saving::{Saving, Unsaved},
};
use crate::{
    error::{Error, ErrorKind},
    session::config::Config,
    store::{LoginHistory, RESTORED, Record},
    token::{RefreshToken, Tokens},
};

pub(super) struct Replica {
    pub(super) is_stored: bool,
    pub(super) is_shared: bool,
    /// Whom the tokens are issued for, if that is known.
    pub(super) identity: Option<Arc<Identity>>,
    /// Waits for the store to say that it is empty. `None` once the store was read.
    pub(super) seed: Option<Box<Tokens>>,
    /// The seed of a session whose store had a record: for when the server refuses that. The store
    /// has not seen it.
    pub(super) spare: Option<Box<Tokens>>,
    /// A seed that the store is to remember with the next record.
    pub(super) seen_seed: Option<Box<RefreshToken>>,
    /// There was a seed, and it was not used.
    pub(super) seed_unused: bool,
    /// The server has refused the refresh token for good, and there is something else to try.
    pub(super) refused: bool,
    /// The turn of what memory holds; 0 before there is anything.
    pub(super) turn: u64,
    /// The greatest turn that the store is known to have held.
    pub(super) stored_turn: u64,
    pub(super) unsaved: Option<Box<Saving>>,
    /// A call that may have used the refresh token had no answer.
    pub(super) in_doubt: Option<Doubt>,
    /// The last answer kept the refresh token: at this server a call does not use it up.
    pub(super) keeps_refresh_token: bool,
    pub(super) outage: Option<Outage>,
    /// When the next look at the store is due, for a session that is used.
    pub(super) look_at: Option<Instant>,
    pub(super) look_owed: bool,
    /// The store tells of something newer: the next use looks there first.
    pub(super) look_first: bool,
    /// Whether the backend is asked for the first tokens.
    pub(super) asks: bool,
    /// The tokens are those that it gave, or came of them without a new refresh token.
    pub(super) is_initial: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Doubt {
    /// The failure that began it.
    pub(super) cause: Option<Error>,
    /// The server has said since that the grant is over.
    pub(super) refused: bool,
}

/// The store could not be reached. It may have lost what it held last.
#[derive(Clone, Copy)]
pub(super) enum Outage {
    Lasting,
    OverSince(Instant),
}

/// What the store gets in the place of the version that is expected there.
pub(in crate::session) struct Write {
    pub(in crate::session) record: Record,
    pub(in crate::session) expected: Option<u64>,
    /// The login of this process that it comes from.
    pub(in crate::session) login: u64,
}

pub(super) enum Relation {
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
            identity: None,
            seed: None,
            spare: None,
            seen_seed: None,
            seed_unused: false,
            refused: false,
            turn: 0,
            stored_turn: 0,
            unsaved: None,
            in_doubt: None,
            keeps_refresh_token: false,
            outage: None,
            look_at: None,
            look_owed: false,
            look_first: false,
            asks: false,
            is_initial: false,
        }
    }

    pub(super) fn forget(&mut self) {
        self.seed = None;
        self.unsaved = None;
        self.in_doubt = None;
        self.refused = false;
        self.keeps_refresh_token = false;
        self.is_initial = false;
    }
}

impl State {
    /// Brings memory up to the store, or says what to write to bring the store up to memory.
    pub(super) fn agree(
        &mut self,
        stored: Option<&Record>,
        config: &Config,
        now: &Now,
    ) -> Option<Write> {
        let expected = stored.map(Record::version);
        let record = match self.relation(stored) {
            Relation::Follow => {
                self.follow(stored?.clone(), config, now);
                return None;
            }
            Relation::Same => {
                self.settle(stored?, config, now);
                self.owed_end(stored?)?
            }
            Relation::Empty => {
                self.replica.seed = None;
                self.replica.turn = self.replica.turn.max(stored.map_or(0, Record::turn));
                if let Some(ended) = stored.and_then(Record::ended) {
                    self.adopt_end(ended);
                }
                return None;
            }
            Relation::Seed => {
                let seed = self.replica.seed.as_deref()?.clone();
                let refresh = seed.refresh.clone();
                let record = Record::new(1, stored.map_or(0, Record::turn) + 1, Some(seed));
                let record =
                    stored.into_iter().fold(record, |record, stored| self.carrying(record, stored));
                let record = self.named(record);
                match refresh {
                    Some(refresh) => record.with_seed(&refresh),
                    None => record,
                }
            }
            Relation::Ahead => self.newer_record(stored, config),
        };
        let version = next_version(expected, now);
        let login = self.login.number;
        Some(Write { record: record.with_version(version), expected, login })
    }

    /// What memory holds, for a store that has something older.
    pub(super) fn newer_record(&mut self, stored: Option<&Record>, config: &Config) -> Record {
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
        let record =
            stored.into_iter().fold(record, |record, stored| self.carrying(record, stored));
        let record = self.named(record);
        let record = match self.over() {
            Some(over) => record.with_ended(over.ended.clone()),
            None => record,
        };
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

    pub(super) fn relation(&self, stored: Option<&Record>) -> Relation {
        let stored = stored.filter(|stored| !stored.is_empty());
        let is_empty = self.slot.current.is_none() && !self.is_logged_out();
        match stored {
            None => match &self.replica.seed {
                Some(seed) if !seed.is_empty() => Relation::Seed,
                _ if is_empty => Relation::Empty,
                _ => Relation::Ahead,
            },
            Some(_) if is_empty => Relation::Follow,
            Some(stored) => {
                let (theirs, ours) = (stored.logins(), &self.login.history);
                let decided = self.unsaved() == Some(Unsaved::Decision) && !theirs.include(ours);
                let (knows_theirs, is_known) = (is_known(theirs, ours), is_known(ours, theirs));
                // The tombstone of an earlier log-out would not outlast a login between the two
                // that another process puts back.
                let is_earlier = self.is_logged_out() && !is_known && (decided || knows_theirs);
                if stored.holds(self.tokens()) && !is_earlier && !self.revives(stored) {
                    return Relation::Same;
                }
                match (knows_theirs, is_known) {
                    _ if decided => Relation::Ahead,
                    // Another process has decided what is not known here.
                    (false, _) => Relation::Follow,
                    (true, false) => Relation::Ahead,
                    (true, true) if stored.turn() >= self.replica.turn => Relation::Follow,
                    (true, true) => Relation::Ahead,
                }
            }
        }
    }

    /// Whether the tokens that are stored were set anew, after the end that stands beside them.
    fn revives(&self, stored: &Record) -> bool {
        self.unsaved() == Some(Unsaved::Decision)
            && stored.ended().is_some()
            && !stored.logins().include(&self.login.history)
    }

    pub(super) fn follow(&mut self, record: Record, config: &Config, now: &Now) {
        let generation = self.slot.generation;
        let (turn, history) = (record.turn(), record.logins().clone());
        self.set_seed_aside(&record);
        let ended = record.ended().cloned();
        match record.into_tokens() {
            Some(tokens) => {
                let held = self.tokens().and_then(Tokens::refresh_token);
                let same = held == tokens.refresh_token();
                let keeps = self.replica.keeps_refresh_token && same;
                if self.slot.current.is_some() && !is_known(&history, &self.login.history) {
                    self.login.number += 1;
                    self.forget_routes();
                }
                self.replica.forget();
                self.replica.keeps_refresh_token = keeps;
                self.life.pause.take_if(|pause| !same && now.mono >= pause.asked_until);
                let life = tokens.left(now.wall);
                self.install(tokens, config, now);
                if self.live_token(now).is_some() {
                    self.life.pause = None;
                    self.life.failing = None;
                }
                if let Some(ended) = ended {
                    self.adopt_end(&ended);
                }
                self.news.push_back(News::TokenLife(life));
                if self.slot.generation != generation {
                    let generation = self.slot.generation;
                    self.tell(Event::Refreshed { generation, adopted: true });
                }
            }
            None => {
                // A login that was asked for after it is not ended by it.
                let login = self.slot.refresh.take_if(|it| it.logs_in && !it.called);
                self.forget();
                self.slot.refresh = login;
                self.drop_seeds();
                let message = match self.replica.seed_unused {
                    false => {
                        "the session was logged out by another process: log in and set new tokens"
                    }
                    true => {
                        "the store says that the session was logged out, and initial tokens do \
                         not undo that: log in and call `set_tokens`"
                    }
                };
                let error = Error::new(ErrorKind::LoginRequired, message);
                self.login.end = Some(End::LoggedOut(error));
                self.tell(Event::LoggedOut);
            }
        }
        self.login.history = history;
        self.replica.turn = turn;
        self.replica.stored_turn = self.replica.stored_turn.max(turn);
    }

    /// The store holds what memory holds.
    pub(super) fn settle(&mut self, stored: &Record, config: &Config, now: &Now) {
        self.set_seed_aside(stored);
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
        match stored.ended() {
            Some(ended) => self.adopt_end(ended),
            // It is to be written first.
            None if self.unsaved() == Some(Unsaved::End) => return,
            None => {}
        }
        self.on_stored(stored.turn(), self.login.number);
    }

    /// The store holds this turn of that login; if that is what memory holds, nothing is owed any
    /// more. The number alone says little: a login that came during a write may have the same.
    pub(in crate::session) fn on_stored(&mut self, turn: u64, login: u64) {
        self.replica.stored_turn = self.replica.stored_turn.max(turn);
        let is_held = (turn, login) == (self.replica.turn, self.login.number);
        if is_held && self.replica.unsaved.take().is_some() {
            self.tell(Event::Saved);
        }
    }

    /// What a look means that no refresh waits for.
    pub(in crate::session) fn on_look(
        &mut self,
        stored: Option<&Record>,
        config: &Config,
        now: &Now,
    ) -> Result<Option<Write>, Error> {
        self.note_look(config, now);
        match self.scope_of(stored) {
            Scope::Covered => {}
            // A refresh looks for itself.
            Scope::Wider => return Ok(None),
            Scope::Different(error) => return Err(error),
        }
        // A refresh looks for itself, and so does the save of what is unsaved. A seed goes into an
        // empty store with the first refresh.
        let waits = matches!(self.relation(stored), Relation::Seed | Relation::Empty);
        if self.is_refreshing() || self.is_unsaved() || waits {
            return Ok(None);
        }
        Ok(self.agree(stored, config, now))
    }

    /// The store was read.
    pub(super) fn note_look(&mut self, config: &Config, now: &Now) {
        self.replica.look_owed = false;
        self.replica.look_first = false;
        // A store that has lost something is given the life of a lease for the newest tokens to
        // come back. A look has to fall into it, also one that is late.
        let gap = config.look_after.unwrap_or_else(|| config.lease.mul_f64(0.3 + 0.2 * now.chance));
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
}

/// Whether the newest of `logins` is known to `others`.
pub(super) fn is_known(logins: &LoginHistory, others: &LoginHistory) -> bool {
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
