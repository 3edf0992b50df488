use serde_json::json;

use super::*;

fn read(json: Value) -> Record {
    serde_json::from_value(json).unwrap()
}

fn refused(json: Value) -> String {
    serde_json::from_value::<Record>(json).unwrap_err().to_string()
}

fn written(record: &Record) -> Value {
    serde_json::to_value(record).unwrap()
}

/// A record with all members, as a newer version may have written it.
fn full() -> Value {
    json!({
        "format": FORMAT, "version": 7, "turn": 3, "newer": { "a": [1] },
        "for": {
            "issuer": "https://auth.example.com/token", "client": "billing", "scope": "a b",
            "key": "42", "newer": 1,
        },
        "tokens": {
            "access_token": "access", "refresh_token": "refresh", "obtained_at": 1,
            "life": 3_600_000, "extra": { "device_id": "d" }, "newer": 2,
        },
        "ended": { "at": 1, "code": "invalid_grant", "newer": 3 },
        "seeds": ["first", "second"],
        "logins": ["a", "b"],
        "lease": { "owner": "us", "life": 5000, "newer": 4 },
    })
}

// S88: unknown members of a record are kept, and what `crit` requires and is unknown is refused
#[test]
fn a_record_is_written_as_it_was_read_with_its_unknown_members() {
    let record = read(full());
    assert_eq!(written(&record), full());
    assert_eq!((record.version(), record.turn()), (7, 3));
    let lease = record.lease().unwrap();
    assert_eq!((lease.owner(), lease.life()), ("us", Duration::from_secs(5)));
    assert_eq!(record.issued_for().unwrap().key.as_deref(), Some("42"));
    assert_eq!(record.ended().unwrap().at, UNIX_EPOCH + Duration::from_millis(1));
    assert_eq!(record.seeds(), ["first", "second"].map(|seed| RefreshToken::new(seed).unwrap()));

    let mut logged_out = full();
    logged_out.as_object_mut().unwrap().remove("tokens");
    logged_out["logged_out"] = true.into();
    assert_eq!(written(&read(logged_out.clone())), logged_out);
}

// S88: unknown members of a record are kept, and what `crit` requires and is unknown is refused
#[test]
fn a_record_that_takes_anothers_place_carries_what_it_does_not_know() {
    let old = read(full());
    let tokens = old.tokens().cloned().unwrap();
    let rewritten = written(&Record::new(9, 3, Some(tokens)).carrying(&old));
    for member in ["for", "seeds", "newer", "tokens"] {
        assert_eq!(rewritten[member], full()[member], "{member}");
    }
    assert!(rewritten.get("lease").is_none() && rewritten.get("ended").is_none(), "{rewritten}");

    let new = Tokens::new("new").unwrap();
    let rotated = written(&Record::new(10, 4, Some(new)).carrying(&old));
    assert_eq!(rotated["newer"], full()["newer"]);
    assert!(rotated["tokens"].get("newer").is_none(), "that was the old tokens': {rotated}");
    let renewed = written(&old.with_version(8).with_lease("us", Duration::from_secs(5)));
    assert_eq!((&renewed["tokens"], &renewed["ended"]), (&full()["tokens"], &full()["ended"]));
}

// S88: unknown members of a record are kept, and what `crit` requires and is unknown is refused
#[test]
fn a_record_without_tokens_is_empty_and_no_log_out_unless_it_says_so() {
    let head = json!({ "format": FORMAT, "version": 7 });
    for tokens in [None, Some(json!(null)), Some(json!({})), Some(json!({ "extra": {} }))] {
        let mut json = head.clone();
        if let Some(tokens) = tokens {
            json["tokens"] = tokens;
        }
        let record = read(json);
        assert!(record.is_empty() && !record.is_logged_out() && record.tokens().is_none());
        assert_eq!(written(&record), json!({ "format": FORMAT, "version": 7, "turn": 1 }));
    }
    let mut json = head.clone();
    json["logged_out"] = true.into();
    let record = read(json.clone());
    assert!(record.is_logged_out() && !record.is_empty() && record.tokens().is_none());
    json["tokens"] = json!({ "refresh_token": "r" });
    assert!(refused(json).contains("logged out"));
    let leased = Record::empty(1, 1).with_lease("us", Duration::from_secs(1));
    assert!(read(written(&leased)).is_empty() && read(written(&leased)).lease().is_some());
}

// S88: unknown members of a record are kept, and what `crit` requires and is unknown is refused
#[test]
fn an_unknown_name_in_crit_is_refused_and_named() {
    let mut json = full();
    json["crit"] = json!([]);
    read(json.clone());
    json["crit"] = json!(["dpop"]);
    // What only a newer version understands may look like anything.
    json["tokens"] = json!("s3cret");
    let error = refused(json.clone());
    assert!(error.contains("\"dpop\"") && error.contains("update this program"), "{error}");
    json["crit"] = json!(["s3cret \n"]);
    assert!(!refused(json).contains("s3cret"));
}

#[test]
fn tokens_that_were_written_by_hand_are_a_record() {
    let record = read(json!({ "tokens": { "refresh_token": "x" } }));
    assert_eq!((record.version(), record.turn()), (1, 1));
    assert_eq!(record.tokens().unwrap().refresh_token().unwrap().expose(), "x");
    assert_eq!(written(&record)["format"], FORMAT);
    // What an access token itself says of its life is read, as from any other place.
    let jwt = "e30.eyJleHAiOjQwMDAwMDAwMDB9.x";
    let record = read(json!({ "tokens": { "access_token": jwt } }));
    assert!(record.tokens().unwrap().expires_at().is_some());
    refused(json!({}));
    refused(json!({ "tokens": null }));
    refused(json!({ "version": 1, "logged_out": true }));
    refused(json!({ "tokens": { "refresh_token": "" } }));
}

#[test]
fn numbers_are_bounded() {
    for member in ["version", "turn"] {
        for wrong in [0, u64::MAX] {
            let mut json = full();
            json[member] = wrong.into();
            refused(json);
        }
    }
    refused(json!({ "format": FORMAT, "tokens": { "refresh_token": "x" } }));
    let mut json = full();
    json["lease"]["life"] = u64::MAX.into();
    assert_eq!(read(json.clone()).lease().unwrap().life(), Duration::from_secs(60));
    json["seeds"] = json!(["a", "b", "a", "c", "d", "e"]);
    assert_eq!(written(&read(json))["seeds"], json!(["b", "c", "d", "e"]));
}

#[test]
fn an_encrypted_record_is_no_log_out_and_no_session_takes_it_for_one() {
    let json = json!({
        "format": SEALED_FORMAT, "version": 7, "turn": 3, "newer": 1,
        "lease": { "owner": "us", "life": 5000 },
        "sealed": { "key": "k", "name": "n", "data": "ZGF0YQ==" },
    });
    let record = read(json.clone());
    assert_eq!((record.version(), record.turn()), (7, 3));
    assert!(record.tokens().is_none() && !record.is_logged_out() && !record.is_empty());
    assert_eq!(written(&record), json);
    assert!(record.opened().unwrap_err().to_string().contains("Encrypted"));

    for (member, value) in [
        ("format", json!(FORMAT)),
        ("sealed", json!(null)),
        ("tokens", json!({})),
        ("logged_out", json!(true)),
        ("seeds", json!(["x"])),
    ] {
        let mut json = json.clone();
        json[member] = value;
        assert!(refused(json).contains("half encrypted"), "{member}");
    }
}

#[test]
fn another_programs_format_is_named() {
    let error = refused(json!({ "format": "keyring/9", "version": 1 }));
    assert!(error.contains(FORMAT), "{error}");
}

#[test]
fn nothing_secret_is_shown() {
    let mut json = full();
    json["newer"] = "s3cret".into();
    json["tokens"]["newer"] = "s3cret".into();
    json["seeds"] = json!(["s3cret"]);
    let shown = format!("{:?}", read(json));
    assert!(!shown.contains("s3cret"), "{shown}");
}
