//! What a look at the store means for a refresh.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Now, State, Ticket,
    identity::Scope,
    replica::{Outage, Relation, Write, is_known},
};
use crate::{
    error::Error,
    session::config::Config,
    store::{LoginHistory, RESTORED, Record},
    token::{IssuedFor, Tokens},
};

/// Since when a refresh has seen the version that is stored.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::session) struct Seen(Option<(Option<u64>, Instant)>);

/// What a look at the store means for a refresh.
pub(in crate::session) enum Plan {
    /// The refresh has ended: there is a live token, or it is of an earlier login.
    Done,
    /// Another process is at work: look again.
    Yield,
    /// The record is not to be used.
    Refuse(Error),
    /// Write this, then look again.
    Write(Write),
    /// Memory and store agree.
    Go(Base),
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
    /// Whether the login endpoint is called, and not the token endpoint.
    pub(in crate::session) logs_in: bool,
    /// Whom a session that does not know is told its tokens are issued for.
    pub(in crate::session) issued_for: Option<Box<IssuedFor>>,
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
        let scope = match self.scope_of(stored.as_ref()) {
            Scope::Different(error) => return Plan::Refuse(error),
            scope => scope,
        };
        if let Some(write) = self.agree(stored.as_ref(), config, now) {
            return Plan::Write(write);
        }
        if let Scope::Wider = scope {
            self.widen_scope();
        }
        if let Some(write) = stored.as_ref().and_then(|stored| self.spare_seed(stored, now)) {
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
        if self.replica.is_shared && !self.is_lease_a_courtesy() {
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
            self.replica.is_initial = true;
        }
        self.replica.look_first = false;
        let base = |state: &Self| Base { may_lease: false, ..state.base(None) };
        (!self.has_ended(ticket, config, now)).then(|| base(self))
    }

    /// Whether the backend is to be asked for first tokens: there are none here, and the store holds
    /// nothing, not even a log-out.
    pub(in crate::session) fn asks_initial_tokens(&self, stored: Option<&Record>) -> bool {
        let has_seed = self.replica.seed.as_ref().is_some_and(|seed| !seed.is_empty());
        let is_empty = self.slot.current.is_none() && self.login.end.is_none() && !has_seed;
        self.replica.asks && is_empty && stored.is_none_or(Record::is_empty)
    }

    /// What it gave.
    pub(in crate::session) fn set_seed(&mut self, ticket: Ticket, tokens: Tokens) {
        if self.is_current(ticket) {
            self.replica.seed = Some(Box::new(tokens));
        }
    }

    /// Ends the refresh if there is a later life than it was started for, or none to be had.
    pub(super) fn has_ended(&mut self, ticket: Ticket, config: &Config, now: &Now) -> bool {
        let Some(running) = &self.slot.refresh else { return true };
        if running.replaces < self.slot.lives && self.live_token(now).is_some() {
            self.land(ticket, config, now);
        } else if let Some(error) = self.end_in_force(now) {
            self.end_quietly(ticket, error.clone());
        }
        !self.is_current(ticket)
    }

    fn base(&self, stored: Option<Record>) -> Base {
        let (tokens, turn) = (self.tokens().cloned().unwrap_or_default(), self.replica.turn);
        let version = stored.as_ref().map(Record::version);
        let record = stored.unwrap_or_else(|| Record::empty(1, turn.max(1)));
        let record = self.replica.seen_seed.as_deref().into_iter().fold(record, Record::with_seed);
        Base {
            tokens,
            turn,
            record,
            version,
            may_lease: true,
            logs_in: self.logs_in(),
            issued_for: None,
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
        let leased_to_another = stored.is_some_and(|stored| is_leased_to_another(stored, owner));
        let unchanged = Compared::Unchanged { version, leased_to_another };
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
            // A login that was asked for began with the log-out that is stored.
            same if same == turn && stored.is_logged_out() && self.is_logged_out() => unchanged,
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

    /// Whether a call may use up the refresh token that there is.
    pub(in crate::session) fn uses_refresh_token(&self) -> bool {
        self.refresh_token().is_some() && !self.replica.keeps_refresh_token
    }

    /// Whether a call uses nothing up: there is no refresh token, here or in the store, and no
    /// login, which is to be made once.
    fn is_lease_a_courtesy(&self) -> bool {
        let has_refresh_token = self.replica.seed.is_some() || self.refresh_token().is_some();
        !has_refresh_token && !self.login.has_endpoint
    }

    /// Whether refreshes go on while the store fails: no other process uses the tokens, or the
    /// program has said so.
    pub(in crate::session) fn goes_alone(&self, config: &Config) -> bool {
        let loaded = self.replica.seed.is_none();
        config.refresh_without_store
            || (loaded && !self.replica.is_shared)
            || self.is_lease_a_courtesy()
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

    /// A call with the refresh token had no answer. The first such failure is the cause of the
    /// doubt.
    pub(in crate::session) fn set_doubt_cause(&mut self, ticket: Ticket, cause: &Error) {
        if self.is_current(ticket)
            && let Some(doubt) = &mut self.replica.in_doubt
        {
            doubt.refused = false;
            doubt.cause.get_or_insert_with(|| cause.clone());
        }
    }

    /// The server says that the grant is over. Whether it is the first time since the last call
    /// without an answer.
    pub(in crate::session) fn refuse_in_doubt(&mut self, ticket: Ticket) -> bool {
        let doubt = self.replica.in_doubt.as_mut();
        let first = doubt.is_some_and(|doubt| !std::mem::replace(&mut doubt.refused, true));
        first && self.is_current(ticket)
    }
}

/// Whether another session is calling. The lease of no session, on tokens that were put back, is no
/// other's.
pub(in crate::session) fn is_leased_to_another(stored: &Record, owner: &str) -> bool {
    stored.lease().is_some_and(|lease| ![owner, RESTORED].contains(&lease.owner()))
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
