//! Stores that break one promise each: the test for stores has to say which.

use std::sync::Mutex;

use tokio::{sync::Mutex as Lock, task::yield_now};
use tower_refresh::{
    BoxError,
    store::{BoxFuture, MemoryStore, Record, SaveOutcome, TokenStore},
    testing::store_conformance,
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    None,
    /// Writes whatever version is stored.
    SaveWithoutLooking,
    /// Looks, and writes a moment later.
    SaveLater,
    /// Takes a log-out for nothing.
    SaveOverLogOut,
    /// Gives the record before the one that was saved last.
    LoadThePrevious,
    /// Compares no versions where a record is merely leased.
    LeaseWithoutLooking,
    /// Keeps to itself what the others need, as long as it waits.
    WatchAlone,
    /// Has no place for this member of a record.
    Drops(&'static str),
    /// Has no place for what this member of the tokens holds.
    DropsOfTokens(&'static str),
    /// Keeps what was in this member before if it is gone.
    Merges(&'static str),
    /// Takes a record without tokens for a log-out.
    EmptyIsLoggedOut,
    /// Takes a record without tokens for none.
    EmptyIsNothing,
}

#[derive(Debug)]
struct Flawed {
    flaw: Flaw,
    store: MemoryStore,
    previous: Mutex<Option<Record>>,
    connection: Lock<()>,
}

impl Flawed {
    fn new(flaw: Flaw) -> Self {
        Self {
            flaw,
            store: MemoryStore::new(),
            previous: Mutex::default(),
            connection: Lock::default(),
        }
    }

    /// The record as a store with columns of its own for some members writes it.
    fn rewritten(&self, record: Record, stored: Option<&Record>) -> Result<Record, BoxError> {
        let mut json = serde_json::to_value(&record)?;
        let members = json.as_object_mut().expect("an object");
        match self.flaw {
            Flaw::Drops(member) => drop(members.remove(member)),
            Flaw::DropsOfTokens(member) => {
                if let Some(tokens) = members.get_mut("tokens") {
                    tokens.as_object_mut().expect("an object").remove(member);
                }
            }
            Flaw::Merges(member) => {
                let before = serde_json::to_value(stored)?;
                if let Some(before) = before.get(member) {
                    members.entry(member).or_insert_with(|| before.clone());
                }
            }
            Flaw::EmptyIsLoggedOut if record.is_empty() => {
                members.insert("logged_out".to_owned(), true.into());
            }
            _ => return Ok(record),
        }
        Ok(serde_json::from_value(json)?)
    }
}

impl TokenStore for Flawed {
    fn load(&self) -> BoxFuture<'_, Result<Option<Record>, BoxError>> {
        Box::pin(async move {
            let previous = self.previous.lock().unwrap().clone();
            match previous.filter(|_| self.flaw == Flaw::LoadThePrevious) {
                Some(previous) => Ok(Some(previous)),
                None => {
                    let stored = self.store.load().await?;
                    let nothing =
                        |stored: &Record| self.flaw == Flaw::EmptyIsNothing && stored.is_empty();
                    Ok(stored.filter(|stored| !nothing(stored)))
                }
            }
        })
    }

    fn save(
        &self,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'_, Result<SaveOutcome, BoxError>> {
        Box::pin(async move {
            let alone = self.connection.lock().await;
            let stored = self.store.load().await?;
            let record = self.rewritten(record, stored.as_ref())?;
            *self.previous.lock().unwrap() = stored.clone();
            let version = stored.as_ref().map(Record::version);
            match self.flaw {
                Flaw::SaveWithoutLooking => return self.store.save(record, version).await,
                Flaw::LeaseWithoutLooking if record.lease().is_some() => {
                    return self.store.save(record, version).await;
                }
                Flaw::SaveOverLogOut
                    if expected.is_none()
                        && stored.is_some_and(|stored| stored.is_logged_out()) =>
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
        (Flaw::SaveOverLogOut, "a log-out is a record, and no empty store"),
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

// S88: unknown members of a record are kept, and what `crit` requires and is unknown is refused
#[tokio::test]
async fn members_that_are_lost_are_found() {
    let members = [
        "turn",
        "for",
        "tokens",
        "ended",
        "seeds",
        "logins",
        "lease",
        "of_a_newer_version",
        "crit",
    ];
    let flaws = members.map(|member| (Flaw::Drops(member), member));
    let of_tokens =
        ["access_token", "refresh_token", "obtained_at", "life", "extra", "of_a_newer_version"];
    let of_tokens = of_tokens.map(|member| (Flaw::DropsOfTokens(member), "tokens"));
    for (flaw, member) in flaws.into_iter().chain(of_tokens) {
        let said = said(flaw).await;
        let named = said.contains(&format!("it gives the member `{member}`"));
        let tokens = said.contains("the tokens that were saved") || said.contains("life began");
        assert!(named || member == "tokens" && tokens, "{flaw:?}: {said}");
    }
    for member in ["lease", "of_a_newer_version"] {
        let said = said(Flaw::Merges(member)).await;
        assert!(said.contains("no member that was not in the record"), "{member}: {said}");
    }
}

// S88: unknown members of a record are kept, and what `crit` requires and is unknown is refused
#[tokio::test]
async fn a_store_that_mixes_up_empty_records_and_log_outs_is_found() {
    for (flaw, rule) in [
        (Flaw::Drops("logged_out"), "a log-out that was saved is a log-out"),
        (Flaw::EmptyIsLoggedOut, "a record without tokens is no log-out"),
        (Flaw::EmptyIsNothing, "it gives a record without tokens too"),
    ] {
        let said = said(flaw).await;
        assert!(said.contains(rule) && said.contains("`TokenStore::load`"), "{flaw:?}: {said}");
    }
}

#[tokio::test]
async fn a_lease_that_more_than_one_can_take_is_found() {
    let said = said(Flaw::LeaseWithoutLooking).await;
    let rule = "of many that lease one version of a record, one is saved";
    assert!(said.contains(rule) && said.contains("`TokenStore::save`"), "{said}");
}

#[tokio::test]
async fn a_watch_that_the_others_wait_for_is_found() {
    let said = said(Flaw::WatchAlone).await;
    assert!(said.contains("the others answer while it waits"), "{said}");
}
