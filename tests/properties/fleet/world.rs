//! Processes with one identity between a server, an API and a store, all in memory and watched.

use std::{sync::Arc, time::Duration};

use proptest::sample::Index;
use tokio::{
    sync::watch,
    task::yield_now,
    time::{Instant, advance, sleep},
};
use tower::Layer;
use tower_refresh::{RefreshLayer, Session, Tokens};

use super::{
    api::{Api, Requests, access_token},
    connection::Connection,
    events::Listener,
    open::Open,
    plan::{Keeper, Life, Operation, Peer, Server as Kind, Start},
    process::{Place, Process, Violations},
    server::{Endpoint, Issuer, Server},
    shelf::Shelf,
};

/// After this time without trouble every call, pause, lease and window of refusals is over.
pub(crate) const CALM: Duration = Duration::from_secs(400);

/// A call is overdue for its callers after this time.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) struct World {
    pub(crate) start: Start,
    pub(crate) server: Server,
    pub(crate) shelf: Shelf,
    pub(crate) violations: Violations,
    api_held: watch::Sender<bool>,
    /// What every process starts with.
    seed: Tokens,
    /// Those that ever were, by their names.
    pub(crate) processes: Vec<Arc<Process>>,
    listeners: Vec<Listener>,
    /// Those that take requests.
    pub(crate) open: Vec<Open>,
    /// Those that do not any more, and have something left to save.
    leaving: Vec<Open>,
}

impl World {
    pub(crate) fn new(start: &Start) -> Self {
        let (violations, issuer) = (Violations::default(), Issuer::default());
        let shelf = Shelf::new(issuer.clone(), violations.clone());
        let server = Server::new(start, issuer, shelf.clone(), violations.clone());
        server.decide();
        let seed = tokens(&server, start.access);
        let mut world = Self {
            start: start.clone(),
            server,
            shelf,
            violations,
            api_held: watch::Sender::new(false),
            seed,
            processes: Vec::new(),
            listeners: Vec::new(),
            open: Vec::new(),
            leaving: Vec::new(),
        };
        (0..start.processes).for_each(|_| world.start());
        world
    }

    pub(crate) async fn step(&mut self, operation: &Operation) {
        match operation {
            Operation::Ask(index) => self.act(self.pick(index), |open, _| open.ask()),
            Operation::Refresh(index) => {
                self.act(self.pick(index), |open, world| open.refresh(world))
            }
            Operation::Cancel(index) => self.act(self.pick(index), |open, _| {
                if let Some(caller) = open.callers.pop() {
                    caller.abort();
                }
            }),
            Operation::Refuse(index) => self.act(self.pick(index), |open, world| {
                if let Some(token) = access_token(&open.session) {
                    world.server.issuer.refuse(&token);
                }
            }),
            Operation::RefuseAll(all) => self.server.issuer.refuse_all(*all),
            Operation::HoldApi(held) => drop(self.api_held.send_replace(*held)),
            Operation::LogIn(index, life) => self.log_in(self.pick(index), *life),
            Operation::LogOut(index) => self.log_out(self.pick(index)),
            Operation::Start => self.start_another(),
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
            Operation::Stall(index, peer, time) => self.act(self.pick(index), |open, _| {
                let both = [Peer::Store, Peer::Endpoint];
                let peers = both.into_iter().filter(|one| peer.is_none_or(|only| only == *one));
                peers.for_each(|peer| open.process.stall(peer, *time));
            }),
            Operation::Lose { writes, noticed } => {
                if self.is_shared() && self.deciding().count() < 2 {
                    self.shelf.lose(*writes, *noticed);
                }
            }
            Operation::Answer(reply) => self.server.answer(*reply),
            Operation::Sleep(time) => sleep(*time).await,
            Operation::Jump(time) => {
                advance(*time).await;
                self.processes.iter().for_each(|process| process.jump(*time));
            }
        }
        self.rest().await;
    }

    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.start.keeper, Keeper::Shared { .. })
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

    /// A process ends. One whose tokens are its own does not: they would be lost.
    fn take(&mut self, index: &Index) -> Option<Open> {
        let at = self.pick(index);
        let is_there = at < self.open.len() && self.is_shared();
        let open = is_there.then(|| self.open.swap_remove(at))?;
        open.process.lock().left = true;
        if open.session.status().is_unsaved() {
            self.leaving.push(open.clone());
        }
        Some(open)
    }

    pub(crate) fn start_another(&mut self) {
        if self.open.len() < 4 && self.is_shared() {
            self.start();
        }
    }

    fn start(&mut self) {
        let name = self.processes.len();
        let Start { leases, skews, .. } = &self.start;
        let process = Process::new(name, leases[name % leases.len()], skews[name % skews.len()]);
        process.lock().connection = self.shelf.connection();
        let endpoint = Endpoint { server: self.server.clone(), process: process.clone() };
        let builder = Session::builder(endpoint)
            .initial_tokens(self.seed.clone())
            .keep_fresh(self.start.keep_fresh)
            .wait_limit(super::open::WAIT_LIMIT)
            .lease(process.lease);
        let builder = match self.start.keeper {
            Keeper::None => builder,
            keeper => builder.store(Connection {
                shelf: self.shelf.clone(),
                process: process.clone(),
                server: self.server.clone(),
                keeper,
                violations: self.violations.clone(),
            }),
        };
        let session = builder.build();
        let requests = Requests::new(process.clone(), self.violations.clone());
        let api = Api {
            issuer: self.server.issuer.clone(),
            held: self.api_held.clone(),
            requests: requests.clone(),
        };
        self.listeners.push(Listener::new(name, session.events(), self.violations.clone()));
        self.processes.push(process.clone());
        self.open.push(Open {
            process,
            client: RefreshLayer::new(session.clone()).layer(api),
            session,
            requests,
            callers: Vec::new(),
            quiet_at: Instant::now(),
        });
    }

    /// A decision that is not known to be saved goes on being saved, and may come after a later
    /// one of another process. That one waits until the store holds the first.
    fn may_decide(&self, process: &Arc<Process>) -> bool {
        let stored = self.shelf.place().login;
        let mut others = self.deciding().filter(|open| !Arc::ptr_eq(&open.process, process));
        !others.any(|open| open.process.lock().decided > stored)
    }

    /// The processes with a decision that they do not know to be saved. If a store loses the first
    /// of two such, nothing says any more which of them came later.
    fn deciding(&self) -> impl Iterator<Item = &Open> {
        let alive = self.open.iter().chain(&self.leaving).filter(|open| !open.process.is_dead());
        alive.filter(|open| open.session.status().is_unsaved() && open.has_decided())
    }

    pub(crate) fn log_in(&mut self, at: usize, access: Option<Life>) {
        self.act(at, |open, world| {
            if world.may_decide(&open.process) {
                let number = world.server.decide();
                let nothing = world.start.server == Kind::Credentials && access.is_none();
                let access = if nothing { Some(Life::Unknown) } else { access };
                let tokens = tokens(&world.server, access);
                let session = open.session.clone();
                open.decide(number, world, async move { session.set_tokens(tokens).await });
            }
        });
    }

    pub(crate) fn log_out(&mut self, at: usize) {
        self.act(at, |open, world| {
            if world.may_decide(&open.process) {
                let number = world.server.decide();
                let session = open.session.clone();
                open.decide(number, world, async move { session.log_out().await });
            }
        });
    }

    /// Lets everything run that can, and looks.
    pub(crate) async fn rest(&mut self) {
        for _ in 0..32 {
            yield_now().await;
        }
        self.look();
    }

    /// What must be true at any time.
    pub(crate) fn look(&mut self) {
        for open in &mut self.open {
            let (status, violations) = (open.session.status(), &self.violations);
            if let Some(tokens) = open.session.tokens() {
                let refresh_token = tokens.refresh_token().map(|token| token.expose());
                let access_token = tokens.access_token().map(|token| token.expose());
                let both = [refresh_token, access_token].into_iter().flatten();
                both.for_each(|token| open.process.saw(token, violations));
            }
            if !status.is_refreshing() {
                open.quiet_at = Instant::now();
                let dropped = open.has_dropped(&self.shelf);
                let uses_none = self.start.server == Kind::Credentials;
                violations.unless(uses_none || dropped.is_none(), || dropped.unwrap());
            }
            // After that its callers have been told, and the token serves again.
            if open.quiet_at.elapsed() < ATTEMPT_TIMEOUT {
                open.requests.at_rest(&open.session);
            }
            let listener = &mut self.listeners[open.process.name];
            let lost = listener.rotations_lost;
            listener.read(status.generation());
            let told = listener.rotations_lost > lost;
            violations.unless(!told || self.server.may_have_lost_a_rotation(&open.process), || {
                format!("{} calls a rotation lost, and no answer was", open.process.name)
            });
            open.callers.retain(|caller| !caller.is_finished());
        }
    }

    /// All troubles are over.
    pub(crate) fn heal(&mut self) {
        self.server.heal();
        self.api_held.send_replace(false);
        self.processes.iter().for_each(|process| process.heal());
    }

    /// All programs end, and none calls any more.
    pub(crate) async fn close(&mut self) {
        self.heal();
        let mut closing = Vec::new();
        for open in self.open.clone() {
            let violations = self.violations.clone();
            closing.push(tokio::spawn(open.close(violations)));
        }
        let mut closed = Vec::new();
        for closing in closing {
            closed.push(closing.await.expect("it does not panic"));
        }
        for (open, closed) in self.open.iter().zip(closed) {
            let name = open.process.name;
            // A call may take longer than its program waits.
            let late = self.start.in_a_hurry && closed.is_err();
            self.violations.unless(closed.is_ok() || late, || format!("{name}: {closed:?}"));
        }
        sleep(CALM).await;
        for open in &mut self.open {
            open.process.lock().closed = true;
            open.ask();
            let session = open.session.clone();
            let refresh = async move { drop(session.refresh().await) };
            open.callers.push(Arc::new(tokio::spawn(refresh)));
        }
        sleep(CALM * 10).await;
        self.look();
        let waiting: usize = self.open.iter().map(|open| open.callers.len()).sum();
        self.violations.unless(waiting == 0, || format!("{waiting} wait after the end"));
        for open in std::mem::take(&mut self.open) {
            self.check_kept(&open);
        }
    }

    /// What memory holds at the end is stored, where no other process saves.
    fn check_kept(&self, open: &Open) {
        let tokens = open.session.tokens();
        let kept = tokens.as_ref().and_then(Tokens::refresh_token);
        let kept = kept.map(|token| Place::of(token.expose()));
        let (name, stored) = (open.process.name, self.shelf.place());
        let credentials = self.start.server == Kind::Credentials;
        if self.start.keeper == Keeper::Own && !credentials && kept.is_some() {
            self.violations.unless(kept == Some(stored), || {
                format!("{stored:?} is stored although {name} has {kept:?}")
            });
        }
    }
}

/// What a user who has just logged in brings.
fn tokens(server: &Server, access: Option<Life>) -> Tokens {
    let mut tokens = match access {
        Some(life) => {
            let tokens = Tokens::new(server.issue(life)).unwrap();
            match life {
                Life::Unknown => tokens,
                Life::Of(life) => tokens.with_expires_at(std::time::SystemTime::now() + life),
            }
        }
        None => Tokens::default(),
    };
    if let Some(refresh_token) = server.refresh_token() {
        tokens = tokens.with_refresh_token(refresh_token).unwrap();
    }
    tokens
}
