//! What is unsaved, and what the worker is to do.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Event, Now, State, Worker,
    demand::Started,
    plan::is_leased_to_another,
    replica::{Relation, Write, next_version},
};
use crate::{
    error::Error,
    session::{backoff, config::Config},
    store::Record,
};

/// Why memory is ahead of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsaved {
    /// A refresh brought tokens that could not be saved. A newer turn in the store wins.
    Rotation,
    /// Tokens were set, or a log-out. This wins over what is stored, but for what came of it.
    Decision,
    /// The server has said that the grant is over.
    End,
}

pub(super) struct Saving {
    what: Unsaved,
    /// The worker knows of it, and keeps the session alive.
    noticed: bool,
    failures: u32,
    /// The last failure.
    error: Option<Error>,
    try_at: Option<Instant>,
}

/// What the worker is to do.
pub(in crate::session) enum Owed {
    Save,
    Look,
    Refresh(Started),
    /// Wait until then, for a change of the session, and for news of the store if there are any.
    Wait {
        until: Option<Instant>,
        news: bool,
        unsaved: bool,
    },
    Nothing,
}

impl State {
    /// What the store is to get of what is unsaved.
    pub(in crate::session) fn on_saving(
        &mut self,
        stored: Option<&Record>,
        config: &Config,
        now: &Now,
    ) -> Option<Write> {
        self.note_look(config, now);
        if !self.is_unsaved() {
            return None;
        }
        self.agree(stored, config, now)
    }

    /// The renewed lease on a record whose refresh token is used up, while its successor cannot be
    /// saved.
    pub(in crate::session) fn renewal(
        &self,
        stored: Record,
        owner: &str,
        config: &Config,
        now: &Now,
    ) -> Option<Write> {
        let is_used_up = matches!(self.relation(Some(&stored)), Relation::Ahead)
            && stored.tokens().is_some_and(|tokens| tokens.refresh_token().is_some());
        if !is_used_up || is_leased_to_another(&stored, owner) {
            return None;
        }
        let expected = Some(stored.version());
        let record = stored.with_lease(owner, config.lease);
        let record = record.with_version(next_version(expected, now));
        Some(Write { record, expected, login: self.login.number })
    }

    pub(in crate::session) fn is_unsaved(&self) -> bool {
        self.replica.unsaved.is_some()
    }

    /// Whether the worker knows of what is unsaved, and keeps the session alive for it; or there is
    /// nothing.
    pub(in crate::session) fn is_saving_noticed(&self) -> bool {
        self.replica.unsaved.as_ref().is_none_or(|saving| saving.noticed)
    }

    pub(super) fn unsaved(&self) -> Option<Unsaved> {
        self.replica.unsaved.as_ref().map(|saving| saving.what)
    }

    /// Whether what is unsaved came of a refresh: then the store holds a refresh token that is used
    /// up, and the lease keeps others from it.
    pub(in crate::session) fn is_rotation_unsaved(&self) -> bool {
        self.unsaved() == Some(Unsaved::Rotation)
    }

    /// A refresh under way saves what came of one before it, and what was set beside its refresh
    /// token.
    pub(in crate::session) fn is_left_to_refresh(&self) -> bool {
        self.is_refreshing() && self.is_rotation_unsaved()
    }

    /// Why the store did not take what is unsaved.
    pub(in crate::session) fn save_error(&self) -> Option<&Error> {
        self.replica.unsaved.as_ref()?.error.as_ref()
    }

    /// What goes back to an unsaved decision counts as that.
    pub(super) fn set_unsaved(&mut self, what: Unsaved) {
        if !self.replica.is_stored {
            return;
        }
        let saving = Saving { what, noticed: false, failures: 0, error: None, try_at: None };
        self.replica.unsaved.get_or_insert(Box::new(saving));
        self.owe_worker();
    }

    /// The store did not take what is unsaved. Told once.
    pub(in crate::session) fn save_failed(&mut self, error: Error, config: &Config, now: &Now) {
        let Some(saving) = &mut self.replica.unsaved else { return };
        saving.failures += 1;
        let most = config.backoff.1.min(config.lease / 3);
        let pause = backoff::pause(config.backoff, saving.failures, now.chance).min(most);
        saving.try_at = Some(now.mono + pause);
        if saving.error.replace(error.clone()).is_none() {
            self.tell(Event::SaveFailed { error });
        }
        self.note_outage(config, now);
    }

    /// Another process wrote at the same time: try again soon.
    pub(in crate::session) fn save_conflicted(&mut self, now: &Now) {
        if let Some(saving) = &mut self.replica.unsaved {
            saving.try_at = Some(now.mono + Duration::from_millis(100).mul_f64(now.chance));
        }
    }

    /// What the worker is to do now. With nothing left its claim ends in the same step.
    pub(in crate::session) fn owed(&mut self, config: &Config, now: &Now) -> Owed {
        self.notice_drift(now);
        let try_at = self.replica.unsaved.as_mut().map(|saving| {
            saving.noticed = true;
            saving.try_at
        });
        let is_left = self.is_left_to_refresh();
        match try_at {
            Some(_) if is_left => {}
            Some(at) if at.is_none_or(|at| at <= now.mono) => return Owed::Save,
            _ => {}
        }
        let quiet = !self.is_refreshing() && !self.is_unsaved();
        if self.replica.look_owed && quiet && !self.life.closed {
            return Owed::Look;
        }
        let fresh = config.keep_fresh && !self.life.closed && !self.life.is_swept;
        if fresh && let Some(started) = self.refresh_if_due(now) {
            return Owed::Refresh(started);
        }
        let news = self.replica.is_shared && !self.life.closed && !self.life.is_swept;
        if !fresh && !news && try_at.is_none() {
            self.life.worker = Worker::None;
            return Owed::Nothing;
        }
        // However far off the next refresh is, so often the clocks are compared.
        let tick = now.mono + Duration::from_secs(15);
        let due = fresh.then(|| self.refresh_at().unwrap_or(tick).min(tick));
        let save_at = try_at.flatten().filter(|_| !is_left);
        let until = [due, save_at].into_iter().flatten().min();
        Owed::Wait { until, news, unsaved: try_at.is_some() }
    }

    /// Whether the caller is to start the worker.
    pub(in crate::session) fn claim_worker(&mut self) -> bool {
        let owed = self.life.worker == Worker::Owed;
        if owed {
            self.life.worker = Worker::Running;
        }
        owed
    }

    pub(in crate::session) fn is_worker_owed(&self) -> bool {
        self.life.worker == Worker::Owed
    }

    /// The worker ended with its runtime: the next caller inside another starts it.
    pub(in crate::session) fn worker_ended(&mut self, config: &Config) {
        if let Some(saving) = &mut self.replica.unsaved {
            saving.noticed = false;
        }
        let watches = config.keep_fresh || self.replica.is_shared;
        let needed = watches && !self.life.closed && !self.life.is_swept;
        self.life.worker = if needed || self.is_unsaved() { Worker::Owed } else { Worker::None };
    }
}
