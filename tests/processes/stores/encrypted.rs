//! Tokens that the store inside cannot read, nor change, nor put elsewhere.

use futures::FutureExt;
use serde_json::{Value, json};
use tower_refresh::{
    ErrorKind, Session,
    store::{Encrypted, EncryptionKey, MemoryStore, Record, SaveOutcome, TokenStore},
    testing::GatedEndpoint,
};

use crate::stores::support::{record, secrets, tombstone};

fn key(byte: u8) -> EncryptionKey {
    EncryptionKey::new([byte; 32])
}

fn vault(name: &str, byte: u8) -> Encrypted<MemoryStore> {
    Encrypted::new(MemoryStore::new(), name, key(byte))
}

fn save(store: &impl TokenStore, record: Record, expected: Option<u64>) {
    let saved = store.save(record, expected).now_or_never().unwrap();
    assert_eq!(saved.unwrap(), SaveOutcome::Stored);
}

fn load(store: &impl TokenStore) -> Result<Record, String> {
    let loaded = store.load().now_or_never().unwrap();
    loaded.map(|record| record.expect("there is a record")).map_err(|error| {
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
        error.to_string()
    })
}

/// What the store inside sees, as it would write it.
fn inside(store: &Encrypted<MemoryStore>) -> Value {
    serde_json::to_value(load(store.get_ref()).unwrap()).unwrap()
}

/// A store that holds `stored`, whoever wrote it.
fn holding(name: &str, byte: u8, stored: &Value) -> Encrypted<MemoryStore> {
    let store = vault(name, byte);
    save(store.get_ref(), serde_json::from_value(stored.clone()).unwrap(), None);
    store
}

/// One record sealed for `billing` with the key 1.
fn sealed() -> Value {
    let store = vault("billing", 1);
    save(&store, record(7, "s3cret-access", "s3cret-refresh"), None);
    inside(&store)
}

/// The same with a lease on it, and members that only a newer version knows.
fn leased() -> Value {
    let store = vault("billing", 1);
    let mut record = serde_json::to_value(record(7, "s3cret-access", "s3cret-refresh")).unwrap();
    record["turn"] = 3.into();
    record["lease"] = json!({ "owner": "us", "life": 5000 });
    record["newer"] = "s3cret-inside".into();
    record["seeds"] = json!(["s3cret-seed"]);
    save(&store, serde_json::from_value(record).unwrap(), None);
    inside(&store)
}

#[test]
fn the_store_inside_sees_the_version_the_turn_the_lease_and_no_secret() {
    let stored = leased();
    assert_eq!((&stored["version"], &stored["turn"]), (&json!(7), &json!(3)));
    assert_eq!(stored["lease"], json!({ "owner": "us", "life": 5000 }));
    assert!(!stored.to_string().contains("s3cret") && stored.get("newer").is_none(), "{stored}");
    let record: Record = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!((record.turn(), record.lease().unwrap().owner()), (3, "us"));
    let read = serde_json::to_value(load(&holding("billing", 1, &stored)).unwrap()).unwrap();
    assert_eq!((&read["lease"], &read["newer"]), (&stored["lease"], &json!("s3cret-inside")));

    let stored = sealed();
    assert_eq!(stored["version"], 7);
    assert_eq!(stored["sealed"]["name"], "billing");
    assert!(!stored.to_string().contains("s3cret"), "{stored}");
    let read = load(&holding("billing", 1, &stored)).unwrap();
    assert_eq!(secrets(&read), ("s3cret-access".to_owned(), "s3cret-refresh".to_owned()));
}

// S88: unknown members of a record are kept, and what `crit` requires and is unknown is refused
#[test]
fn what_a_newer_version_has_put_beside_the_seal_stays_there() {
    let mut stored = leased();
    stored["beside"] = json!({ "a": 1 });
    let store = holding("billing", 1, &stored);
    let read = load(&store).unwrap();
    assert!(
        serde_json::to_value(&read).unwrap().get("beside").is_none(),
        "it is not of the record"
    );
    save(&store, read, Some(7));
    let again = inside(&store);
    assert_eq!(again["beside"], json!({ "a": 1 }));
    assert_eq!(serde_json::to_value(load(&store).unwrap()).unwrap()["newer"], "s3cret-inside");
    assert!(!again.to_string().contains("s3cret"), "{again}");
}

#[test]
fn a_log_out_is_sealed_too_and_is_one_for_who_has_the_key() {
    let store = vault("billing", 1);
    save(&store, tombstone(3), None);
    assert!(load(&store).unwrap().is_logged_out());
    let inside = load(store.get_ref()).unwrap();
    assert!(!inside.is_logged_out() && !inside.is_empty());
}

#[test]
fn the_same_record_never_looks_the_same_twice() {
    assert_ne!(sealed()["sealed"]["data"], sealed()["sealed"]["data"]);
}

#[test]
fn another_key_reads_the_old_ones_records_and_seals_with_its_own() {
    let old = sealed();
    let error = load(&holding("billing", 2, &old)).unwrap_err();
    assert!(error.contains(&key(1).id()) && error.contains(&key(2).id()), "{error}");
    assert!(error.contains("old_key"), "{error}");

    let store = holding("billing", 2, &old).old_key(key(1));
    load(&store).unwrap();
    save(&store, record(8, "s3cret-new", "s3cret-refresh"), Some(7));
    let new = inside(&store);
    assert_eq!(new["sealed"]["key"], key(2).id());
    assert_eq!(secrets(&load(&holding("billing", 2, &new)).unwrap()).0, "s3cret-new");
    load(&holding("billing", 1, &new)).unwrap_err();
}

#[test]
fn a_record_in_anothers_place_is_refused() {
    let mut stored = sealed();
    let error = load(&holding("shipping", 1, &stored)).unwrap_err();
    assert!(error.contains("billing") && error.contains("shipping"), "{error}");

    stored["sealed"]["name"] = "shipping".into();
    let error = load(&holding("shipping", 1, &stored)).unwrap_err();
    assert!(error.contains("changed without the key"), "{error}");
}

#[test]
fn a_record_that_was_changed_anywhere_is_refused() {
    let whole = sealed();
    let data = whole["sealed"]["data"].as_str().unwrap().to_owned();
    let refuses = |stored: &Value| {
        let error = load(&holding("billing", 1, stored)).unwrap_err();
        assert!(error.contains("changed without the key"), "{error}");
    };
    // The last digit may stand for no whole byte.
    for at in 0..data.trim_end_matches('=').len() - 1 {
        let mut changed = data.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let mut stored = whole.clone();
        stored["sealed"]["data"] = String::from_utf8(changed).unwrap().into();
        refuses(&stored);
    }
    for end in 0..data.len() {
        let mut stored = whole.clone();
        stored["sealed"]["data"] = data[..end].into();
        let trimmed = data.trim_end_matches('=').len();
        if end < trimmed {
            refuses(&stored);
        }
    }
    for version in [1, 6, 8, i64::MAX as u64] {
        let mut stored = whole.clone();
        stored["version"] = version.into();
        refuses(&stored);
    }
    for (member, value) in [
        ("turn", json!(4)),
        ("lease", json!(null)),
        ("lease", json!({ "owner": "them", "life": 5000 })),
        ("lease", json!({ "owner": "us", "life": 50_000 })),
    ] {
        let mut stored = leased();
        load(&holding("billing", 1, &stored)).unwrap();
        stored[member] = value;
        refuses(&stored);
    }
    let mut stored = whole.clone();
    stored["lease"] = json!({ "owner": "them", "life": 60_000 });
    refuses(&stored);
    // The id of another key that we know.
    let mut stored = whole.clone();
    stored["sealed"]["key"] = key(2).id().into();
    let error = load(&holding("billing", 1, &stored).old_key(key(2))).unwrap_err();
    assert!(error.contains("changed without the key"), "{error}");
}

#[test]
fn tokens_in_clear_are_taken_over_only_if_that_was_asked_for() {
    let plain = serde_json::to_value(record(7, "s3cret-access", "s3cret-refresh")).unwrap();
    let error = load(&holding("billing", 1, &plain)).unwrap_err();
    assert!(error.contains("accept_unencrypted"), "{error}");

    let store = holding("billing", 1, &plain).accept_unencrypted(true);
    let read = load(&store).unwrap();
    save(&store, read, Some(7));
    assert!(!inside(&store).to_string().contains("s3cret"));
    load(&store).unwrap();
}

#[tokio::test]
async fn a_session_without_the_key_is_not_logged_out() {
    let store = holding("billing", 1, &sealed()).into_inner();
    let session = Session::builder(GatedEndpoint::new()).store(store).build();
    let error = session.ready().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ForeignRecord);
    assert!(format!("{error:?}").contains("Encrypted"), "{error:?}");
    assert_eq!(session.token().await.unwrap_err().kind(), ErrorKind::ForeignRecord);
}

#[test]
fn a_key_is_read_from_any_usual_text_and_from_nothing_else() {
    let bytes: [u8; 32] = std::array::from_fn(|at| 0xff - at as u8);
    let id = EncryptionKey::new(bytes).id();
    for text in [
        "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0",
        "FFFEFDFCFBFAF9F8F7F6F5F4F3F2F1F0EFEEEDECEBEAE9E8E7E6E5E4E3E2E1E0",
        "//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA=",
        "//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA",
        "__79_Pv6-fj39vX08_Lx8O_u7ezr6uno5-bl5OPi4eA=",
        " __79_Pv6-fj39vX08_Lx8O_u7ezr6uno5-bl5OPi4eA\n",
    ] {
        assert_eq!(text.parse::<EncryptionKey>().unwrap().id(), id, "{text}");
    }
    for text in ["", "s3cret", &"s3".repeat(32), &"ü".repeat(32), "czNjcmV0", &"A".repeat(45)] {
        let error = text.parse::<EncryptionKey>().unwrap_err();
        assert!(error.to_string().contains("openssl rand"), "{error}");
        assert!(!format!("{error:?}").contains("s3"), "{error:?}");
    }
}

#[test]
fn no_key_is_shown() {
    let shown = format!("{:?}", vault("billing", 0xab).old_key(key(0xcd)));
    assert!(shown.contains("billing") && shown.contains(&key(0xab).id()), "{shown}");
    assert!(!shown.contains("171") && !shown.contains("abab"), "{shown}");
}
