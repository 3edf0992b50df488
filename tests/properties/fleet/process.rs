//! A process, as an onlooker knows it, and the network between it and its peers.

use std::{
    collections::HashMap,
    future::pending,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until},
};
use tower_refresh::BoxError;

use super::plan::{Health, Peer, Weather};

/// A session gives up a call to the store after this time.
pub(crate) const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// Tokio's timers are as fine as a millisecond.
pub(crate) const TICK: Duration = Duration::from_millis(2);

/// Which login, counting log-outs too, and which of its refresh tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) login: u64,
    pub(crate) turn: u64,
}

impl Place {
    /// Tokens begin with their kind and their place.
    pub(crate) fn of(token: &str) -> Self {
        let mut numbers = token.split('.').skip(1).map(|number| number.parse().unwrap());
        Self { login: numbers.next().unwrap(), turn: numbers.next().unwrap() }
    }
}

/// What was seen that must not be.
#[derive(Clone, Default)]
pub(crate) struct Violations(Arc<Mutex<Vec<String>>>);

impl Violations {
    pub(crate) fn unless(&self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.0.lock().unwrap().push(otherwise());
        }
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: usize,
    pub(crate) lease: Duration,
    /// How many seconds its wall clock is ahead.
    pub(crate) skew: i64,
    pub(crate) started: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    /// Killed: nothing that it does arrives anywhere any more.
    pub(crate) dead: bool,
    /// Its session was dropped or closed: it takes no requests.
    pub(crate) left: bool,
    /// It has been told that its session is closed.
    pub(crate) closed: bool,
    pub(crate) store: Weather,
    /// Until when nothing goes to a peer or comes from it.
    stalled: HashMap<&'static str, Instant>,
    /// Which connection to the store it has.
    pub(crate) connection: u64,
    /// When calls to the store have failed, or seemed to.
    troubles: Vec<(Instant, Instant)>,
    /// Its writes to the store that are under way.
    pub(crate) writing: Vec<Write>,
    /// Its last write that changed the lease alone: when it was sent, and when it was answered.
    pub(crate) leased: Option<LeaseWrite>,
    /// How often it has read the store.
    pub(crate) loads: u64,
    /// The last login or log-out that was decided here.
    pub(crate) decided: u64,
    /// The newest place that any refresh token in use here has had, or that of a decision.
    pub(crate) seen: Place,
    /// The same of access tokens, which may outlive their refresh tokens.
    pub(crate) seen_access: Place,
    /// The newest place that the server has told it of.
    pub(crate) told: Place,
    /// The refresh tokens that the server has told it are over, and when it said so.
    pub(crate) over: HashMap<String, Vec<Instant>>,
    /// When a refresh was asked for by hand, the last time, or that one is under way.
    pub(crate) by_hand: (Option<Instant>, usize),
    /// For how long timers were late, since the beginning.
    pub(crate) jumped: Duration,
}

/// A write that is neither answered nor given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) sent: Instant,
    pub(crate) is_lease: bool,
    /// The id of the login whose tokens it writes.
    pub(crate) login: Option<String>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct LeaseWrite {
    pub(crate) sent: Instant,
    pub(crate) answered: Option<Instant>,
    pub(crate) turn: u64,
    pub(crate) jumped: Duration,
}

impl Default for Weather {
    fn default() -> Self {
        Self::FINE
    }
}

impl Process {
    pub(crate) fn new(name: usize, lease: Duration, skew: i64) -> Arc<Self> {
        let started = Instant::now();
        Arc::new(Self { name, lease, skew, started, state: Mutex::default() })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The newest login that it knows of.
    pub(crate) fn login(&self) -> u64 {
        let state = self.lock();
        state.seen.max(state.seen_access).login
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.lock().dead
    }

    pub(crate) fn is_shut(&self) -> bool {
        let state = self.lock();
        state.dead || state.left
    }

    pub(crate) fn stall(&self, peer: Peer, time: Duration) {
        let mut state = self.lock();
        let until = state.stalled.entry(peer.name()).or_insert_with(Instant::now);
        *until = (*until).max(Instant::now() + time);
    }

    /// All its timers were late by this much.
    pub(crate) fn jump(&self, time: Duration) {
        let mut state = self.lock();
        state.jumped += time;
        let now = Instant::now();
        state.troubles.push((now - time, now));
    }

    async fn not_stalled(&self, peer: Peer) {
        loop {
            let until = self.lock().stalled.get(peer.name()).copied();
            match until.filter(|&until| until > Instant::now()) {
                Some(until) => sleep_until(until).await,
                None => return,
            }
        }
    }

    /// A call to the store has failed, or was given up.
    pub(crate) fn had_trouble(&self, since: Instant) {
        self.lock().troubles.push((since, Instant::now()));
    }

    /// Whether calls to the store failed at any time between these two.
    pub(crate) fn trouble_between(&self, from: Instant, to: Instant) -> bool {
        let state = self.lock();
        state.dead
            || state.troubles.iter().any(|&(began, ended)| began <= to && ended >= from)
            || state
                .writing
                .iter()
                .any(|write| write.sent + STORE_TIMEOUT <= to + STORE_TIMEOUT / 20)
    }

    pub(crate) fn heal(&self) {
        let mut state = self.lock();
        state.store = Weather::FINE;
        state.stalled.clear();
    }

    /// A call to a peer. Once sent it is carried out there, whether or not the process waits for
    /// the answer. A process that is dead sends nothing and hears nothing.
    pub(crate) async fn call<R: Send + 'static>(
        &self,
        peer: Peer,
        trip: Trip,
        carry_out: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, BoxError> {
        if self.is_dead() || trip.fate == Fate::LostThere {
            return pending().await;
        }
        self.not_stalled(peer).await;
        if self.is_dead() {
            return pending().await;
        }
        if trip.fate == Fate::Refused {
            sleep(trip.there).await;
            return Err("the connection was refused".into());
        }
        let (answer, answered) = oneshot::channel();
        tokio::spawn(async move {
            sleep(trip.there).await;
            let result = carry_out();
            sleep(trip.back).await;
            if trip.fate == Fate::Answered {
                let _ = answer.send(result);
            }
        });
        let Ok(result) = answered.await else { return pending().await };
        self.not_stalled(peer).await;
        match self.is_dead() {
            false => Ok(result),
            true => pending().await,
        }
    }
}

impl Peer {
    fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Endpoint => "endpoint",
        }
    }
}

/// How a call travels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trip {
    pub(crate) there: Duration,
    pub(crate) back: Duration,
    pub(crate) fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    Refused,
    LostThere,
    LostBack,
}

impl Trip {
    /// Each way takes up to this many milliseconds.
    pub(crate) fn within(most: u64, fate: Fate) -> Self {
        let draw = || Duration::from_millis(fastrand::u64(..=most));
        Self { there: draw(), back: draw(), fate }
    }

    /// Both ways together take this many milliseconds.
    pub(crate) fn taking(millis: u64) -> Self {
        let there = fastrand::u64(..=millis);
        let (there, back) = (Duration::from_millis(there), Duration::from_millis(millis - there));
        Self { there, back, fate: Fate::Answered }
    }

    pub(crate) fn to_store(health: Health) -> Self {
        match health {
            Health::Well => Self::within(20, Fate::Answered),
            Health::Slow => Self::within(950, Fate::Answered),
            Health::Far => Self::within(2_000, Fate::Answered),
            Health::Failing => Self::within(20, Fate::Refused),
            Health::Deaf => Self::within(20, Fate::LostThere),
            Health::Mute => Self::within(20, Fate::LostBack),
            Health::Late => {
                let there = Duration::from_millis(fastrand::u64(2_000..8_000));
                Self { there, ..Self::within(20, Fate::LostBack) }
            }
        }
    }
}
