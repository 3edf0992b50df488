use std::sync::Arc;

use tower_refresh::{
    Session,
    store::{MemoryStore, Record, TokenStore},
};

use super::endpoint;

/// The bytes as what a store holds: an error or a record that survives being written again, and
/// that a session can start from and replace.
pub fn record(data: &[u8]) {
    let Ok(record) = serde_json::from_slice::<Record>(data) else {
        return;
    };
    let json = serde_json::to_vec(&record).expect("a record is JSON");
    let again: Record = serde_json::from_slice(&json).expect("our own format");
    assert_eq!(again.version(), record.version());
    assert_eq!(serde_json::to_vec(&again).expect("a record is JSON"), json);

    super::run(async {
        let (version, is_tombstone) = (record.version(), record.tokens().is_none());
        let store = Arc::new(MemoryStore::new());
        store.save(record, None).await.expect("it is empty");
        let session = Session::builder(endpoint()).store(store.clone()).build();
        match session.token().await {
            Ok(_) => {
                assert!(!is_tombstone);
                session.refresh().await.expect("the next token");
            }
            Err(error) => assert!(is_tombstone && error.is_login_required(), "{error:?}"),
        }
        session.log_out().await.expect("it takes everything");
        let stored = store.load().await.expect("it never fails").expect("a tombstone");
        assert!(stored.version() > version, "a version only grows");
    });
}
