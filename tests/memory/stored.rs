//! What is stored: as other processes leave it, as the next one finds it, and when saving fails.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tower_refresh::{
    Session,
    store::Record,
    testing::{GatedEndpoint, GatedStore, StoreCalls, StoreFault},
};

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

/// The refresh token that the next process would start with.
pub(crate) fn refresh_token(store: &GatedStore) -> Option<String> {
    let record = store.record()?;
    Some(record.tokens()?.refresh_token()?.expose().to_owned())
}

pub(crate) fn is_logged_out(store: &GatedStore) -> bool {
    store.record().is_some_and(|record| record.is_logged_out())
}

/// Refreshes while the store breaks between the call and the save: before the call it was still
/// told that the token is being spent.
pub(crate) async fn refresh_into(
    calls: StoreCalls,
    fault: StoreFault,
    session: &Session,
    endpoint: &GatedEndpoint,
    store: &GatedStore,
) {
    let hold = endpoint.hold();
    let before = endpoint.calls();
    let refresh = tokio::spawn({
        let session = session.clone();
        async move { session.refresh().await }
    });
    endpoint.calls_reached(before + 1).await;
    store.set_fault(calls, fault);
    hold.release();
    refresh.await.unwrap().unwrap();
}
