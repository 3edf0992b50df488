//! A process, as an onlooker knows it, and the network between it and everybody else.

use std::{
    collections::HashMap,
    future::pending,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};
use tower_refresh::BoxError;

use super::plan::{Health, Weather};

/// Which login, counting log-outs too, and which in the row of its refresh tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) login: u64,
    pub(crate) turn: u64,
}

impl Place {
    /// Tokens say their place: it is what their names begin with.
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
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    /// Killed: nothing that it does is seen by anybody any more.
    pub(crate) dead: bool,
    /// It has been told that its session is closed.
    pub(crate) closed: bool,
    pub(crate) store: Weather,
    /// When it last called the store in vain.
    pub(crate) trouble: Option<Instant>,
    /// When it last called for the lease, or gave it back, in vain.
    pub(crate) lease_trouble: Option<Instant>,
    /// When the last word ends that it is spending a token.
    pub(crate) mark_ends: Option<Instant>,
    /// The last login or log-out that somebody asked it for.
    pub(crate) decided: u64,
    /// The newest place that any token in use here has had.
    pub(crate) seen: Place,
    /// The newest place that the server has told it of.
    pub(crate) told: Place,
    /// The refresh tokens that the server has told it are over, and when.
    pub(crate) over: HashMap<String, Instant>,
}

impl Process {
    pub(crate) fn new(name: usize) -> Arc<Self> {
        let state = State {
            dead: false,
            closed: false,
            store: Weather::FINE,
            trouble: None,
            lease_trouble: None,
            mark_ends: None,
            decided: 0,
            seen: Place::default(),
            told: Place::default(),
            over: HashMap::new(),
        };
        Arc::new(Self { name, state: Mutex::new(state) })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.lock().dead
    }

    /// Whether it may have lost the lease since then through no fault of its own.
    pub(crate) fn had_lease_trouble(&self, since: Instant) -> bool {
        // A lease taken before then would have lasted into it.
        let before = Duration::from_secs(7);
        self.lock().lease_trouble.is_some_and(|at| at + before >= since)
    }

    /// A call to somebody else. Once sent it is carried out there, whether or not anybody waits
    /// for the answer. A process that is dead sends nothing and hears nothing.
    pub(crate) async fn call<R: Send + 'static>(
        &self,
        trip: Trip,
        carry_out: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, BoxError> {
        if self.is_dead() || trip.fate == Fate::LostThere {
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
        match answered.await {
            Ok(result) if !self.is_dead() => Ok(result),
            _ => pending().await,
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
    /// Each way takes up to so many milliseconds.
    pub(crate) fn within(most: u64, fate: Fate) -> Self {
        let draw = || Duration::from_millis(fastrand::u64(..=most));
        Self { there: draw(), back: draw(), fate }
    }

    pub(crate) fn to_store(health: Health) -> Self {
        match health {
            Health::Well => Self::within(20, Fate::Answered),
            Health::Slow => Self::within(950, Fate::Answered),
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
