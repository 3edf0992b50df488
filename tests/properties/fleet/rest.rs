//! Everything comes to rest: what must be true once all troubles are over.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tower_refresh::{Error, Tokens};

use super::{
    open::WAIT_LIMIT,
    plan::{Reply, Server as Kind},
    process::Place,
    takeover::Fault,
    world::{CALM, World},
};

/// Every process has heard of a change by then, and none may refresh before.
const HEARD: Duration = Duration::from_secs(35);

impl World {
    /// All processes agree, then after a login, then after a log-out.
    pub(crate) async fn end(&mut self) {
        self.heal();
        self.start_another();
        sleep(CALM).await;
        self.look();
        let waiting: usize = self.open.iter().map(|open| open.callers.len()).sum();
        self.violations.unless(waiting == 0, || format!("{waiting} wait for ever"));
        self.agree("after the calm").await;
        self.check_costs().await;
        self.check_idle().await;

        self.log_in(self.open.len() - 1, None);
        sleep(HEARD).await;
        self.agree("after a login").await;
        self.check_holder(Fault::LostAnswer).await;
        self.check_holder(Fault::Failover).await;
        self.check_released().await;
        self.check_late_save().await;
        self.check_take_over().await;
        self.log_out(0);
        sleep(HEARD).await;
        self.agree("after a log-out").await;
    }

    /// Each process gets a token that the API accepts if there is one, and all the same ones.
    async fn agree(&mut self, when: &str) {
        for open in self.open.clone() {
            let mut got = open.get(&self.server, &self.violations).await;
            for _ in 0..2 {
                if !self.is_right(&got) {
                    // With its first use it has looked at the store.
                    sleep(Duration::from_secs(3)).await;
                    got = open.get(&self.server, &self.violations).await;
                }
            }
            let (right, name) = (self.is_right(&got), open.process.name);
            self.violations.unless(right, || format!("{name} has {got:?} {when}"));
        }
        let start = Instant::now();
        let mut standing = self.standing();
        while standing.is_some() && start.elapsed() < WAIT_LIMIT {
            sleep(Duration::from_millis(500)).await;
            for open in &mut self.open {
                // A session that is used looks at its store.
                let _ = open.session.token().await;
            }
            standing = self.standing();
        }
        self.violations.unless(standing.is_none(), || format!("{} {when}", standing.unwrap()));
        self.rest().await;
    }

    /// Whether a session has to get this.
    fn is_right(&self, got: &Result<String, Error>) -> bool {
        match got {
            Ok(token) => self.server.issuer.accepts(token),
            Err(error) => self.is_over(self.login()) && error.is_login_required(),
        }
    }

    /// The login that counts.
    pub(crate) fn login(&self) -> u64 {
        if self.is_shared() {
            return self.shelf.place().login;
        }
        self.processes.iter().map(|process| process.lock().seen.login).max().unwrap_or_default()
    }

    /// Whether no call can bring a token any more.
    pub(crate) fn is_over(&self, login: u64) -> bool {
        let over = self.start.server != Kind::Credentials && self.server.newest(login).is_none();
        self.is_logged_out() || over
    }

    fn is_logged_out(&self) -> bool {
        if self.is_shared() {
            return self.shelf.is_logged_out();
        }
        self.open.iter().all(|open| open.session.tokens().is_none())
    }

    /// Which process stands elsewhere than the store and the server.
    fn standing(&self) -> Option<String> {
        if self.is_logged_out() {
            let other = self.open.iter().find(|open| !open.session.status().is_login_required())?;
            return Some(format!("{} goes on", other.process.name));
        }
        if !self.is_shared() || self.start.server == Kind::Credentials {
            return None;
        }
        let stored = self.shelf.place();
        self.server.newest(stored.login)?;
        // What a process that is gone was told is known to none.
        let told = self.processes.iter().filter(|process| !process.is_shut());
        let newest = told.map(|process| process.lock().told).max().unwrap_or_default();
        if newest.login == stored.login && newest > stored {
            return Some(format!("{stored:?} is stored although the newest is {newest:?}"));
        }
        self.open.iter().find_map(|open| {
            let tokens = open.session.tokens();
            let token = tokens.as_ref().and_then(Tokens::refresh_token);
            let place = token.map(|token| Place::of(token.expose()));
            (place != Some(stored)).then(|| format!("{} is at {place:?}", open.process.name))
        })
    }

    /// A refresh writes twice, and renews its lease while the call lasts.
    async fn check_costs(&mut self) {
        if self.is_over(self.login()) || !self.is_shared() || self.start.keep_fresh {
            return;
        }
        let open = self.open[0].clone();
        // The first finds what other processes have stored.
        open.process.lock().by_hand.0 = Some(Instant::now() + CALM);
        let _ = open.session.refresh().await;
        sleep(Duration::from_secs(70)).await;
        if self.is_over(self.login()) {
            // What was lost has cost the login.
            return;
        }
        self.server.answer(Reply::Slow(9_000));
        let (before, life) = (self.shelf.counts(&open.process), open.process.lease);
        let refreshed = open.session.refresh().await;
        let after = self.shelf.counts(&open.process);
        let writes = (after.writes - after.renewals) - (before.writes - before.renewals);
        let renewals = after.renewals - before.renewals;
        let most = (9_000 / (life / 3).as_millis() + 1) as u64;
        let name = open.process.name;
        self.violations.unless(refreshed.is_ok() && writes == 2 && renewals <= most, || {
            format!("{name} wrote {writes} times and {renewals} renewals: {refreshed:?}")
        });
    }

    /// No session that is not used reads the store or calls the server.
    async fn check_idle(&mut self) {
        if self.start.keep_fresh {
            return;
        }
        sleep(Duration::from_secs(70)).await;
        let loads = |world: &Self| -> Vec<u64> {
            world.open.iter().map(|open| open.process.lock().loads).collect()
        };
        let (before, calls) = (loads(self), self.server.when_called().len());
        sleep(CALM).await;
        let (after, called) = (loads(self), self.server.when_called().len());
        self.violations.unless((&before, calls) == (&after, called), || {
            format!("idle sessions read the store: {before:?}, {after:?}; {calls}, {called} calls")
        });
    }
}
