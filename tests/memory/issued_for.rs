//! A record knows whom its tokens were issued for, and no other program uses, sends or replaces
//! them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::join_all;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::time::sleep;
use tower::{Layer, limit::ConcurrencyLimitLayer};
use tower_refresh::{
    BoxError, ErrorKind, IssuedFor, Session, SessionBuilder,
    endpoint::{EndpointError, OAuth2Client, OAuth2Endpoint, RefreshRequest},
    store::Record,
    testing::{Answer, GatedEndpoint, GatedStore},
};

use crate::{
    stored::record,
    support::{World, error_of, expired, live, settle},
};

const OURS: &str = "https://auth.example.com/token";
const THEIRS: &str = "https://staging.example.com/token";

fn billing(issuer: &str) -> IssuedFor {
    IssuedFor::new(issuer).with_client("billing")
}

fn stored(store: &GatedStore) -> Value {
    serde_json::to_value(store.record().unwrap()).unwrap()
}

/// Live tokens that were issued for this.
fn holding(issued_for: Value) -> GatedStore {
    let mut json = serde_json::to_value(record(5, "stored", "refresh-stored")).unwrap();
    json["for"] = issued_for;
    let record: Record = serde_json::from_value(json).unwrap();
    GatedStore::holding(record)
}

fn builder(endpoint: &GatedEndpoint, store: &GatedStore, issuer: &str) -> SessionBuilder {
    Session::builder(endpoint.clone()).store(store.other()).issuer(billing(issuer))
}

fn process(endpoint: &GatedEndpoint, store: &GatedStore, issued_for: IssuedFor) -> World {
    let builder = Session::builder(endpoint.clone()).store(store.other()).issuer(issued_for);
    World::of(endpoint.clone(), builder.build())
}

// S142: tokens of another issuer or client are an error that names both, and stay as they are
#[tokio::test(start_paused = true)]
async fn tokens_of_another_are_an_error_that_names_both_and_nothing_of_them_is_sent_or_replaced() {
    for (issuer, client) in [
        (THEIRS, "billing"),
        (OURS, "reports"),
        ("https://auth.example.com:8443/token", "billing"),
        ("https://auth.example.com/tenant/token", "billing"),
        ("http://auth.example.com/token", "billing"),
    ] {
        let store = holding(json!({ "issuer": issuer, "client": client }));
        let (before, endpoint) = (stored(&store), GatedEndpoint::new());
        let world = World::of(endpoint.clone(), builder(&endpoint, &store, OURS).build());
        let error = error_of(world.get().await);
        assert_eq!(error.kind(), ErrorKind::ForeignRecord);
        assert!(!error.is_transient() && !error.is_login_required());
        let said = error.to_string();
        for name in [issuer, client, OURS, "billing", "formerly"] {
            assert!(said.contains(name), "{said}");
        }
        let foreign = |result: Result<(), tower_refresh::Error>| {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::ForeignRecord);
        };
        foreign(world.session.refresh().await.map(drop));
        foreign(world.session.load().await.map(drop));
        foreign(world.session.set_tokens(live()).await);
        foreign(world.session.log_out().await);
        sleep(Duration::from_secs(120)).await;
        settle().await;
        assert_eq!((world.api.seen().len(), endpoint.calls()), (0, 0));
        assert_eq!(stored(&store), before, "{issuer} {client}");
    }
}

// S142: tokens of another issuer or client are an error that names both, and stay as they are
#[tokio::test(start_paused = true)]
async fn a_query_or_the_spelling_of_a_host_makes_no_other_identity() {
    let store = holding(json!({ "issuer": OURS, "client": "billing" }));
    for issuer in [
        "https://auth.example.com/token?key=s3cret",
        "HTTPS://Auth.Example.com:443/token",
        "https://me@auth.example.com/token",
    ] {
        let endpoint = GatedEndpoint::new();
        let world = World::of(endpoint.clone(), builder(&endpoint, &store, issuer).build());
        assert_eq!(world.get().await.unwrap(), StatusCode::OK, "{issuer}");
        world.session.refresh().await.unwrap();
        assert!(!stored(&store).to_string().contains("s3cret"));
        store.put(record(1 << 50, "again", "refresh-again"));
    }
}

// S142: tokens of another issuer or client are an error that names both, and stay as they are
#[tokio::test(start_paused = true)]
async fn a_record_without_a_name_is_accepted_and_gets_one_with_its_next_save() {
    let (endpoint, store) =
        (GatedEndpoint::new(), GatedStore::holding(record(5, "a", "refresh-a")));
    let world = process(&endpoint, &store, billing(OURS).with_scope("a b"));
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!((endpoint.calls(), &stored(&store)["for"]), (0, &Value::Null));
    world.session.refresh().await.unwrap();
    let named = json!({ "issuer": OURS, "client": "billing", "scope": "a b" });
    assert_eq!(stored(&store)["for"], named);

    // A seed, tokens that were set, and a log-out as well.
    let store = GatedStore::new();
    let session = builder(&endpoint, &store, OURS).initial_tokens(live()).build();
    session.token().await.unwrap();
    assert_eq!(stored(&store)["for"]["issuer"], OURS);
    let store = GatedStore::new();
    let session = builder(&endpoint, &store, OURS).build();
    session.set_tokens(live()).await.unwrap();
    assert_eq!(stored(&store)["for"]["issuer"], OURS);
    session.log_out().await.unwrap();
    assert_eq!(stored(&store)["for"]["issuer"], OURS);
}

/// The ready-made endpoint at this URL, over a server in memory that counts its calls.
fn oauth2(url: &str) -> (OAuth2Endpoint, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let transport = tower::service_fn(move |_: Request<Full<Bytes>>| {
        let call = counted.fetch_add(1, Ordering::Relaxed);
        let body = format!(
            r#"{{"access_token":"oauth2-{call}","refresh_token":"r-{call}","expires_in":3600}}"#
        );
        async move { Ok::<_, BoxError>(Response::new(Full::new(Bytes::from(body)))) }
    });
    let endpoint = OAuth2Endpoint::refresh_token(url, OAuth2Client::public("billing")).unwrap();
    (endpoint.scope("a b").transport(transport), calls)
}

// S142: tokens of another issuer or client are an error that names both, and stay as they are
#[tokio::test(start_paused = true)]
async fn a_bare_endpoint_is_known_by_itself_and_one_inside_layers_refuses_what_is_anothers() {
    let store = GatedStore::new();
    let (endpoint, calls) = oauth2("https://auth.example.com/token?key=s3cret");
    let builder = Session::builder(endpoint.clone()).store(store.other());
    builder.initial_tokens(expired()).build().token().await.unwrap();
    let named = json!({ "issuer": OURS, "client": "billing", "scope": "a b" });
    assert_eq!(stored(&store)["for"], named);
    assert_eq!(calls.load(Ordering::Relaxed), 1);

    let (other, others_calls) = oauth2(THEIRS);
    let bare = Session::builder(other.clone()).store(store.other()).build();
    assert_eq!(bare.token().await.unwrap_err().kind(), ErrorKind::ForeignRecord);
    let layer = ConcurrencyLimitLayer::new(1);
    let layered = layer.layer(other.clone());
    let named = Session::builder(layered.clone()).store(store.other());
    let named = named.issuer(other.issued_for()).build();
    assert_eq!(named.token().await.unwrap_err().kind(), ErrorKind::ForeignRecord);
    // One without a name uses what is live, and presents nothing.
    let stranger = Session::builder(layered).store(store.other()).build();
    stranger.ready().await.unwrap();
    let error = stranger.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ForeignRecord);
    assert!(error.to_string().contains(THEIRS) && error.to_string().contains(OURS), "{error}");
    assert_eq!(others_calls.load(Ordering::Relaxed), 0);

    // What a stranger has saved is named as well.
    let store = GatedStore::new();
    let stranger = Session::builder(layer.layer(other)).store(store.other());
    stranger.initial_tokens(expired()).build().token().await.unwrap();
    assert_eq!(stored(&store)["for"]["issuer"], THEIRS);
    let bare = Session::builder(endpoint.clone()).store(store.other()).build();
    assert_eq!(bare.token().await.unwrap_err().kind(), ErrorKind::ForeignRecord);
    // A call by hand is checked only if it says whose its token is.
    let request = RefreshRequest::new(expired().refresh_token().cloned());
    endpoint.request(request.clone()).await.unwrap();
    let refused = endpoint.request(request.with_issued_for(billing(THEIRS))).await.unwrap_err();
    assert!(refused.to_string().contains("another"));
}

// S142: tokens of another issuer or client are an error that names both, and stay as they are
#[tokio::test(start_paused = true)]
async fn a_bare_issuer_takes_the_client_of_the_endpoint() {
    let store = GatedStore::new();
    let (endpoint, _) = oauth2(THEIRS);
    let builder = Session::builder(endpoint).issuer("https://auth.example.com");
    builder.store(store.other()).initial_tokens(expired()).build().token().await.unwrap();
    let named =
        json!({ "issuer": "https://auth.example.com", "client": "billing", "scope": "a b" });
    assert_eq!(stored(&store)["for"], named);
}

// S143: the requested scope is compared when a process first reads the store
#[tokio::test(start_paused = true)]
async fn what_was_requested_is_compared_as_sets_when_a_process_first_reads_the_store() {
    for (theirs, ours, calls) in [
        ("read write", "read", Some(0)),
        ("read write", "write  read", Some(0)),
        ("read", "", Some(0)),
        ("", "", Some(0)),
        ("read", "read write", Some(1)),
        ("", "read", Some(1)),
        ("read", "reads", None),
        ("read admin", "read write", None),
    ] {
        let store = holding(json!({ "issuer": OURS, "client": "billing", "scope": theirs }));
        let (before, endpoint) = (stored(&store), GatedEndpoint::new());
        let world = process(&endpoint, &store, billing(OURS).with_scope(ours));
        let Some(calls) = calls else {
            let error = error_of(world.get().await);
            assert_eq!(error.kind(), ErrorKind::ForeignRecord, "{theirs:?} {ours:?}");
            assert!(error.to_string().contains(&format!("{theirs:?}")), "{error}");
            assert!(world.session.load().await.is_err());
            assert_eq!((endpoint.calls(), stored(&store)), (0, before));
            continue;
        };
        // Nobody is given the narrower token meanwhile.
        for outcome in join_all((0..8).map(|_| world.get())).await {
            assert_eq!(outcome.unwrap(), StatusCode::OK);
        }
        assert_eq!(endpoint.calls(), calls, "{theirs:?} {ours:?}");
        let token = if calls == 0 { "stored" } else { "access-1" };
        assert!(world.api.tokens().iter().all(|sent| sent == token), "{:?}", world.api.tokens());
        if calls == 1 {
            assert_eq!(stored(&store)["for"]["scope"], ours);
        }
        sleep(Duration::from_secs(10)).await;
        assert_eq!(world.get().await.unwrap(), StatusCode::OK);
        assert_eq!(endpoint.calls(), calls, "once");
    }
}

// S143: the requested scope is compared when a process first reads the store
#[tokio::test(start_paused = true)]
async fn a_wider_scope_that_the_server_does_not_grant_leaves_the_live_token_in_use() {
    let store = holding(json!({ "issuer": OURS, "client": "billing", "scope": "read" }));
    let endpoint = GatedEndpoint::new();
    endpoint.answer_always(|| {
        EndpointError::misconfigured("not that").with_code("invalid_scope").into()
    });
    let world = process(&endpoint, &store, billing(OURS).with_scope("read write"));
    for _ in 0..3 {
        assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    }
    assert_eq!(world.session.status().error().unwrap().kind(), ErrorKind::Misconfigured);
    assert_eq!(endpoint.calls(), 1);
    assert_eq!(world.api.tokens(), ["stored", "stored", "stored"]);
}

// S143: the requested scope is compared when a process first reads the store
#[tokio::test(start_paused = true)]
async fn a_look_before_the_first_request_does_not_hide_that_the_scope_is_wider() {
    let store = holding(json!({ "issuer": OURS, "client": "billing", "scope": "read" }));
    let endpoint = GatedEndpoint::new();
    let world = process(&endpoint, &store, billing(OURS).with_scope("read write"));
    world.session.load().await.unwrap();
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens(), ["access-1"]);
}

/// Two generations of a program on one store, four processes each, through ten lives.
async fn deploy(
    endpoint: GatedEndpoint,
    old: impl Fn() -> World,
    new: impl Fn() -> World,
) -> (usize, usize) {
    endpoint.set_life(Duration::from_secs(60));
    endpoint.answer_always(|| Answer::Next);
    let mut worlds: Vec<_> = (0..4).map(|_| old()).collect();
    let mut served = 0;
    let mut lives = 0;
    for round in 0..40 {
        match round {
            4 => worlds.extend((0..4).map(|_| new())),
            // Old ones crash and are started again in the middle of it.
            12 => worlds[0] = old(),
            20 => worlds[1] = old(),
            // And one of the new ones.
            24 => worlds[5] = new(),
            30 => drop(worlds.drain(..4)),
            // It is rolled back after all.
            34 => worlds.extend((0..4).map(|_| old())),
            _ => {}
        }
        for outcome in join_all(worlds.iter().map(World::get)).await {
            assert_eq!(outcome.unwrap(), StatusCode::OK, "round {round}");
            served += 1;
        }
        sleep(Duration::from_secs(15)).await;
        lives += 1;
    }
    (served, lives * 15 / 60)
}

// S144: a deploy that changes the URL or the scope ends no login, and nothing refreshes by turns
#[tokio::test(start_paused = true)]
async fn a_deploy_that_changes_the_url_neither_logs_out_nor_refreshes_by_turns() {
    let moved = "https://login.example.com/oauth2/token";
    let (endpoint, store) = (GatedEndpoint::new(), GatedStore::new());
    let old = || {
        let builder = builder(&endpoint, &store, OURS).initial_tokens(expired());
        World::of(endpoint.clone(), builder.build())
    };
    let new = || {
        let builder = builder(&endpoint, &store, moved).formerly(OURS).initial_tokens(expired());
        World::of(endpoint.clone(), builder.build())
    };
    let (_, lives) = deploy(endpoint.clone(), old, new).await;
    assert!(endpoint.calls() <= lives + 3, "{} calls in {lives} lives", endpoint.calls());
    let named = json!({
        "issuer": moved, "client": "billing", "formerly": [{ "issuer": OURS, "client": "billing" }],
    });
    assert_eq!(stored(&store)["for"], named);
    // Another's is not let in by it.
    let stranger = builder(&endpoint, &store, THEIRS).formerly("https://old.example.com").build();
    assert_eq!(stranger.token().await.unwrap_err().kind(), ErrorKind::ForeignRecord);
}

// S144: a deploy that changes the URL or the scope ends no login, and nothing refreshes by turns
#[tokio::test(start_paused = true)]
async fn a_deploy_that_changes_the_scope_neither_logs_out_nor_refreshes_by_turns() {
    let (endpoint, store) = (GatedEndpoint::new(), GatedStore::new());
    let process = |scope: &'static str| {
        let builder = Session::builder(endpoint.clone()).store(store.other());
        let builder = builder.issuer(billing(OURS).with_scope(scope)).initial_tokens(expired());
        World::of(endpoint.clone(), builder.build())
    };
    let (_, lives) = deploy(endpoint.clone(), || process("read"), || process("read write")).await;
    // Each new process may find the scope of an old one once.
    assert!(endpoint.calls() <= lives + 3 + 5, "{} calls in {lives} lives", endpoint.calls());
}

// S143: the requested scope is compared when a process first reads the store
// S144: a deploy that changes the URL or the scope ends no login, and nothing refreshes by turns
#[tokio::test(start_paused = true)]
async fn an_earlier_scope_that_is_named_is_refreshed_once_with_ours() {
    let store = holding(json!({ "issuer": OURS, "client": "billing", "scope": "old" }));
    let endpoint = GatedEndpoint::new();
    let builder = Session::builder(endpoint.clone()).store(store.other());
    let session = builder
        .issuer(billing(OURS).with_scope("new"))
        .formerly(billing(OURS).with_scope("old"))
        .build();
    assert_eq!(session.token().await.unwrap().expose(), "access-1");
    assert_eq!(stored(&store)["for"]["scope"], "new");
}
