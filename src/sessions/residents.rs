//! The map of sessions: bounded, and nothing leaves it that is held or would be lost.

use std::{
    hash::{Hash, RandomState},
    sync::Arc,
    thread::available_parallelism,
};

use quick_cache::{Lifecycle, OptionsBuilder, UnitWeighter, sync::Cache};

use super::{member::Member, set::Set};
use crate::session::{Cell, Session};

pub(super) type Resident<K> = Arc<Cell<Member<K>>>;

/// Invariant: one session per key. A reference to one is made from the map, under its shard's lock,
/// or from another reference; there are no weak ones but those of a worker, which counts as held.
/// An entry leaves under its shard's write lock, and only if the map's is the one reference. So at
/// no time are there two sessions for one key.
///
/// Invariant: the order of locks is shard, then the state of a session. The map is not called while
/// a state is locked.
pub(super) struct Residents<K>(Cache<K, Resident<K>, UnitWeighter, RandomState, Pins<K>>);

impl<K: Eq + Hash + Clone + Send + Sync + 'static> Residents<K> {
    pub(super) fn new(set: Arc<Set<K>>) -> Self {
        let threads = available_parallelism().map_or(1, usize::from);
        let mut shards = (threads * 4).next_power_of_two();
        let capacity = set.capacity.max(1);
        while shards > 1 && capacity / shards < LEAST_IN_SHARD {
            shards /= 2;
        }
        let options = OptionsBuilder::new()
            .shards(shards)
            // A bound and no reservation.
            .estimated_items_capacity(shards * LEAST_IN_SHARD)
            // All shards have the same share, and together no more than was asked.
            .weight_capacity((capacity / shards * shards) as u64)
            .ghost_allocation(0.0)
            .build()
            .expect("all that is needed is set");
        // Users may choose their ids, so the hash is keyed.
        let hash = RandomState::new();
        Self(Cache::with_options(options, UnitWeighter, hash, Pins { set }))
    }

    /// The session of `key`, or the one that `make` makes.
    pub(super) fn get(&self, key: &K, make: impl FnOnce() -> Resident<K>) -> Resident<K> {
        let made = self.0.get_or_insert_with(key, || Ok::<_, std::convert::Infallible>(make()));
        made.unwrap_or_else(|never| match never {})
    }

    /// The session of `key`, if there is one. It does not count as a use.
    pub(super) fn peek(&self, key: &K) -> Option<Resident<K>> {
        self.0.peek(key)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn keys(&self) -> Vec<K> {
        self.0.iter().map(|(key, _)| key).collect()
    }

    pub(super) fn each(&self, mut each: impl FnMut(&Session)) {
        for (_, member) in self.0.iter() {
            each(&Session::of(member));
        }
    }

    /// Forgets those that nothing holds, that lose nothing by it, and that `keep` does not keep.
    pub(super) fn forget(&self, keep: impl Fn(&Resident<K>) -> bool) {
        self.0.retain(|_, member| keep(member) || is_pinned(member));
    }
}

/// Fewer than this make a shard of their own not worth while.
const LEAST_IN_SHARD: usize = 32;

/// Keeps what is held, and what would be lost.
struct Pins<K> {
    set: Arc<Set<K>>,
}

impl<K> Clone for Pins<K> {
    fn clone(&self) -> Self {
        Self { set: self.set.clone() }
    }
}

impl<K: Clone + Eq + Send + Sync + 'static> Lifecycle<K, Resident<K>> for Pins<K> {
    /// Dropped after the lock of the shard was.
    type RequestState = Vec<Resident<K>>;

    fn is_pinned(&self, _: &K, member: &Resident<K>) -> bool {
        is_pinned(member)
    }

    fn on_evict(&self, forgotten: &mut Self::RequestState, _: K, member: Resident<K>) {
        self.set.observer.forgotten("capacity");
        forgotten.push(member);
    }
}

/// The count needs no stronger order: the lock of the state is taken after it was read, and who
/// held the session last has given that lock back before.
fn is_pinned<K: Clone + Eq + Send + Sync + 'static>(member: &Resident<K>) -> bool {
    Arc::strong_count(member) > 1 || !member.may_forget()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Sessions, testing::GatedEndpoint};

    // S225: there are never two sessions of a set for one key
    #[test]
    fn forgetting_and_getting_at_once_never_makes_two_sessions_of_one_key() {
        let sessions = Sessions::builder(|_: &u64| GatedEndpoint::new()).capacity(32).build();
        std::thread::scope(|threads| {
            for thread in 0..4u64 {
                let inner = &sessions.inner;
                threads.spawn(move || {
                    for round in 0..20_000u64 {
                        let key = (round * 7 + thread) % 64;
                        let one = inner.get(&key);
                        if round % 100 == 0 {
                            inner.residents.forget(|_| false);
                        }
                        assert!(Arc::ptr_eq(&one, &inner.get(&key)), "in round {round}");
                    }
                });
            }
        });
        assert!(sessions.len() <= 32, "{}", sessions.len());
    }
}
