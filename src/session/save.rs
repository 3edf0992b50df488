//! Saving what a call has brought, and then publishing it.

use super::{
    lease::Lease,
    reconcile::load,
    revoke::revoke_late,
    round::Refresh,
    single_flight::Stage,
    state::{Base, Compared, Now, Published, State, Then, next_version},
};
use crate::{
    error::{Error, ErrorKind},
    store::{Record, SaveOutcome},
    token::Tokens,
};

/// What became of the tokens that a call has brought.
pub(super) enum Saved {
    /// They are in use, or of an earlier login and dropped.
    Done,
    /// Other tokens are stored.
    Superseded,
}

enum Written {
    Stored,
    Failed(Error),
    Superseded { logged_out: bool },
}

/// Saves the new tokens, then publishes them. A save that fails does not hold them back: the
/// refresh token before them is worth nothing any more, so these are the only good ones.
pub(super) async fn save(
    refresh: &Refresh<'_>,
    base: &Base,
    tokens: Tokens,
    lease: &mut Lease<'_>,
    then: Then,
) -> Saved {
    refresh.set_stage(Stage::Save);
    let stored_turn = base.version.map_or(0, |_| base.record.turn());
    let mut turn = refresh.cell.read(State::next_turn).max(stored_turn + 1);
    let mut unpublished = Unpublished { refresh, base, turn, then, tokens: Some(tokens.clone()) };
    let written = write(refresh, base, &tokens, &mut turn, lease).await;
    unpublished.turn = turn;
    let published = match written {
        Written::Stored => {
            lease.replaced();
            unpublished.publish(Ok(()))
        }
        Written::Failed(error) => unpublished.publish(Err(error)),
        Written::Superseded { logged_out } => unpublished.drop_tokens(logged_out),
    };
    match published {
        Published::Done => Saved::Done,
        Published::Superseded => Saved::Superseded,
        Published::EarlierLogin { logged_out } => {
            if logged_out && let Some(refresh_token) = tokens.refresh {
                revoke_late(refresh.cell, refresh_token).await;
            }
            Saved::Done
        }
    }
}

async fn write(
    refresh: &Refresh<'_>,
    base: &Base,
    tokens: &Tokens,
    turn: &mut u64,
    lease: &mut Lease<'_>,
) -> Written {
    let backend = &refresh.cell.backend;
    if !backend.is_stored() {
        return Written::Stored;
    }
    let mut history = refresh.cell.read(State::login_history);
    let mut expected = lease.version().or(base.version);
    let mut failures = 0;
    loop {
        if !refresh.cell.read(|state| state.is_current(refresh.ticket)) {
            return Written::Superseded { logged_out: false };
        }
        let record = Record::new(1, *turn, Some(tokens.clone())).with_logins(&history);
        let record = refresh.cell.read(|state| state.brought(record, base));
        let record = record.with_version(next_version(expected, &Now::read()));
        let mut renewed = false;
        let error = match backend.save(record, expected).await {
            Ok(SaveOutcome::Stored) => return Written::Stored,
            Ok(SaveOutcome::Conflict) => None,
            Err(error) => Some(error),
        };
        let stored = match load(refresh.cell).await {
            Ok(stored) => stored,
            Err(unread) => return Written::Failed(error.unwrap_or(unread)),
        };
        let (from, new) = ((&base.tokens, base.turn), (backend.owner(), Some(tokens)));
        let compared =
            refresh.cell.read(|state| state.compare(refresh.ticket, from, stored.as_ref(), new));
        match compared {
            Compared::Landed => return Written::Stored,
            Compared::EarlierLogin => return Written::Superseded { logged_out: false },
            Compared::Superseded => {
                let logged_out = stored.is_some_and(|stored| stored.is_logged_out());
                return Written::Superseded { logged_out };
            }
            // Also over the lease of another process: what it may save cannot be newer.
            Compared::Unchanged { version, .. } => match error {
                Some(error) if failures > 0 => return Written::Failed(error),
                Some(_) => {
                    failures += 1;
                    // The refresh token that is stored is used up: no other process may try it.
                    lease.renew().await;
                    renewed = true;
                }
                None if version == expected => {
                    let message = "the token store contradicts itself: it has the version that it \
                                   refuses to replace";
                    return Written::Failed(Error::new(ErrorKind::Store, message));
                }
                None => {}
            },
        }
        if let Some(stored) = &stored {
            refresh.cell.apply(|state, _| state.adopt_logins(refresh.ticket, stored));
            history = refresh.cell.read(State::login_history);
        }
        let found = stored.as_ref().map(Record::version);
        expected = if renewed { lease.version().or(found) } else { found };
        *turn = stored.map_or(0, |stored| stored.turn() + 1).max(*turn);
    }
}

/// New tokens between the endpoint's answer and their use. They are not lost with the runtime that
/// they are being saved on: dropped there, they come into use unsaved.
struct Unpublished<'a> {
    refresh: &'a Refresh<'a>,
    base: &'a Base,
    turn: u64,
    then: Then,
    /// `None` once they are in use, or dropped for those of another process.
    tokens: Option<Tokens>,
}

impl Unpublished<'_> {
    fn publish(mut self, saved: Result<(), Error>) -> Published {
        self.put_into_use(saved)
    }

    fn drop_tokens(mut self, logged_out: bool) -> Published {
        self.tokens = None;
        let ticket = self.refresh.ticket;
        let here = self
            .refresh
            .cell
            .read(|state| (!state.is_current(ticket)).then(|| state.was_logged_out_since(ticket)));
        match here {
            Some(logged_out) => Published::EarlierLogin { logged_out },
            None if logged_out => Published::EarlierLogin { logged_out },
            None => Published::Superseded,
        }
    }

    fn put_into_use(&mut self, saved: Result<(), Error>) -> Published {
        let Some(tokens) = self.tokens.take() else { return Published::Done };
        let Refresh { cell, ticket, .. } = *self.refresh;
        let (replaced, turn, then) = (self.base.tokens.refresh_token(), self.turn, self.then);
        cell.apply(|state, now| {
            let context = (cell.backend.config(), now);
            state.publish(ticket, replaced, (tokens, turn, saved), then, context)
        })
    }
}

impl Drop for Unpublished<'_> {
    fn drop(&mut self) {
        let message = "the runtime ended before the token store had taken the new tokens";
        self.put_into_use(Err(Error::new(ErrorKind::Store, message)));
    }
}
