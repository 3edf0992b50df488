//! A token store in memory that can be held and broken on purpose.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{
    FutureExt,
    future::{BoxFuture, pending},
};
use tokio::sync::watch;
use tower_refresh::{
    BoxError, Session,
    store::{MemoryStore, Record, SaveOutcome, TokenStore},
    testing::GatedEndpoint,
};

/// One session's view of a store. Views of one [`MemoryStore`] break one by one, as the
/// connections of processes do.
#[derive(Clone, Debug)]
pub(crate) struct Vault {
    inner: Arc<MemoryStore>,
    fault: watch::Sender<Fault>,
    saves: watch::Sender<usize>,
    loads: watch::Sender<usize>,
    held: watch::Sender<bool>,
    shared: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Fault {
    #[default]
    None,
    /// Nothing can be read or written.
    Down,
    /// No call is ever answered.
    Hangs,
    /// Saves fail, and all else works.
    ReadOnly,
    /// Saves are done, and their answer never comes.
    LosesAnswers,
    /// Every call panics: to read or to wait for news before there is a future, to save in it.
    Panics,
}

impl Vault {
    pub(crate) fn new() -> Self {
        Self::over(Arc::default())
    }

    /// A vault that holds this much already.
    pub(crate) fn holding(record: Record) -> Self {
        let vault = Self::new();
        vault.put(record);
        vault
    }

    pub(crate) fn over(inner: Arc<MemoryStore>) -> Self {
        Self {
            inner,
            fault: watch::Sender::default(),
            saves: watch::Sender::default(),
            loads: watch::Sender::default(),
            held: watch::Sender::default(),
            shared: true,
        }
    }

    /// The same for a process that alone uses it.
    pub(crate) fn unshared(mut self) -> Self {
        self.shared = false;
        self
    }

    /// Another view of the same store, without the faults of this one.
    pub(crate) fn other_view(&self) -> Self {
        Self::over(self.inner.clone())
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Lets saves arrive and not go on, until `false`.
    pub(crate) fn hold_saves(&self, held: bool) {
        self.held.send_replace(held);
    }

    pub(crate) async fn saves_reached(&self, saves: usize) {
        let mut reached = self.saves.subscribe();
        reached.wait_for(|&reached| reached >= saves).await.unwrap();
    }

    pub(crate) fn loads(&self) -> usize {
        *self.loads.borrow()
    }

    pub(crate) fn saves(&self) -> usize {
        *self.saves.borrow()
    }

    /// What is stored, whatever the faults.
    pub(crate) fn stored(&self) -> Option<Record> {
        self.inner.load().now_or_never().unwrap().unwrap()
    }

    /// The refresh token that the next process would start with.
    pub(crate) fn refresh_token(&self) -> Option<String> {
        let record = self.stored()?;
        Some(record.tokens()?.refresh_token()?.expose().to_owned())
    }

    pub(crate) fn is_logged_out(&self) -> bool {
        self.stored().is_some_and(|record| record.is_logged_out())
    }

    /// Stores what another process has saved.
    pub(crate) fn put(&self, record: Record) {
        let expected = self.stored().map(|record| record.version());
        let saved = self.inner.save(record, expected).now_or_never();
        assert_eq!(saved.unwrap().unwrap(), SaveOutcome::Stored);
    }

    fn panic_if_told(&self) {
        let panics = matches!(*self.fault.borrow(), Fault::Panics);
        assert!(!panics, "the test makes this call panic");
    }

    async fn pass(&self, works: impl Fn(Fault) -> bool) -> Result<(), BoxError> {
        let fault = *self.fault.borrow();
        match fault {
            Fault::Hangs => pending().await,
            fault if works(fault) => Ok(()),
            _ => Err("the vault is shut".into()),
        }
    }
}

impl TokenStore for Vault {
    fn load(&self) -> BoxFuture<'_, Result<Option<Record>, BoxError>> {
        self.loads.send_modify(|loads| *loads += 1);
        self.panic_if_told();
        async {
            self.pass(|fault| !matches!(fault, Fault::Down)).await?;
            self.inner.load().await
        }
        .boxed()
    }

    fn save(
        &self,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'_, Result<SaveOutcome, BoxError>> {
        async move {
            self.saves.send_modify(|saves| *saves += 1);
            self.held.subscribe().wait_for(|&held| !held).await?;
            self.panic_if_told();
            self.pass(|fault| !matches!(fault, Fault::Down | Fault::ReadOnly)).await?;
            let saved = self.inner.save(record, expected).await?;
            let fault = *self.fault.borrow();
            match fault {
                Fault::LosesAnswers => pending().await,
                _ => Ok(saved),
            }
        }
        .boxed()
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        self.panic_if_told();
        pending().boxed()
    }

    fn is_shared(&self) -> bool {
        self.shared
    }
}

/// A record as another process would have saved it: live for an hour.
pub(crate) fn record(version: u64, access: &str, refresh: &str) -> Record {
    aged_record(version, access, refresh, Duration::ZERO)
}

/// The same, saved so long ago.
pub(crate) fn aged_record(version: u64, access: &str, refresh: &str, age: Duration) -> Record {
    let obtained_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - age;
    let record = serde_json::json!({
        "format": "tower-refresh/1",
        "version": version,
        "turn": version,
        "tokens": {
            "access_token": access,
            "refresh_token": refresh,
            "obtained_at": obtained_at.as_millis() as u64,
            "life": 3_600_000,
        },
    });
    serde_json::from_value(record).unwrap()
}

/// What a log-out in another process leaves.
pub(crate) fn tombstone(version: u64) -> Record {
    let record = serde_json::json!({
        "format": "tower-refresh/1", "version": version, "turn": version, "logged_out": true,
    });
    serde_json::from_value(record).unwrap()
}

/// Refreshes while the store breaks between the call and the save: before the call it was still
/// told that the token is being spent.
pub(crate) async fn refresh_into(
    fault: Fault,
    session: &Session,
    endpoint: &GatedEndpoint,
    vault: &Vault,
) {
    let hold = endpoint.hold();
    let calls = endpoint.calls();
    let refresh = tokio::spawn({
        let session = session.clone();
        async move { session.refresh().await }
    });
    endpoint.calls_reached(calls + 1).await;
    vault.set(fault);
    hold.release();
    refresh.await.unwrap().unwrap();
}
