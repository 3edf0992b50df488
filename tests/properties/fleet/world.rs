//! Processes with one identity between a server and a store, both in memory and both watched.

use std::{sync::Arc, time::Duration};

use proptest::sample::Index;
use tokio::time::{Instant, sleep};
use tower_refresh::{Session, Tokens};

use super::{
    open::{Open, WAIT_LIMIT},
    plan::{Operation, Start, Weather},
    process::{Place, Process, Violations},
    server::{Endpoint, Server},
    shelf::{Connection, Shelf},
};

/// After so long without trouble every pause, lease, mark and window of refusals is over.
const CALM: Duration = Duration::from_secs(60);

/// Everybody has heard of a change by then.
const HEARD: Duration = Duration::from_secs(5);

pub(crate) struct World {
    start: Start,
    pub(crate) server: Server,
    shelf: Shelf,
    pub(crate) violations: Violations,
    /// How many times somebody has logged in or out, the first login included.
    logins: u64,
    /// What every process starts with.
    seed: Tokens,
    /// Those that ever were, by their names.
    processes: Vec<Arc<Process>>,
    /// Those that take requests.
    open: Vec<Open>,
    /// Those that do not any more, and have something left to save.
    leaving: Vec<Open>,
}

impl World {
    pub(crate) fn new(start: &Start) -> Self {
        let violations = Violations::default();
        let server = Server::new(start, violations.clone());
        let shelf = Shelf::new(server.clone(), violations.clone());
        let (_, refresh_token) = server.log_in(1);
        let mut world = Self {
            start: start.clone(),
            server,
            shelf,
            violations,
            logins: 1,
            seed: Tokens::from_refresh_token(refresh_token).unwrap(),
            processes: Vec::new(),
            open: Vec::new(),
            leaving: Vec::new(),
        };
        (0..start.processes).for_each(|_| world.start());
        world
    }

    pub(crate) async fn step(&mut self, operation: &Operation) {
        match operation {
            Operation::Ask(index) => self.act(self.pick(index), |open, world| open.ask(world)),
            Operation::Refresh(index) => {
                self.act(self.pick(index), |open, world| open.refresh(world))
            }
            Operation::Cancel(index) => self.act(self.pick(index), |open, _| {
                if let Some(caller) = open.callers.pop() {
                    caller.abort();
                }
            }),
            Operation::Refuse(index) => self.act(self.pick(index), |open, world| {
                if let Some(token) = open.session.tokens().as_ref().and_then(Tokens::access_token) {
                    world.server.refuse(token.expose());
                }
            }),
            Operation::LogIn(index) => self.log_in(self.pick(index)),
            Operation::LogOut(index) => self.log_out(self.pick(index)),
            Operation::Start => self.start(),
            Operation::Close(index) => {
                if let Some(open) = self.take(index) {
                    tokio::spawn(open.close(self.violations.clone()));
                }
            }
            Operation::Leave(index) => drop(self.take(index)),
            Operation::Kill(index) => {
                if let Some(open) = self.take(index) {
                    open.process.lock().dead = true;
                    open.callers.iter().for_each(|caller| caller.abort());
                }
            }
            Operation::Store(index, weather) => {
                let only = index.as_ref().map(|index| self.pick(index));
                for (at, open) in self.open.iter().enumerate() {
                    if only.is_none_or(|only| only == at) {
                        open.process.lock().store = *weather;
                    }
                }
            }
            Operation::Answer(reply) => self.server.answer(*reply),
            Operation::Sleep(time) => sleep(*time).await,
        }
        self.look();
    }

    fn pick(&self, index: &Index) -> usize {
        index.index(self.open.len().max(1))
    }

    fn act(&mut self, at: usize, act: impl FnOnce(&mut Open, &Self)) {
        if let Some(mut open) = self.open.get(at).cloned() {
            act(&mut open, self);
            self.open[at] = open;
        }
    }

    fn take(&mut self, index: &Index) -> Option<Open> {
        let at = self.pick(index);
        let open = (at < self.open.len()).then(|| self.open.swap_remove(at))?;
        if open.session.status().is_unsaved() {
            self.leaving.push(open.clone());
        }
        Some(open)
    }

    fn start(&mut self) {
        if self.open.len() >= 4 {
            return;
        }
        let process = Process::new(self.processes.len());
        let endpoint = Endpoint { server: self.server.clone(), process: process.clone() };
        let store = Connection {
            shelf: self.shelf.clone(),
            process: process.clone(),
            news: self.start.news,
        };
        let session = Session::builder(endpoint)
            .initial_tokens(self.seed.clone())
            .store(store)
            .keep_fresh(self.start.keep_fresh)
            .build();
        self.processes.push(process.clone());
        self.open.push(Open { process, session, callers: Vec::new() });
    }

    /// A decision that nobody knows to be saved goes on being saved, and may come after a later
    /// one of another process: so that one waits here.
    fn may_decide(&self, process: &Arc<Process>) -> bool {
        let mut others = self
            .open
            .iter()
            .chain(&self.leaving)
            .filter(|open| !Arc::ptr_eq(&open.process, process) && !open.process.is_dead());
        !others.any(|open| open.session.status().is_unsaved() && open.has_decided())
    }

    fn log_in(&mut self, at: usize) {
        let next = self.logins + 1;
        let mut done = false;
        self.act(at, |open, world| {
            done = world.may_decide(&open.process);
            if done {
                let (access_token, refresh_token) = world.server.log_in(next);
                // Half of them bring an access token of which nothing says when it expires.
                let tokens = match next % 2 {
                    0 => Tokens::new(access_token).unwrap(),
                    _ => Tokens::default(),
                };
                let tokens = tokens.with_refresh_token(refresh_token).unwrap();
                let session = open.session.clone();
                open.decide(next, world, async move { session.set_tokens(tokens).await });
            }
        });
        self.logins += u64::from(done);
    }

    fn log_out(&mut self, at: usize) {
        let next = self.logins + 1;
        let mut done = false;
        self.act(at, |open, world| {
            done = world.may_decide(&open.process) && !world.shelf.is_logged_out();
            if done {
                let session = open.session.clone();
                open.decide(next, world, async move { session.log_out().await });
            }
        });
        self.logins += u64::from(done);
    }

    /// What must be true at any time.
    fn look(&mut self) {
        for open in &mut self.open {
            if let Some(tokens) = open.session.tokens() {
                open.process.saw(tokens.refresh_token().unwrap().expose(), &self.violations);
            }
            open.callers.retain(|caller| !caller.is_finished());
        }
    }

    /// All troubles are over: everybody agrees, then after a login, then after a log-out.
    pub(crate) async fn end(&mut self) {
        self.server.heal();
        for process in &self.processes {
            process.lock().store = Weather::FINE;
        }
        self.start();
        sleep(CALM).await;
        self.look();
        let waiting: usize = self.open.iter().map(|open| open.callers.len()).sum();
        self.violations.unless(waiting == 0, || format!("{waiting} wait for ever"));
        for process in &self.processes {
            let (decided, stored) = (process.lock().decided, self.shelf.place().login);
            // To log out twice is to log out.
            let saved = process.is_dead() || decided <= stored || self.shelf.is_logged_out();
            let name = process.name;
            self.violations.unless(saved, || format!("what was decided in {name} is not saved"));
        }
        self.agree("after the calm").await;

        self.log_in(self.open.len() - 1);
        sleep(HEARD).await;
        self.agree("after a login").await;
        self.log_out(0);
        sleep(HEARD).await;
        self.agree("after a log-out").await;
    }

    /// Each process gets a token that the API takes if there is one, and all the same ones.
    async fn agree(&mut self, when: &str) {
        for open in self.open.clone() {
            let got = open.get(&self.server, &self.violations).await;
            let (stored, name) = (self.shelf.place(), open.process.name);
            let good = match &got {
                Ok(token) => self.server.accepts(token),
                Err(error) => {
                    let over =
                        self.shelf.is_logged_out() || self.server.newest(stored.login).is_none();
                    over && error.is_login_required()
                }
            };
            self.violations.unless(good, || format!("{name} has {got:?} {when}"));
        }
        let start = Instant::now();
        let mut standing = self.standing();
        while standing.is_some() && start.elapsed() < WAIT_LIMIT {
            sleep(Duration::from_millis(500)).await;
            standing = self.standing();
        }
        self.violations.unless(standing.is_none(), || format!("{} {when}", standing.unwrap()));
        self.look();
    }

    /// Who stands elsewhere than the store and the server.
    fn standing(&self) -> Option<String> {
        let stored = self.shelf.place();
        if self.shelf.is_logged_out() {
            let other = self.open.iter().find(|open| !open.session.status().is_login_required())?;
            return Some(format!("{} goes on", other.process.name));
        }
        self.server.newest(stored.login)?;
        // Of what the dead alone were told nobody else can know.
        let told = self.processes.iter().filter(|process| !process.is_dead());
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

    /// All programs end, and nobody calls any more.
    pub(crate) async fn close(&mut self) {
        for open in std::mem::take(&mut self.open) {
            let name = open.process.name;
            let closed = open.close(self.violations.clone()).await;
            self.violations.unless(closed.is_ok(), || format!("{name}: {closed:?}"));
        }
        sleep(CALM * 10).await;
    }
}
