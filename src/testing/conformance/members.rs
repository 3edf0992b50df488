//! Whether a store keeps all of a record.

use serde_json::{Value, json};

use super::{keeps, load, ok, save};
use crate::store::{Record, TokenStore};

/// A record with all members, those of a newer version of this crate among them.
fn full() -> Value {
    json!({
        "format": "tower-refresh/1",
        "version": 1,
        "turn": 4,
        "for": {
            "issuer": "https://auth.example.com/token", "client": "billing", "scope": "a b",
            "key": "42", "of_a_newer_version": 1,
        },
        "tokens": {
            "access_token": "access", "refresh_token": "refresh",
            "obtained_at": 1_758_003_600_123_u64, "life": 1500,
            "extra": { "deep": { "list": [1, "ü", null], "empty": {} } },
            "of_a_newer_version": [null, 2],
        },
        "ended": { "at": 1_758_003_600_456_u64, "code": "invalid_grant" },
        "seeds": ["seed-1", "seed-2"],
        "logins": ["a", "b"],
        "lease": { "owner": "me", "life": 5000 },
        "of_a_newer_version": { "deep": [1.5, "ü", { "": null }] },
    })
}

fn read(json: Value) -> Record {
    serde_json::from_value(json).expect("this is a record")
}

pub(super) async fn are_kept(store: &impl TokenStore) {
    save(store, read(full()), None).await;
    all_of(&full(), load(store).await);

    // Members that are gone are not kept from the record before.
    let bare = json!({
        "format": "tower-refresh/1",
        "version": 2,
        "turn": 5,
        "tokens": { "access_token": "access", "obtained_at": 1_758_003_600_123_u64 },
    });
    save(store, read(bare.clone()), Some(1)).await;
    let stored = serde_json::to_value(load(store).await).unwrap_or_default();
    keeps(stored == bare, "load", "it gives no member that was not in the record saved last");
}

fn all_of(saved: &Value, stored: Record) {
    let stored = serde_json::to_value(stored).unwrap_or_default();
    for (name, value) in saved.as_object().into_iter().flatten() {
        let rule = format!("it gives the member `{name}` of a record as it was saved");
        keeps(stored.get(name) == Some(value), "load", &rule);
    }
}

pub(super) async fn tell_nothing_from_a_log_out(store: &impl TokenStore) {
    let leased = json!({
        "format": "tower-refresh/1",
        "version": 1,
        "turn": 1,
        "lease": { "owner": "me", "life": 5000 },
    });
    save(store, read(leased.clone()), None).await;
    let stored = ok("load", store.load().await);
    let there = stored.is_some();
    keeps(there, "load", "it gives a record without tokens too: it may have a lease in it");
    let empty = load(store).await;
    keeps(!empty.is_logged_out(), "load", "a record without tokens is no log-out");
    keeps(empty.is_empty(), "load", "it gives no tokens where none were saved");
    all_of(&leased, empty);

    save(store, Record::new(7, 2, None), Some(1)).await;
    let read = load(store).await;
    keeps(read.is_logged_out(), "load", "a log-out that was saved is a log-out");
    keeps(read.version() == 7, "load", "a version may grow by more than one");
}

/// A record that this version must not use comes from a newer one, and goes back to it.
pub(super) async fn that_are_required_stay_required(store: &impl TokenStore) {
    let record = Record::empty(1, 1).requiring("of_a_newer_version");
    save(store, record, None).await;
    let required = match store.load().await {
        // What is kept in memory is not read anew.
        Ok(Some(stored)) => {
            let stored = serde_json::to_value(stored).unwrap_or_default();
            stored["crit"] == json!(["of_a_newer_version"])
        }
        Ok(None) => false,
        Err(_refused) => true,
    };
    let rule =
        "it gives the member `crit`, or fails because this version does not know a name in it";
    keeps(required, "load", rule);
}
