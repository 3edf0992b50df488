//! Tasks that run for as long as a session is used, and keep none alive.

use std::sync::{Arc, Weak};

use super::{shared::Shared, state::State};

/// The claim to be the tasks of a session, shared by those that run. It holds the session weakly.
/// When the last of them ends with its runtime, whoever comes by next starts them anew.
pub(super) struct Started {
    pub(super) shared: Weak<Shared>,
}

impl Started {
    /// The session, if it is still used and not closed.
    pub(super) fn session(&self) -> Option<Arc<Shared>> {
        let shared = self.shared.upgrade()?;
        (!shared.read(State::is_closed)).then_some(shared)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.change(State::tasks_died);
        }
    }
}
