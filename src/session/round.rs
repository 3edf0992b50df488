//! One refresh as its task sees it.

use std::sync::Arc;

use super::{
    cell::Cell,
    failure::Failure,
    single_flight::{Stage, Waiters},
    state::Ticket,
};

pub(super) struct Refresh<'a> {
    pub(super) cell: &'a Arc<Cell>,
    pub(super) ticket: Ticket,
    pub(super) waiters: &'a Waiters,
}

impl Refresh<'_> {
    /// Ends the wait of the callers, and not the refresh.
    pub(super) fn set_overdue(&self) {
        let config = self.cell.backend.config();
        let stage = self.waiters.progress().stage;
        let name = self.cell.backend.endpoint_name();
        let error = Failure::overdue(config.attempt_timeout, stage, name).error;
        self.cell.apply(|state, now| state.set_overdue(self.ticket, error, config, now));
    }

    /// Says what the refresh waits for from now on.
    pub(super) fn set_stage(&self, stage: Stage) {
        self.waiters.set_stage(stage);
    }
}
