use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tokio::time::sleep;
use tower_refresh::{
    Session,
    store::{MemoryStore, Record, TokenStore},
};

use super::endpoint;

/// The members that this version knows. All others go back as they came.
const KNOWN: [&str; 12] = [
    "format",
    "version",
    "turn",
    "crit",
    "for",
    "sealed",
    "tokens",
    "logged_out",
    "ended",
    "seeds",
    "logins",
    "lease",
];

/// The bytes as what a store holds: an error, or a record that says the same after it was written
/// and read again, and that a session can start from and replace.
pub fn record(data: &[u8]) {
    let Ok(record) = serde_json::from_slice::<Record>(data) else {
        return;
    };
    let json = serde_json::to_vec(&record).expect("a record is JSON");
    let again: Record = serde_json::from_slice(&json).expect("our own format");
    assert_eq!(
        (again.version(), again.turn(), again.is_empty(), again.is_logged_out(), again.lease()),
        (
            record.version(),
            record.turn(),
            record.is_empty(),
            record.is_logged_out(),
            record.lease()
        ),
    );
    assert_eq!(serde_json::to_vec(&again).expect("a record is JSON"), json);

    let unknown = unknown(data);
    assert_eq!(self::unknown(&json), unknown, "members of a newer version are kept");
    if record.tokens().is_none() && !record.is_empty() && !record.is_logged_out() {
        // An encrypted one.
        return;
    }
    super::run(async {
        let (version, is_logged_out) = (record.version(), record.is_logged_out());
        let leased = record.lease().is_some();
        let has_ended =
            serde_json::from_slice::<Value>(&json).expect("it is JSON")["ended"].is_object();
        let store = Arc::new(MemoryStore::new());
        store.save(record, None).await.expect("it is empty");
        let session = Session::builder(endpoint()).store(store.clone()).build();
        // A lease that was stored is respected for its life, and callers do not wait for that long.
        let mut token = session.token().await;
        while leased && token.as_ref().is_err_and(|error| error.is_transient()) {
            sleep(Duration::from_secs(5)).await;
            token = session.token().await;
        }
        match token {
            Ok(_) => {
                assert!(!is_logged_out);
                session.refresh().await.expect("the next token");
            }
            Err(error) => {
                assert!((is_logged_out || has_ended) && error.is_login_required(), "{error:?}");
            }
        }
        session.log_out().await.expect("it takes everything");
        let stored = store.load().await.expect("it never fails").expect("a log-out");
        assert!(stored.version() > version, "a version only grows");
        let json = serde_json::to_vec(&stored).expect("a record is JSON");
        assert_eq!(self::unknown(&json), unknown, "members of a newer version are kept");
    });
}

fn unknown(json: &[u8]) -> Value {
    let mut json: Value = serde_json::from_slice(json).expect("it is a record");
    let members = json.as_object_mut().expect("a record is an object");
    KNOWN.iter().for_each(|name| drop(members.remove(*name)));
    json
}
