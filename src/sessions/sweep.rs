//! The one task of a set: it forgets sessions that were not used, keeps others fresh, and hears what
//! the store tells. It runs while the set is not empty, and keeps nothing alive.

use std::{
    cell::{Cell, RefCell},
    hash::Hash,
    pin::pin,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use futures_util::{
    StreamExt,
    future::{self, BoxFuture, Either, FutureExt, select},
    stream::{self, BoxStream, Fuse, FuturesUnordered},
};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep_until},
};

use super::{Inner, set::Set};
use crate::{session::Session, store::Change};

/// The time between two passes.
const PERIOD: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// Starts the task if it does not run. Without a runtime the next caller inside one does.
pub(super) fn start<K>(inner: &Arc<Inner<K>>)
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
{
    let set = &inner.set;
    if set.sweeping.load(Ordering::Acquire) {
        return;
    }
    let Some(runtime) = set.runtime.clone().or_else(|| Handle::try_current().ok()) else { return };
    if !set.sweeping.swap(true, Ordering::AcqRel) {
        let claim = Claim { inner: Arc::downgrade(inner), is_given_up: false };
        runtime.spawn(run(claim, set.clone()));
    }
}

/// The claim to be the one task. When its runtime ends another may start it.
struct Claim<K> {
    inner: Weak<Inner<K>>,
    is_given_up: bool,
}

impl<K> Drop for Claim<K> {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.upgrade().filter(|_| !self.is_given_up) {
            inner.set.sweeping.store(false, Ordering::Release);
        }
    }
}

enum Woken<K> {
    Timer,
    Refreshed,
    Changed(Change<K>),
    Gone,
}

async fn run<K>(mut claim: Claim<K>, set: Arc<Set<K>>)
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
{
    let (began, started) = (Instant::now(), set.now());
    let changes = set.store.as_ref().and_then(|store| store.changes());
    let mut changes = changes.unwrap_or_else(|| stream::pending().boxed()).fuse();
    let mut refreshes: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
    let mut next = Instant::now() + PERIOD.0;
    loop {
        match woken(&set, next, &mut refreshes, &mut changes).await {
            Woken::Timer => {}
            Woken::Refreshed => continue,
            Woken::Changed(change) => {
                if let Some(inner) = claim.inner.upgrade() {
                    inner.on_change(change);
                }
                continue;
            }
            Woken::Gone => return,
        }
        let Some(inner) = claim.inner.upgrade() else { return };
        let seconds = u32::try_from(began.elapsed().as_secs()).unwrap_or(u32::MAX);
        set.clock.store(started.saturating_add(seconds), Ordering::Relaxed);
        let Pass { due, soonest } = inner.pass(set.background.saturating_sub(refreshes.len()));
        for session in due {
            refreshes.push(async move { session.refresh_in_background().await }.boxed());
        }
        let now = Instant::now();
        let latest = (set.idle / 4).clamp(PERIOD.0, PERIOD.1);
        next = soonest.map_or(now + latest, |at| at.clamp(now + PERIOD.0, now + latest));
        if inner.residents.len() == 0 && refreshes.is_empty() {
            set.sweeping.store(false, Ordering::Release);
            // One that came meanwhile found the task still there.
            if inner.residents.len() == 0 || set.sweeping.swap(true, Ordering::AcqRel) {
                claim.is_given_up = true;
                return;
            }
        }
    }
}

async fn woken<K>(
    set: &Set<K>,
    next: Instant,
    refreshes: &mut FuturesUnordered<BoxFuture<'static, ()>>,
    changes: &mut Fuse<BoxStream<'static, Change<K>>>,
) -> Woken<K> {
    let timer = sleep_until(next).map(|()| Woken::Timer);
    let gone = set.gone.notified().map(|()| Woken::Gone);
    let refreshed = async {
        match refreshes.next().await {
            Some(()) => Woken::Refreshed,
            None => future::pending().await,
        }
    };
    let changed = async {
        match changes.next().await {
            Some(change) => Woken::Changed(change),
            None => future::pending().await,
        }
    };
    let (timer, gone, refreshed, changed) =
        (pin!(timer), pin!(gone), pin!(refreshed), pin!(changed));
    match select(select(timer, gone), select(refreshed, changed)).await {
        Either::Left((Either::Left((woken, _)), _)) => woken,
        Either::Left((Either::Right((woken, _)), _)) => woken,
        Either::Right((Either::Left((woken, _)), _)) => woken,
        Either::Right((Either::Right((woken, _)), _)) => woken,
    }
}

struct Pass {
    /// To be refreshed, although no caller waits.
    due: Vec<Session>,
    /// When the next one is.
    soonest: Option<Instant>,
}

impl<K: Eq + Hash + Clone + Send + Sync + 'static> Inner<K> {
    fn pass(&self, room: usize) -> Pass {
        let (set, now) = (&self.set, Instant::now());
        let (due, soonest) = (RefCell::new(Vec::new()), Cell::new(None::<Instant>));
        self.residents.forget(|member| {
            if Arc::strong_count(member) > 1 {
                member.backend().touch();
            }
            if member.backend().idle() >= set.idle && (set.is_stored() || !member.has_life_left()) {
                return false;
            }
            if set.config.keep_fresh
                && let Some(at) = member.refresh_at()
            {
                let mut due = due.borrow_mut();
                if at <= now && due.len() < room {
                    due.push(Session::of(member.clone()));
                } else {
                    soonest.set(Some(soonest.get().map_or(at, |soonest| soonest.min(at))));
                }
            }
            true
        });
        Pass { due: due.into_inner(), soonest: soonest.get() }
    }

    fn on_change(&self, change: Change<K>) {
        match change {
            Change::Saved { key, turn } => {
                if let Some(member) = self.residents.peek(&key) {
                    Session::of(member).on_change(turn);
                }
            }
            // They look when they are used.
            Change::Lagged => self.residents.each(Session::look_when_used),
        }
    }
}
