//! Stores that break one promise each: the test for stores has to say which.

use std::{sync::Mutex, time::Duration};

use tokio::{
    sync::Mutex as Lock,
    task::yield_now,
    time::{Instant, sleep},
};
use tower_refresh::{
    BoxError,
    store::{BoxFuture, MemoryStore, Record, Saved, TokenStore},
    testing::store_conformance,
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    None,
    /// Writes whatever version is stored.
    SaveWithoutLooking,
    /// Looks, and writes a moment later.
    SaveLater,
    /// Takes a tombstone for nothing.
    SaveOverTombstone,
    /// Gives the record before the one that was saved last.
    LoadThePrevious,
    /// Gives the lease to whoever asks.
    LeaseToAll,
    /// Looks whether the lease is free, and takes it a moment later.
    LeaseLater,
    /// The same, but only if somebody let it run out.
    TakeOverLater,
    /// Has a life of its own for leases.
    LeaseForLong,
    /// Keeps to itself what the others need, as long as it waits.
    WatchAlone,
}

#[derive(Debug)]
struct Flawed {
    flaw: Flaw,
    store: MemoryStore,
    previous: Mutex<Option<Record>>,
    lease: Mutex<Option<(String, Instant)>>,
    connection: Lock<()>,
}

impl Flawed {
    fn new(flaw: Flaw) -> Self {
        Self {
            flaw,
            store: MemoryStore::new(),
            previous: Mutex::default(),
            lease: Mutex::default(),
            connection: Lock::default(),
        }
    }

    /// Whether nobody else holds the lease, and whether somebody let it run out.
    fn is_free(&self, owner: &str) -> (bool, bool) {
        match &*self.lease.lock().unwrap() {
            Some((holder, until)) => (holder == owner || *until <= Instant::now(), true),
            None => (true, false),
        }
    }
}

impl TokenStore for Flawed {
    fn load(&self) -> BoxFuture<'_, Result<Option<Record>, BoxError>> {
        Box::pin(async move {
            let previous = self.previous.lock().unwrap().clone();
            match previous.filter(|_| self.flaw == Flaw::LoadThePrevious) {
                Some(previous) => Ok(Some(previous)),
                None => self.store.load().await,
            }
        })
    }

    fn save(
        &self,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'_, Result<Saved, BoxError>> {
        Box::pin(async move {
            let alone = self.connection.lock().await;
            let stored = self.store.load().await?;
            *self.previous.lock().unwrap() = stored.clone();
            let version = stored.as_ref().map(Record::version);
            match self.flaw {
                Flaw::SaveWithoutLooking => return self.store.save(record, version).await,
                Flaw::SaveOverTombstone
                    if expected.is_none() && stored.is_some_and(|stored| stored.is_tombstone()) =>
                {
                    return self.store.save(record, version).await;
                }
                Flaw::SaveLater if version == expected => {
                    drop(alone);
                    yield_now().await;
                    let version = self.store.load().await?.as_ref().map(Record::version);
                    return self.store.save(record, version).await;
                }
                _ => {}
            }
            self.store.save(record, expected).await
        })
    }

    fn lease<'a>(
        &'a self,
        owner: &'a str,
        life: Duration,
    ) -> BoxFuture<'a, Result<bool, BoxError>> {
        Box::pin(async move {
            let (free, over) = self.is_free(owner);
            if !free && self.flaw != Flaw::LeaseToAll {
                return Ok(false);
            }
            let late = match self.flaw {
                Flaw::LeaseLater => !over,
                Flaw::TakeOverLater => over,
                _ => false,
            };
            if late {
                sleep(Duration::from_millis(1)).await;
            }
            let life = if self.flaw == Flaw::LeaseForLong { Duration::from_secs(20) } else { life };
            *self.lease.lock().unwrap() = Some((owner.to_owned(), Instant::now() + life));
            Ok(true)
        })
    }

    fn release<'a>(&'a self, owner: &'a str) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async move {
            let mut lease = self.lease.lock().unwrap();
            lease.take_if(|(holder, _)| holder == owner);
            Ok(())
        })
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let _alone = match self.flaw {
                Flaw::WatchAlone => Some(self.connection.lock().await),
                _ => None,
            };
            std::future::pending().await
        })
    }
}

/// What the test says of a store with this flaw.
async fn said(flaw: Flaw) -> String {
    let conformance = tokio::spawn(store_conformance(move || async move { Flawed::new(flaw) }));
    let panic = conformance.await.expect_err("the flaw is found").into_panic();
    *panic.downcast::<String>().expect("a message")
}

#[tokio::test]
async fn a_store_without_a_flaw_passes() {
    store_conformance(|| async { Flawed::new(Flaw::None) }).await;
}

#[tokio::test]
async fn saves_that_do_not_compare_are_found() {
    for (flaw, rule) in [
        (Flaw::SaveWithoutLooking, "`Conflict` if another version is stored"),
        (Flaw::SaveLater, "of many that expect an empty store, one is saved"),
        (Flaw::SaveOverTombstone, "a tombstone is a record, and no empty store"),
    ] {
        let said = said(flaw).await;
        assert!(said.contains(rule) && said.contains("`TokenStore::save`"), "{flaw:?}: {said}");
    }
}

#[tokio::test]
async fn loads_that_are_late_are_found() {
    let said = said(Flaw::LoadThePrevious).await;
    assert!(said.contains("it gives the record that was saved last"), "{said}");
}

#[tokio::test]
async fn leases_that_more_than_one_can_hold_are_found() {
    for (flaw, rule) in [
        (Flaw::LeaseToAll, "it is held by one owner at a time"),
        (Flaw::LeaseLater, "of many that ask at once, one gets it"),
        (Flaw::TakeOverLater, "of many that ask at once, one gets it"),
    ] {
        let said = said(flaw).await;
        assert!(said.contains(rule) && said.contains("`TokenStore::lease`"), "{flaw:?}: {said}");
    }
}

#[tokio::test]
async fn a_lease_that_outlives_what_was_asked_for_is_found() {
    let said = said(Flaw::LeaseForLong).await;
    assert!(said.contains("it ends after its life"), "{said}");
}

#[tokio::test]
async fn a_watch_that_the_others_wait_for_is_found() {
    let said = said(Flaw::WatchAlone).await;
    assert!(said.contains("the others answer while it waits"), "{said}");
}
