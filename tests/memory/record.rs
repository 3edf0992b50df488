//! What a session makes of a record that another version or another program has written.

use std::sync::{Arc, Mutex};

use http::StatusCode;
use serde_json::{Value, json};
use tower_refresh::{
    ErrorKind, Session, Tokens,
    store::{self, Record},
    testing::{GatedEndpoint, GatedStore},
};

use crate::{
    stored::{is_logged_out, refresh_token},
    support::{World, expired, live},
};

fn record(json: Value) -> Record {
    serde_json::from_value(json).unwrap()
}

fn stored(store: &GatedStore) -> Value {
    serde_json::to_value(store.record().unwrap()).unwrap()
}

fn world(store: &GatedStore, tokens: Tokens) -> World {
    let endpoint = GatedEndpoint::new();
    let builder = Session::builder(endpoint.clone()).initial_tokens(tokens);
    World::of(endpoint, builder.store(store.clone()).build())
}

// S88: unknown members of a record are kept, and what `crit` requires and is unknown is refused
#[tokio::test(start_paused = true)]
async fn what_a_newer_version_has_stored_outlives_refreshes_logins_and_log_outs() {
    let newer = json!({ "anything": ["a", 1] });
    let store = GatedStore::holding(record(json!({
        "format": "tower-refresh/1", "version": 7, "turn": 3, "newer": newer,
        "for": { "issuer": "https://auth.example.com", "newer": newer },
        "tokens": { "access_token": "old", "refresh_token": "r", "obtained_at": 1, "life": 1 },
        "seeds": ["seed"],
    })));
    let world = world(&store, Tokens::default());
    let kept = || {
        let stored = stored(&store);
        assert_eq!(stored["newer"], newer, "{stored}");
        assert_eq!(stored["for"], json!({ "issuer": "https://auth.example.com", "newer": newer }));
        assert_eq!(stored["seeds"], json!(["seed"]));
    };
    let hold = world.endpoint.hold();
    let request = world.start();
    world.endpoint.calls_reached(1).await;
    kept();
    hold.release();
    assert_eq!(request.await.unwrap().unwrap(), StatusCode::OK);
    kept();
    world.session.set_tokens(Tokens::new("login").unwrap()).await.unwrap();
    kept();
    world.session.log_out().await.unwrap();
    assert!(is_logged_out(&store));
    kept();
}

// S88: unknown members of a record are kept, and what `crit` requires and is unknown is refused
#[tokio::test(start_paused = true)]
async fn what_stands_beside_the_same_tokens_stays_with_them() {
    let store = GatedStore::holding(record(json!({
        "format": "tower-refresh/1", "version": 7, "turn": 3,
        "tokens": { "access_token": "old", "refresh_token": "r", "obtained_at": 1, "life": 1, "newer": 1 },
    })));
    let world = world(&store, Tokens::default());
    let hold = world.endpoint.hold();
    let request = world.start();
    world.endpoint.calls_reached(1).await;
    let leased = stored(&store);
    assert!(leased["lease"]["owner"].is_string(), "{leased}");
    assert_eq!(leased["tokens"]["newer"], 1, "{leased}");
    hold.release();
    request.await.unwrap().unwrap();
    assert!(stored(&store)["tokens"].get("newer").is_none(), "it was the old tokens'");
}

// S88: unknown members of a record are kept, and what `crit` requires and is unknown is refused
#[tokio::test(start_paused = true)]
async fn a_record_that_requires_what_this_version_does_not_know_is_left_alone() {
    let bytes = r#"{"format":"tower-refresh/1","version":1,"crit":["dpop"],"tokens":{}}"#;
    let file = Arc::new(Mutex::new(bytes.to_owned()));
    let (reader, writer) = (file.clone(), file.clone());
    let store = store::from_fn(
        move || {
            let read = serde_json::from_str(&reader.lock().unwrap()).map(Some);
            async { Ok(read?) }
        },
        move |record| {
            *writer.lock().unwrap() = serde_json::to_string(&record).unwrap();
            async { Ok(()) }
        },
    );
    let endpoint = GatedEndpoint::new();
    let session = Session::builder(endpoint.clone()).initial_tokens(expired()).store(store).build();
    let error = session.ready().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    let why = format!("{error:?}");
    assert!(why.contains("dpop") && why.contains("update this program"), "{why}");
    session.set_tokens(expired()).await.unwrap_err();
    session.log_out().await.unwrap_err();
    assert_eq!(*file.lock().unwrap(), bytes);
}

// S88: unknown members of a record are kept, and what `crit` requires and is unknown is refused
#[tokio::test(start_paused = true)]
async fn a_record_without_tokens_is_filled_as_an_empty_store_is() {
    let empty = json!({ "format": "tower-refresh/1", "version": 7, "turn": 3, "newer": 1 });
    // Seeded.
    let store = GatedStore::holding(record(empty.clone()));
    let seeded = world(&store, live());
    seeded.session.ready().await.unwrap();
    assert_eq!(refresh_token(&store).unwrap(), "refresh-0");
    assert_eq!(seeded.get().await.unwrap(), StatusCode::OK);
    assert!(store.record().unwrap().version() > 7);
    assert_eq!(stored(&store)["newer"], 1);

    // By a grant that needs no token, and by a login.
    let store = GatedStore::holding(record(empty.clone()));
    let bare = world(&store, Tokens::default());
    assert_eq!(bare.get().await.unwrap(), StatusCode::OK);
    assert!(store.record().unwrap().tokens().is_some());
    let store = GatedStore::holding(record(empty.clone()));
    let logging_in = world(&store, Tokens::default());
    logging_in.session.set_tokens(Tokens::new("login").unwrap()).await.unwrap();
    assert!(store.record().unwrap().version() > 7);

    // The newest tokens are put back over it, and it logs nobody out.
    store.put(record(json!({ "format": "tower-refresh/1", "version": 99 })));
    logging_in.session.ready().await.unwrap();
    assert_eq!(logging_in.get().await.unwrap(), StatusCode::OK);
    logging_in.session.refresh().await.unwrap();
    assert!(store.record().unwrap().version() > 99);
    assert!(store.record().unwrap().tokens().is_some());
}

// S88: unknown members of a record are kept, and what `crit` requires and is unknown is refused
#[tokio::test(start_paused = true)]
async fn tokens_that_were_written_by_hand_are_used() {
    let by_hand = record(json!({ "tokens": { "refresh_token": "r" } }));
    let world = world(&GatedStore::holding(by_hand), Tokens::default());
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.endpoint.presented()[0].as_ref().unwrap().expose(), "r");
}

/// A record of another process that is calling, or was when it died.
// S46: processes share one rotating refresh token without a re-use: the lease is in the record
#[tokio::test(start_paused = true)]
async fn a_lease_is_respected_for_its_own_life_by_our_own_clock() {
    for life in [2_000, 12_000, 600_000] {
        let store = GatedStore::holding(record(json!({
            "format": "tower-refresh/1", "version": 7, "turn": 3,
            "tokens": { "access_token": "old", "refresh_token": "r", "obtained_at": 1, "life": 1 },
            "lease": { "owner": "another", "life": life },
        })));
        let world = world(&store, Tokens::default());
        let (start, session) = (tokio::time::Instant::now(), world.session.clone());
        tokio::spawn(async move { session.refresh().await });
        world.endpoint.calls_reached(1).await;
        let waited = start.elapsed().as_millis() as u64;
        // At most 60 s, and a look at the store, of which there is one each second and a half.
        let life = life.min(60_000);
        assert!((life..life + 1_600).contains(&waited), "{life}: {waited}");
    }
}
