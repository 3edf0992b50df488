//! What a lease has to be.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::time::sleep;

use super::{LIFE, LONG, SOON, broken, keeps, lease, ok, record, save};
use crate::store::TokenStore;

pub(super) async fn are_exclusive(store: &impl TokenStore) {
    keeps(lease(store, "one", LONG).await, "lease", "one that nobody holds can be taken");
    keeps(!lease(store, "two", LONG).await, "lease", "it is held by one owner at a time");
    keeps(lease(store, "one", LONG).await, "lease", "its owner can renew it");
    ok("release", store.release("two").await);
    keeps(!lease(store, "two", LONG).await, "release", "only who holds the lease gives it back");
    save(store, record(1, 1), None).await;
    keeps(!lease(store, "two", LONG).await, "save", "it does not touch the lease");
    ok("release", store.release("one").await);
    keeps(lease(store, "two", LONG).await, "release", "what was given back can be taken at once");
    keeps(!lease(store, "one", LONG).await, "lease", "who gave it back holds it no longer");
}

pub(super) async fn go_to_one_of_many<S: TokenStore>(store: Arc<S>) {
    let first = winner_of_many(&store).await;
    ok("release", store.release(first).await);
    keeps(lease(&*store, "late", LIFE).await, "lease", "one that nobody holds can be taken");
    // It runs out while they ask.
    winner_of_many(&store).await;
}

/// Asks for as many owners at once, again and again until one gets the lease.
async fn winner_of_many<S: TokenStore>(store: &Arc<S>) -> &'static str {
    let start = Instant::now();
    while start.elapsed() < LIFE + SOON {
        let asking = ["a", "b", "c", "d", "e", "f", "g", "h"].map(|owner| {
            let store = store.clone();
            tokio::spawn(async move { lease(&*store, owner, LONG).await.then_some(owner) })
        });
        let answers = join_all(asking).await.into_iter().map(Result::unwrap);
        let winners: Vec<_> = answers.flatten().collect();
        keeps(winners.len() < 2, "lease", "of many that ask at once, one gets it");
        if let [winner] = winners[..] {
            return winner;
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("{}", broken("lease", "it ends after its life if it is not renewed"));
}

pub(super) async fn are_renewed(store: &impl TokenStore) {
    keeps(lease(store, "one", LIFE).await, "lease", "one that nobody holds can be taken");
    keeps(lease(store, "one", LONG).await, "lease", "its owner can renew it");
    sleep(LIFE * 2).await;
    let denied = !lease(store, "two", LONG).await;
    keeps(denied, "lease", "one that was renewed lives on for the life that it was renewed for");
}

pub(super) async fn end(store: &impl TokenStore) {
    let before = Instant::now();
    keeps(lease(store, "one", LIFE).await, "lease", "one that nobody holds can be taken");
    let ended = taken_within(store, "two", LIFE + SOON).await;
    let Some(at) = ended else {
        panic!("{}", broken("lease", "it ends after its life if it is not renewed"));
    };
    // Clocks are read to the millisecond.
    let whole = at.duration_since(before) + Duration::from_millis(5) >= LIFE;
    keeps(whole, "lease", "it is held for the whole of its life");
    keeps(!lease(store, "one", LONG).await, "lease", "who did not renew it has lost it");
    ok("release", store.release("one").await);
    keeps(
        !lease(store, "three", LONG).await,
        "release",
        "who has lost the lease gives back nothing",
    );
}

/// When `owner` got the lease, trying for as long as `limit`.
pub(super) async fn taken_within(
    store: &impl TokenStore,
    owner: &str,
    limit: Duration,
) -> Option<Instant> {
    let start = Instant::now();
    while start.elapsed() < limit {
        if lease(store, owner, LONG).await {
            return Some(Instant::now());
        }
        sleep(Duration::from_millis(5)).await;
    }
    None
}
