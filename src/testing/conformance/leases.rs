//! Whether a store keeps the leases in its records, and gives each to one process.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;

use super::{keeps, load, ok, record, save};
use crate::store::{Lease, Record, SaveOutcome, TokenStore};

/// Eight processes have read the same record, and each tries to lease it.
pub(super) async fn go_to_one_of_many<S: TokenStore>(store: Arc<S>) {
    save(&*store, record(1, 1), None).await;
    let asking = ["a", "b", "c", "d", "e", "f", "g", "h"].map(|owner| {
        let store = store.clone();
        tokio::spawn(async move {
            let leased = load(&*store).await.with_version(2).with_lease(owner, LIFE);
            let saved = ok("save", store.save(leased, Some(1)).await);
            (saved == SaveOutcome::Stored).then_some(owner)
        })
    });
    let answers = join_all(asking).await.into_iter().map(Result::unwrap);
    let winners: Vec<_> = answers.flatten().collect();
    keeps(winners.len() == 1, "save", "of many that lease one version of a record, one is saved");
    let winner = winners[0];
    let rule = "it gives the lease that was saved";
    keeps(owner(&load(&*store).await) == Some(winner), "load", rule);

    save(&*store, load(&*store).await.with_version(3).with_lease(winner, LIFE), Some(2)).await;
    keeps(owner(&load(&*store).await) == Some(winner), "load", rule);
    save(&*store, load(&*store).await.with_version(4).without_lease(), Some(3)).await;
    let free = load(&*store).await.lease().is_none();
    keeps(free, "load", "it gives no lease where none was saved");
}

fn owner(record: &Record) -> Option<&str> {
    record.lease().map(Lease::owner)
}

/// Only its holder lets it go.
const LIFE: Duration = Duration::from_secs(30);
