//! How one process sees the store: its gates, faults and counts.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::sleep};

use super::calls::{Kind, PerKind, StoreCalls};
use crate::{
    error::BoxError,
    testing::gate::{Gate, Hold},
};

/// How a call to a [`GatedStore`](super::GatedStore) goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreFault {
    /// It is not carried out, and fails.
    Fail,
    /// It is not carried out, and there is never an answer.
    Hang,
    /// It is carried out, and there is never an answer.
    LoseAnswer,
    /// It is not carried out, and panics: a load before there is a future, a write in it.
    Panic,
}

#[derive(Default)]
pub(super) struct View {
    settings: Mutex<Settings>,
    gates: Gates,
    arrived: watch::Sender<PerKind<usize>>,
    told: watch::Sender<()>,
}

#[derive(Default)]
struct Settings {
    faults: PerKind<Option<StoreFault>>,
    next: VecDeque<(StoreCalls, StoreFault)>,
    delays: PerKind<Duration>,
    is_unshared: bool,
    tells: bool,
}

/// One for each hold that there may be. A call passes all that are for it.
#[derive(Default)]
struct Gates {
    all: Gate,
    loads: Gate,
    writes: Gate,
    saves: Gate,
    renewals: Gate,
}

impl Gates {
    fn of(&self, calls: StoreCalls) -> &Gate {
        match calls {
            StoreCalls::All => &self.all,
            StoreCalls::Loads => &self.loads,
            StoreCalls::Writes => &self.writes,
            StoreCalls::Saves => &self.saves,
            StoreCalls::Renewals => &self.renewals,
        }
    }

    async fn pass(&self, kind: Kind) {
        use StoreCalls::{All, Loads, Renewals, Saves, Writes};
        for calls in [All, Loads, Writes, Saves, Renewals] {
            if calls.cover(kind) {
                self.of(calls).pass().await;
            }
        }
    }
}

impl View {
    /// Another view of the same store: no faults, delays or holds.
    pub(super) fn other(&self) -> Self {
        let settings = self.settings();
        let (is_unshared, tells) = (settings.is_unshared, settings.tells);
        let settings = Mutex::new(Settings { is_unshared, tells, ..Settings::default() });
        Self { settings, ..Self::default() }
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hold(&self, calls: StoreCalls) -> Hold {
        self.gates.of(calls).hold()
    }

    pub(super) fn set_fault(&self, calls: StoreCalls, fault: Option<StoreFault>) {
        self.settings().faults.change(calls, |set| *set = fault);
    }

    pub(super) fn fault_next(&self, calls: StoreCalls, fault: StoreFault) {
        self.settings().next.push_back((calls, fault));
    }

    pub(super) fn set_delay(&self, calls: StoreCalls, delay: Duration) {
        self.settings().delays.change(calls, |set| *set = delay);
    }

    pub(super) fn set_shared(&self, shared: bool) {
        self.settings().is_unshared = !shared;
    }

    pub(super) fn is_shared(&self) -> bool {
        !self.settings().is_unshared
    }

    pub(super) fn set_tells(&self, tells: bool) {
        self.settings().tells = tells;
    }

    pub(super) fn tells(&self) -> bool {
        self.settings().tells
    }

    pub(super) fn tell(&self) {
        self.told.send_replace(());
    }

    pub(super) fn told(&self) -> watch::Receiver<()> {
        self.told.subscribe()
    }

    pub(super) fn calls(&self) -> PerKind<usize> {
        *self.arrived.borrow()
    }

    pub(super) async fn reached(&self, calls: StoreCalls, count: usize) {
        let mut arrived = self.arrived.subscribe();
        let reached = arrived.wait_for(|arrived| arrived.total(calls) >= count).await;
        reached.expect("the sender lives in `self`");
    }

    pub(super) fn arrive(&self, kind: Kind) {
        self.arrived.send_modify(|arrived| arrived.change_one(kind, |count| *count += 1));
    }

    pub(super) fn panic_if_told(&self, kind: Kind) {
        let panics = self.settings().faults.of(kind) == Some(StoreFault::Panic);
        assert!(!panics, "the test makes this call panic");
    }

    /// Carries a call out, or what the test has made of it.
    pub(super) async fn carry_out<T>(
        &self,
        kind: Kind,
        call: impl FnOnce() -> T,
    ) -> Result<T, BoxError> {
        self.gates.pass(kind).await;
        let delay = self.settings().delays.of(kind);
        if !delay.is_zero() {
            sleep(delay).await;
        }
        let fault = self.settings().fault(kind);
        match fault {
            None => Ok(call()),
            Some(StoreFault::Fail) => Err("the test makes the store fail".into()),
            Some(StoreFault::Hang) => pending().await,
            Some(StoreFault::Panic) => panic!("the test makes this call panic"),
            Some(StoreFault::LoseAnswer) => {
                call();
                pending().await
            }
        }
    }
}

impl Settings {
    fn fault(&mut self, kind: Kind) -> Option<StoreFault> {
        match self.next.iter().position(|(calls, _)| calls.cover(kind)) {
            Some(at) => self.next.remove(at).map(|(_, fault)| fault),
            None => self.faults.of(kind),
        }
    }
}
