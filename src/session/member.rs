//! What a set does to the sessions in it.

use std::sync::Arc;

use tokio::{runtime::Handle, time::Instant};

use super::{
    Session,
    backend::Backend,
    cell::Cell,
    refresh,
    state::{Beginning, Now, State},
    unique::next_session,
    worker,
};

/// How the sessions of a set begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Membership {
    pub(crate) is_stored: bool,
    pub(crate) is_shared: bool,
    pub(crate) has_login: bool,
    /// The backend is asked for first tokens.
    pub(crate) asks: bool,
}

/// What a session of a set is made of, with nothing read yet.
pub(crate) fn member_cell<B: Backend>(backend: B, membership: Membership) -> Cell<B> {
    let Membership { is_stored, is_shared, has_login, asks } = membership;
    let beginning = Beginning {
        session: next_session(),
        initial_tokens: Default::default(),
        is_stored,
        is_shared,
        has_login,
        keep_fresh: false,
        is_swept: true,
        asks,
        identity: None,
    };
    let state = State::new(beginning, backend.config(), &Now::read());
    Cell::new(state, backend)
}

impl<B: Backend> Cell<B> {
    pub(crate) fn backend(&self) -> &B {
        &self.backend
    }

    /// Whether nothing is lost by forgetting it, if nothing holds it.
    pub(crate) fn may_forget(&self) -> bool {
        self.is_idle() && self.read(|state| state.may_forget(self.backend.config(), &Now::read()))
    }

    /// Whether its token is known to be live.
    pub(crate) fn has_life_left(&self) -> bool {
        self.read(|state| state.has_life_left(&Now::read()))
    }

    /// When the next refresh should start if no caller needs it earlier.
    pub(crate) fn refresh_at(&self) -> Option<Instant> {
        self.read(|state| state.refresh_at().filter(|_| state.tokens().is_some()))
    }
}

impl Session {
    pub(crate) fn of<B: Backend + 'static>(cell: Arc<Cell<B>>) -> Self {
        Self { cell }
    }

    /// Starts the refresh that is due, and waits until it has ended.
    pub(crate) async fn refresh_in_background(&self) {
        self.refresh_ahead();
        self.cell.wait_until(|cell| !cell.read(State::is_refreshing)).await;
    }

    /// The store has this turn now. The next use looks first if that is later than what is held; what
    /// the store has lost is put back at once.
    pub(crate) fn on_change(&self, turn: u64) {
        self.cell.apply(|state, now| state.on_change(turn, now));
        if let Ok(runtime) = Handle::try_current() {
            worker::start_if_owed(&self.cell, &runtime, refresh::start);
        }
    }

    /// The store may have any turn now.
    pub(crate) fn look_when_used(&self) {
        self.cell.apply(|state, now| state.look_when_used(now));
    }

    pub(crate) fn begin_close(&self) {
        self.cell.apply(|state, _| state.close());
    }
}
