//! What a call has brought, until it is in use.

use std::sync::Arc;

use super::{reconcile::Base, save::Saver, shared::Shared, waiting::Flight};
use crate::{
    error::{Error, ErrorKind},
    event::Event,
    token::Tokens,
};

pub(super) enum Landing {
    /// Published, or of an earlier login and dropped.
    Down,
    /// The store holds something else than it did before the call.
    Conflict,
}

/// New tokens between the endpoint's answer and their use. The old refresh token is worth nothing
/// any more, so these are not lost with the runtime that they are being saved on: dropped there,
/// they come into use unsaved.
pub(super) struct Brought<'a> {
    shared: &'a Arc<Shared>,
    flight: &'a Arc<Flight>,
    base: &'a Base,
    /// `None` once they are in use, or given up for somebody else's.
    tokens: Option<Tokens>,
}

impl<'a> Brought<'a> {
    pub(super) fn new(
        shared: &'a Arc<Shared>,
        flight: &'a Arc<Flight>,
        base: &'a Base,
        tokens: &Tokens,
    ) -> Self {
        Self { shared, flight, base, tokens: Some(tokens.clone()) }
    }

    /// Somebody else has saved: theirs count.
    pub(super) fn give_up(mut self) -> Landing {
        self.tokens = None;
        Landing::Conflict
    }

    /// They are saved as this version, or could not be.
    pub(super) fn publish(mut self, version: u64, unsaved: Option<Error>) -> Landing {
        self.put_into_use(version, unsaved)
    }

    fn put_into_use(&mut self, version: u64, unsaved: Option<Error>) -> Landing {
        let Some(tokens) = self.tokens.take() else { return Landing::Down };
        let (shared, life, replaced) = (self.shared, tokens.life, self.base.tokens.refresh_token());
        let landed = shared.change(|state| {
            if !state.is_flying(self.flight) {
                return Err(Landing::Down);
            }
            if unsaved.is_some() && !state.holds(replaced) {
                // Meanwhile memory has followed what somebody else had stored.
                return Err(Landing::Conflict);
            }
            state.install(tokens, version, &shared.config);
            let caught_up = unsaved.is_none() && state.saved(version);
            if unsaved.is_some() {
                state.set_unsaved(replaced.cloned());
            }
            state.land(self.flight, &shared.config);
            Ok((state.id().generation, caught_up, state.claim_saving()))
        });
        let (generation, caught_up, claimed) = match landed {
            Ok(landed) => landed,
            Err(landing) => return landing,
        };
        let saver = claimed.then(|| Saver::new(shared, true));
        shared.events.observer().token_lives(life);
        shared.events.send(Event::Refreshed { generation, adopted: false });
        if caught_up {
            shared.events.send(Event::Saved);
        }
        if let Some(error) = unsaved {
            shared.events.send(Event::SaveFailed { error });
        }
        if let Some(saver) = saver {
            saver.start();
        }
        Landing::Down
    }
}

impl Drop for Brought<'_> {
    fn drop(&mut self) {
        let message = "the runtime ended before the token store had taken the new tokens";
        let version = self.base.version.unwrap_or(0) + 1;
        self.put_into_use(version, Some(Error::new(ErrorKind::Store, message)));
    }
}
