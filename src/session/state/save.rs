//! What the store knows of what memory holds.

use std::sync::Arc;

use super::State;
use tokio::time::Instant;

use crate::{
    session::waiting::Flight,
    store::Record,
    token::{RefreshToken, Tokens},
};

/// Why memory is ahead of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Unsaved {
    /// A refresh brought tokens that could not be saved. A newer version in the store wins.
    Rotation,
    /// Somebody set tokens or logged out. This wins over whatever is stored, but for what came of
    /// it.
    Decision,
}

impl State {
    /// Marks that a call may spend the refresh token, or that its answer settled the matter. What
    /// becomes of a call of an earlier login says nothing of the refresh token there is now.
    pub(in crate::session) fn set_in_doubt(&mut self, flight: &Arc<Flight>, in_doubt: bool) {
        if self.is_flying(flight) {
            self.in_doubt = in_doubt;
        }
    }

    pub(in crate::session) fn in_doubt(&self) -> bool {
        self.in_doubt
    }

    pub(in crate::session) fn unsaved(&self) -> Option<Unsaved> {
        self.unsaved
    }

    /// A refresh that has spent `replaced` could not be saved. If it goes back to an unsaved
    /// decision it counts as that.
    pub(in crate::session) fn set_unsaved(&mut self, replaced: Option<RefreshToken>) {
        self.unsaved.get_or_insert(Unsaved::Rotation);
        self.replaced.extend(replaced);
    }

    /// The store holds what memory holds, with the word that we are spending its token.
    pub(in crate::session) fn marked(&mut self, version: u64, at: Instant) -> bool {
        self.version = version;
        self.stored = version;
        self.marked = Some(at);
        true
    }

    /// Whether the store says that we are spending its token, and a flight is at it. What a flight
    /// has left behind there, because nobody knows what became of its call, ends by itself.
    pub(in crate::session) fn is_spending(&self) -> bool {
        self.marked.is_some() && self.flight.is_some()
    }

    /// When we wrote the lease that the store holds.
    pub(in crate::session) fn marked_at(&self) -> Option<Instant> {
        self.marked
    }

    /// The store held this version when it was looked at.
    pub(in crate::session) fn note_stored(&mut self, version: Option<u64>) {
        self.stored = self.stored.max(version.unwrap_or_default());
    }

    /// Whether a store that now holds `version` has lost a newer one.
    pub(in crate::session) fn is_lost(&self, version: Option<u64>) -> bool {
        version.unwrap_or_default() < self.stored
    }

    /// The store holds `version`; if that is what memory holds, nothing is owed any more.
    pub(in crate::session) fn saved(&mut self, version: u64) -> bool {
        self.stored = self.stored.max(version);
        let settled = self.version == version && self.unsaved.is_some();
        if settled {
            self.unsaved = None;
            self.replaced.clear();
        }
        settled
    }

    /// Whether there is something to save, and nobody who does.
    pub(super) fn is_saving_due(&self) -> bool {
        self.unsaved.is_some() && !self.saving
    }

    /// Whether the caller is to start the one task that saves. Whoever leaves something unsaved
    /// asks in the same step, so that nobody comes between, and operators hear of it in order.
    pub(in crate::session) fn claim_saving(&mut self) -> bool {
        let due = self.is_saving_due();
        self.saving |= due;
        due
    }

    /// Whether there is still something to save; if not, the claim is given back in the same step.
    pub(in crate::session) fn keep_saving(&mut self) -> bool {
        self.saving = self.unsaved.is_some();
        self.saving
    }

    /// There is no runtime to save on, or it has ended: whoever has one may start the task.
    pub(in crate::session) fn give_up_saving(&mut self) {
        self.saving = false;
    }

    /// Whether the store has gone another way than memory, and its way counts: it is ahead, or
    /// somebody was quicker to give the same version to something else.
    pub(in crate::session) fn is_behind(&self, stored: &Record) -> bool {
        if stored.is_empty() || self.outranks(stored) {
            return false;
        }
        let elsewhere = self.unsaved.is_some() && !stored.holds(self.tokens());
        stored.version() > self.version || (stored.version() == self.version && elsewhere)
    }

    /// Whether what memory holds counts, whatever the version of what is stored: somebody decided
    /// so here, or the stored refresh token is one that we have already spent.
    pub(in crate::session) fn outranks(&self, stored: &Record) -> bool {
        match self.unsaved {
            None => false,
            // What came of our decision is no rival of it: it was saved, though we never heard so.
            Some(Unsaved::Decision) if !stored.logins().include(&self.decisions) => {
                !stored.holds(self.tokens())
            }
            Some(Unsaved::Decision | Unsaved::Rotation) => {
                let token = stored.tokens().and_then(Tokens::refresh_token);
                token.is_some_and(|token| self.replaced.contains(token))
            }
        }
    }

    /// Takes back the word that we are spending the token: what the store should hold then.
    pub(in crate::session) fn unmark(&self) -> Option<(Record, u64)> {
        let version = self.version;
        (self.marked.is_some() && !self.in_doubt && self.unsaved.is_none())
            .then(|| (self.record().with_version(version + 1).without_lease(), version))
    }

    /// The store holds what memory holds, under this version.
    pub(in crate::session) fn settle_at(&mut self, version: u64) {
        self.version = version;
        self.stored = self.stored.max(version);
        self.marked = None;
    }

    /// Makes what memory holds take the place of what somebody else has saved in the meantime.
    pub(in crate::session) fn outrank(&mut self, stored: &Record) {
        self.version = self.version.max(stored.version() + 1);
        if self.unsaved == Some(Unsaved::Decision) && !stored.logins().include(&self.decisions) {
            // Whoever decided what is stored is to know that it was saved, and that this came later.
            self.decisions.come_after(stored.logins());
        }
    }
}
