use crate::{store::Record, token::Tokens};

/// Which calls to a [`GatedStore`](super::GatedStore) a setting or a count is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreCalls {
    /// Every call but [`changed`](crate::store::TokenStore::changed).
    All,
    /// [`load`](crate::store::TokenStore::load).
    Loads,
    /// [`save`](crate::store::TokenStore::save), whatever it writes.
    Writes,
    /// Writes that change the tokens, that log in or out, or that say that the grant is over.
    Saves,
    /// Writes that change no more than the [lease](crate::store::Record::lease): it is taken,
    /// renewed or given back.
    Renewals,
}

/// What one call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Load,
    Save,
    Renewal,
}

pub(super) const KINDS: [Kind; 3] = [Kind::Load, Kind::Save, Kind::Renewal];

impl Kind {
    /// What the write of `record` is where `stored` is.
    pub(super) fn of_write(record: &Record, stored: Option<&Record>) -> Self {
        let leases = match stored {
            Some(stored) => changes_nothing(record, stored),
            None => record.is_empty(),
        };
        if leases { Self::Renewal } else { Self::Save }
    }
}

/// Whether the two differ at most in lease and version. Of encrypted ones the turn tells, so the
/// end of a grant, which is written in the same turn, is not seen in them.
pub(super) fn changes_nothing(record: &Record, stored: &Record) -> bool {
    let what = |record: &Record| {
        let without_tokens = (record.is_logged_out(), record.is_empty());
        (record.turn(), without_tokens, record.ended().cloned())
    };
    let tokens = |record: &Record| {
        let both = |tokens: &Tokens| (tokens.access.clone(), tokens.refresh.clone());
        record.tokens().map(both)
    };
    what(record) == what(stored) && tokens(record) == tokens(stored)
}

impl StoreCalls {
    pub(super) fn cover(self, kind: Kind) -> bool {
        match self {
            Self::All => true,
            Self::Loads => kind == Kind::Load,
            Self::Writes => kind != Kind::Load,
            Self::Saves => kind == Kind::Save,
            Self::Renewals => kind == Kind::Renewal,
        }
    }
}

/// One value for each kind of call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PerKind<T>([T; KINDS.len()]);

impl<T: Copy> PerKind<T> {
    pub(super) fn of(&self, kind: Kind) -> T {
        self.0[kind as usize]
    }

    pub(super) fn change(&mut self, calls: StoreCalls, change: impl Fn(&mut T)) {
        let covered = KINDS.into_iter().filter(|&kind| calls.cover(kind));
        covered.for_each(|kind| change(&mut self.0[kind as usize]));
    }

    pub(super) fn change_one(&mut self, kind: Kind, change: impl Fn(&mut T)) {
        change(&mut self.0[kind as usize]);
    }
}

impl PerKind<usize> {
    pub(super) fn total(&self, calls: StoreCalls) -> usize {
        KINDS.into_iter().filter(|&kind| calls.cover(kind)).map(|kind| self.of(kind)).sum()
    }
}
