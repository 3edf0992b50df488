//! Whose tokens these are: what the store holds of another identity is not used, and not sent.

use super::{Base, State};
use crate::{error::Error, store::Record, token::IssuedFor};

/// Whom a session's tokens are issued for.
#[derive(Debug)]
pub(in crate::session) struct Identity {
    ours: IssuedFor,
    /// Its earlier names.
    formerly: Vec<IssuedFor>,
}

/// What a session requests, beside what the stored tokens were requested with.
pub(super) enum Scope {
    /// The stored tokens will do.
    Covered,
    /// They were requested for a part of it.
    Wider,
    Different(Error),
}

impl Identity {
    pub(in crate::session) fn new(ours: IssuedFor, formerly: Vec<IssuedFor>) -> Self {
        let formerly = formerly.into_iter().map(|former| match former.client().is_empty() {
            true => former.with_client(ours.client()),
            false => former,
        });
        Self { formerly: formerly.collect(), ours }
    }

    /// An error if the record is of another identity. One that names none may be used by any.
    pub(in crate::session) fn check(&self, record: &Record) -> Result<(), Error> {
        let Some(stored) = record.issued_for() else { return Ok(()) };
        let mut ours = std::iter::once(&self.ours).chain(&self.formerly);
        match ours.any(|ours| stored.names().any(|name| name.is_same(ours))) {
            true => Ok(()),
            false => Err(self.ours.foreign(&stored.issued_for())),
        }
    }

    /// Compares what was requested, as sets. The server may have granted less.
    fn scope_of(&self, record: &Record) -> Scope {
        let Some(stored) = record.issued_for().map(|stored| stored.issued_for()) else {
            return Scope::Covered;
        };
        let covers = |wide: &IssuedFor, narrow: &IssuedFor| {
            let has = |scope: &str| wide.scope().split(' ').any(|other| other == scope);
            narrow.scope().split(' ').filter(|scope| !scope.is_empty()).all(has)
        };
        let is_former = |former: &IssuedFor| {
            former.is_same(&stored) && covers(former, &stored) && covers(&stored, former)
        };
        if covers(&stored, &self.ours) {
            Scope::Covered
        } else if covers(&self.ours, &stored) || self.formerly.iter().any(is_former) {
            Scope::Wider
        } else {
            let theirs = self.ours.clone().with_scope(stored.scope());
            Scope::Different(self.ours.foreign(&theirs))
        }
    }
}

impl State {
    /// What the first look at the store says of the scope. Afterwards other processes are followed,
    /// or two that request different scopes would drop each other's tokens by turns.
    pub(super) fn scope_of(&self, stored: Option<&Record>) -> Scope {
        let is_first = self.replica.seed.is_some();
        match (&self.replica.identity, stored.filter(|stored| !stored.is_empty() && is_first)) {
            (Some(identity), Some(stored)) => identity.scope_of(stored),
            _ => Scope::Covered,
        }
    }

    /// The refresh in the slot is for a wider scope than the tokens in use have.
    pub(super) fn widen_scope(&mut self) {
        if let Some(running) = &mut self.slot.refresh {
            running.replaces = self.slot.lives;
            self.slot.invalidated = self.slot.current.is_some();
        }
    }

    /// A record of what a call has brought.
    pub(in crate::session) fn brought(&self, record: Record, base: &Base) -> Record {
        let record = self.carrying(record, &base.record);
        match &base.issued_for {
            Some(issued_for) if self.is_anonymous() => record.renewed_for(issued_for),
            _ => self.named(record),
        }
    }

    /// Says in the record whom its tokens are issued for.
    pub(super) fn named(&self, record: Record) -> Record {
        match &self.replica.identity {
            Some(identity) => record.renewed_for(&identity.ours),
            None => record,
        }
    }

    /// Whether the endpoint is to compare, as this session does not know whose its tokens are.
    pub(in crate::session) fn is_anonymous(&self) -> bool {
        self.replica.identity.is_none()
    }
}
