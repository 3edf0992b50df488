//! What a set asks of a session in it.

use super::{Now, State, Worker};
use crate::session::config::Config;

impl State {
    /// Whether nothing would be lost if this state was gone: what there is can be read again from
    /// the store, or asked for again; and no call, pause or budget is under way that a session made
    /// anew would not know of.
    pub(in crate::session) fn may_forget(&self, config: &Config, now: &Now) -> bool {
        let life = &self.life;
        let is_quiet = self.slot.refresh.is_none()
            && life.worker == Worker::None
            && life.log_outs_in_progress == 0
            && !self.replica.look_owed
            && !self.is_unsaved()
            && !self.is_in_doubt()
            && self.news.is_empty();
        let is_over = life.pause.as_ref().is_none_or(|pause| pause.until <= now.mono)
            && life.not_before.is_none_or(|at| at <= now.mono)
            && life
                .refusals
                .as_ref()
                .is_none_or(|refusals| refusals.are_over(now.mono, config.refusals.1));
        is_quiet && is_over && self.is_recoverable(now)
    }

    /// Whether a session made anew would have what this one has.
    fn is_recoverable(&self, now: &Now) -> bool {
        if self.replica.is_stored {
            return true;
        }
        // Or a log-out would be undone by what gives the first tokens.
        if self.is_logged_out() {
            return false;
        }
        let Some(tokens) = self.tokens() else { return true };
        match tokens.refresh_token() {
            Some(_) => self.replica.is_initial,
            // Set by hand, an access token alone is worth keeping while it is live.
            None => self.login.number == 0 || self.live_token(now).is_none(),
        }
    }

    /// Whether the token in use is live, and it is known until when.
    pub(in crate::session) fn has_life_left(&self, now: &Now) -> bool {
        let has_end = self.slot.current.as_ref().is_some_and(|held| held.deadlines.is_some());
        has_end && self.live_token(now).is_some()
    }

    /// The store has this turn now, as its stream of changes says.
    pub(in crate::session) fn on_change(&mut self, turn: u64, now: &Now) {
        let is_unread = self.replica.seed.is_some();
        // Whatever looks or saves by itself finds out.
        if is_unread || self.is_refreshing() || self.is_unsaved() || self.life.closed {
            return;
        }
        if turn > self.replica.turn {
            self.look_when_used(now);
            let is_paused = self.life.pause.as_ref().is_some_and(|pause| now.mono < pause.until);
            self.replica.look_first = !is_paused && self.life.log_outs_in_progress == 0;
        } else if turn < self.replica.turn {
            // It has lost something, unless this message is late: then it costs a look.
            self.replica.look_owed = true;
            self.owe_worker();
        }
    }

    /// The store may have changed: the next use looks at it.
    pub(in crate::session) fn look_when_used(&mut self, now: &Now) {
        if self.replica.is_shared && self.replica.seed.is_none() {
            self.replica.look_at = Some(now.mono);
        }
    }
}
