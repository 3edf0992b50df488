//! The lease: a record that says which session is calling the token endpoint.
//!
//! It is `{ owner, life }` without a date, as no two clocks agree. A waiting process respects it
//! for the record's `life` from when it first saw that version (`state/replica`). The holder counts
//! from when it *sent* the write, by whichever of its clocks ran further, and renews it from then
//! to the end of the refresh.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::future::{Either, select};
use tokio::time::{Instant, sleep_until};

use super::{
    cell::Cell,
    failure::Failure,
    state::{Base, Compared, Now, State, Ticket, next_version},
};
use crate::{
    store::{Ended, Record, SaveOutcome},
    token::Tokens,
};

pub(super) struct Lease<'a> {
    cell: &'a Arc<Cell>,
    ticket: Ticket,
    held: Option<Held>,
    lost: bool,
    failures: u32,
}

struct Held {
    /// As it was written last.
    record: Record,
    /// What was leased.
    tokens: Tokens,
    turn: u64,
    /// The login of this process that it was leased for.
    login: u32,
    sent: Sent,
    renew_at: Instant,
}

/// When a write was sent, by both clocks.
#[derive(Clone, Copy)]
struct Sent(Instant, SystemTime);

impl<'a> Lease<'a> {
    pub(super) fn new(cell: &'a Arc<Cell>, ticket: Ticket) -> Self {
        Self { cell, ticket, held: None, lost: false, failures: 0 }
    }

    /// Whether it was lost: no further attempt is started then.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// The stored version, if this has written it.
    pub(super) fn version(&self) -> Option<u64> {
        self.held.as_ref().map(|held| held.record.version())
    }

    /// Leases the record that `base` was read from. `false` if it has changed since: look again.
    pub(super) async fn take(&mut self, base: &Base) -> Result<bool, Failure> {
        if !base.may_lease {
            return Ok(true);
        }
        let life = self.life();
        if let Some(held) = self.held.as_ref().filter(|_| self.version() == base.version)
            && held.sent.elapsed() < life - life / 3
        {
            return Ok(true);
        }
        let owner = self.cell.backend.owner();
        let record = base.record.clone().with_lease(owner, life);
        let record = record.with_version(next_version(base.version, &Now::read()));
        let sent = Sent::now();
        match self.cell.backend.save(record.clone(), base.version).await {
            Ok(SaveOutcome::Stored) => {
                let (tokens, turn) = (base.tokens.clone(), base.turn);
                let renew_at = sent.0 + life / 3;
                let login = self.cell.read(State::id).login;
                self.held = Some(Held { record, tokens, turn, login, sent, renew_at });
                self.lost = false;
                // A slow store may have used up the lease by now.
                Ok(sent.elapsed() < life - life / 3)
            }
            Ok(SaveOutcome::Conflict) => Ok(false),
            Err(error) => {
                let config = self.cell.backend.config();
                self.cell.apply(|state, now| state.note_outage(config, now));
                // For a call that uses nothing up the lease is a courtesy.
                if self.cell.read(|state| state.goes_alone(config)) {
                    return Ok(true);
                }
                self.failures += 1;
                if self.failures < 3 { Ok(false) } else { Err(Failure::store(error)) }
            }
        }
    }

    /// Does the work, and renews the lease a third of its life after the last renewal was sent.
    ///
    /// A renewal is answered or given up before this returns. Losing the lease does not stop the
    /// work, as a refresh token that was sent is used up.
    pub(super) async fn during<F: Future>(&mut self, work: F) -> F::Output {
        let mut work = pin!(work);
        loop {
            let Some(held) = &self.held else { return work.await };
            if let Either::Left((output, _)) =
                select(work.as_mut(), pin!(sleep_until(held.renew_at))).await
            {
                return output;
            }
            // The answer must not wait for a renewal, which is given up. If that is carried out all
            // the same, the save that follows finds the same tokens under another version.
            if let Either::Left((output, _renewal)) =
                select(work.as_mut(), pin!(self.renew())).await
            {
                return output;
            }
        }
    }

    /// Writes the end of the grant in the place of the lease. Whether the store took it; `None` if
    /// another process has changed the tokens meanwhile.
    pub(super) async fn end_grant(&mut self, ended: Ended) -> Option<bool> {
        let Some(held) = &mut self.held else { return Some(false) };
        held.record = held.record.clone().without_lease().with_ended(ended);
        let is_recorded = self.renew().await;
        // There is no lease to give back. One that could not be replaced lapses.
        self.held.take().map(|_| is_recorded)
    }

    /// Writes the record that is held once more. Whether the store took it.
    pub(super) async fn renew(&mut self) -> bool {
        let Some(held) = &self.held else { return false };
        let expected = Some(held.record.version());
        if self.write(expected).await {
            return true;
        }
        // A conflict, or no answer: what counts is whether the tokens are still the same.
        let config = self.cell.backend.config();
        let stored = match self.cell.backend.load().await {
            Ok(stored) => stored,
            Err(_) => {
                self.cell.apply(|state, now| state.note_outage(config, now));
                return false;
            }
        };
        let Some(held) = &self.held else { return false };
        let owner = self.cell.backend.owner();
        let base = (&held.tokens, held.turn);
        let compared = self
            .cell
            .read(|state| state.compare(self.ticket, base, stored.as_ref(), (owner, None)));
        match compared {
            Compared::Unchanged { version, leased_to_another: false } => self.write(version).await,
            _ => {
                self.held = None;
                self.lost = true;
                if let (Compared::Superseded, Some(stored)) = (compared, stored) {
                    // Those who wait need not wait for the answer.
                    let ticket = self.ticket;
                    self.cell.apply(|state, now| state.supersede(ticket, &stored, config, now));
                }
                false
            }
        }
    }

    /// Writes the leased record anew; `false` on a conflict, and if there was no answer.
    async fn write(&mut self, expected: Option<u64>) -> bool {
        let life = self.life();
        let Some(held) = &mut self.held else { return false };
        let record = held.record.clone().with_version(next_version(expected, &Now::read()));
        let sent = Sent::now();
        // Counted from the sending, or a slow store would let it lapse.
        held.renew_at = sent.0 + life / 3;
        let outcome = self.cell.backend.save(record.clone(), expected).await;
        let stored = matches!(outcome, Ok(SaveOutcome::Stored));
        if stored {
            (held.record, held.sent) = (record, sent);
        }
        if outcome.is_err() {
            let config = self.cell.backend.config();
            self.cell.apply(|state, now| state.note_outage(config, now));
        }
        stored
    }

    /// Gives the lease back after a refresh without tokens. If the refresh token may be used up it
    /// lapses instead, so that the next process knows of it; and where new tokens are not saved
    /// yet it stays, for the worker to renew. After a login or a log-out it stays as well: the
    /// refresh token in the record may be used up, and the save of the decision replaces both.
    pub(super) async fn end(mut self) {
        let Some(held) = self.held.take() else { return };
        let keeps = |state: &State| {
            let decided = state.id().login != held.login;
            decided || state.is_in_doubt() || state.is_rotation_unsaved()
        };
        if self.cell.read(keeps) {
            return;
        }
        let expected = held.record.version();
        let record = held.record.without_lease();
        let record = record.with_version(next_version(Some(expected), &Now::read()));
        // If it cannot be given back it lapses.
        let _ = self.cell.backend.save(record, Some(expected)).await;
    }

    /// The save of new tokens has taken the leased record's place.
    pub(super) fn replaced(&mut self) {
        self.held = None;
    }

    fn life(&self) -> Duration {
        self.cell.backend.config().lease
    }
}

impl Sent {
    fn now() -> Self {
        Self(Instant::now(), SystemTime::now())
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed().max(self.1.elapsed().unwrap_or_default())
    }
}
