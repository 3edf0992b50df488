//! The way out: the newest refresh token is revoked, and the session is over for everybody.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt;
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full};
use tokio::{sync::watch, task::JoinHandle, time::Instant};
use tower::{service_fn, util::BoxCloneService};
use tower_refresh::{
    BoxError, Error, ErrorKind, Session, SessionBuilder, Tokens,
    endpoint::{EndpointError, OAuth2Client, OAuth2Revocation, RevokeRequest},
    testing::{Answer, GatedEndpoint, GatedStore, StoreCalls, StoreFault},
};

use crate::{
    stored::{is_logged_out, record, refresh_into, refresh_token, tombstone},
    support::{World, error_of, expired, live, settle},
};

/// A revocation endpoint that can be held, and writes down what it is told.
#[derive(Clone, Default)]
struct Desk {
    revoked: Arc<Mutex<Vec<String>>>,
    held: watch::Sender<bool>,
}

impl Desk {
    fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    fn revoked(&self) -> Vec<String> {
        self.revoked.lock().unwrap().clone()
    }

    fn service(&self) -> BoxCloneService<RevokeRequest, (), BoxError> {
        let desk = self.clone();
        BoxCloneService::new(service_fn(move |request: RevokeRequest| {
            let desk = desk.clone();
            async move {
                desk.revoked.lock().unwrap().push(request.refresh_token().expose().to_owned());
                desk.held.subscribe().wait_for(|&held| !held).await?;
                Ok(())
            }
        }))
    }
}

/// Whoever logs out here is told to, over this store.
fn world(tokens: Tokens, store: &GatedStore, desk: &Desk) -> World {
    world_of(tokens, |builder| builder.store(store.clone()).revocation(desk.service()))
}

fn world_of(tokens: Tokens, with: impl FnOnce(SessionBuilder) -> SessionBuilder) -> World {
    let endpoint = GatedEndpoint::new();
    let builder = Session::builder(endpoint.clone()).initial_tokens(tokens);
    World::of(endpoint, with(builder).build())
}

fn log_out(session: &Session) -> JoinHandle<Result<(), Error>> {
    let session = session.clone();
    tokio::spawn(async move { session.log_out().await })
}

fn login() -> Tokens {
    Tokens::new("login").unwrap().with_refresh_token("refresh-login").unwrap()
}

// S40: what is set or cleared during a refresh wins
#[tokio::test(start_paused = true)]
async fn a_log_out_waits_for_the_refresh_under_way_and_revokes_its_tokens() {
    let (store, desk) = (GatedStore::new(), Desk::default());
    let world = world(expired(), &store, &desk);
    let hold = world.endpoint.hold();
    let caller = world.start();
    world.endpoint.calls_reached(1).await;
    let out = log_out(&world.session);
    settle().await;
    assert!(desk.revoked().is_empty() && !out.is_finished());

    hold.release();
    out.await.unwrap().unwrap();
    assert_eq!(desk.revoked(), ["refresh-1"]);
    assert!(is_logged_out(&store) && world.session.tokens().is_none());
    assert!(error_of(caller.await.unwrap()).is_login_required());
    assert!(error_of(world.get().await).is_login_required());
    assert_eq!((world.endpoint.calls(), world.api.seen().len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_log_out_does_not_wait_for_ever_for_a_refresh() {
    let (store, desk) = (GatedStore::new(), Desk::default());
    let limit = Duration::from_secs(5);
    let world = world_of(expired(), |builder| {
        builder.store(store.clone()).revocation(desk.service()).attempt_timeout(limit)
    });
    world.endpoint.answer(Answer::Never);
    let caller = world.start();
    world.endpoint.calls_reached(1).await;
    let start = Instant::now();
    world.session.log_out().await.unwrap();
    assert_eq!(start.elapsed(), limit);
    assert_eq!(desk.revoked(), ["refresh-0"]);
    assert!(is_logged_out(&store));
    assert!(caller.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn no_refresh_starts_meanwhile() {
    let (store, desk) = (GatedStore::new(), Desk::default());
    let world = world(live(), &store, &desk);
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    desk.hold(true);
    let out = log_out(&world.session);
    settle().await;
    assert_eq!(desk.revoked(), ["refresh-0"]);
    assert_eq!(world.get().await.unwrap(), StatusCode::OK, "it is live until it is revoked");
    assert_eq!(world.session.refresh().await.unwrap_err().kind(), ErrorKind::Closed);
    world.api.refuse("seed");
    assert_eq!(world.get().await.unwrap(), StatusCode::UNAUTHORIZED);
    desk.hold(false);
    out.await.unwrap().unwrap();
    assert_eq!(world.endpoint.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_revoke_is_an_error_and_the_session_is_over_all_the_same() {
    let refuses = service_fn(|_: RevokeRequest| async {
        Err::<(), BoxError>(EndpointError::misconfigured("who are you?").into())
    });
    let hangs = service_fn(|_: RevokeRequest| pending::<Result<(), BoxError>>());
    for (revocation, kind) in [
        (BoxCloneService::new(refuses), ErrorKind::Misconfigured),
        (BoxCloneService::new(hangs), ErrorKind::Unavailable),
    ] {
        let store = GatedStore::new();
        let world = world_of(live(), |builder| builder.store(store.clone()).revocation(revocation));
        assert_eq!(world.get().await.unwrap(), StatusCode::OK);
        let start = Instant::now();
        let error = world.session.log_out().await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(start.elapsed() <= Duration::from_secs(10));
        assert!(is_logged_out(&store));
        assert!(error_of(world.get().await).is_login_required());
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_takes_no_tombstone_is_an_error_and_gets_it_later() {
    let (store, desk) = (GatedStore::new(), Desk::default());
    let world = world(live(), &store, &desk);
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    store.set_fault(StoreCalls::All, StoreFault::Fail);
    assert_eq!(world.session.log_out().await.unwrap_err().kind(), ErrorKind::Store);
    assert_eq!(desk.revoked(), ["refresh-0"]);
    assert!(error_of(world.get().await).is_login_required());
    store.set_fault(StoreCalls::All, None);
    world.session.close().await.unwrap();
    assert!(is_logged_out(&store));
}

// S44: a newer token in the store is adopted without a call
#[tokio::test(start_paused = true)]
async fn what_another_process_has_rotated_is_what_is_revoked() {
    let (store, desk) = (GatedStore::new(), Desk::default());
    let world = world(live(), &store, &desk);
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    store.put(record(9, "theirs", "refresh-theirs"));
    world.session.log_out().await.unwrap();
    assert_eq!(desk.revoked(), ["refresh-theirs"]);
    assert!(is_logged_out(&store));
}

// S43: tokens that cannot be saved are used, and saved later
#[tokio::test(start_paused = true)]
async fn a_rotation_that_is_not_saved_yet_is_what_is_revoked() {
    let (store, desk) = (GatedStore::new(), Desk::default());
    let world = world(live(), &store, &desk);
    world.session.ready().await.unwrap();
    refresh_into(StoreCalls::Writes, StoreFault::Fail, &world.session, &world.endpoint, &store)
        .await;
    // Another process has marked what is stored, which is spent, and died.
    store.put(record(8, "seed", "refresh-0"));
    let _ = world.session.log_out().await;
    assert_eq!(desk.revoked(), ["refresh-1"]);
}

// S40: what is set or cleared during a refresh wins
#[tokio::test(start_paused = true)]
async fn a_login_that_is_not_saved_yet_is_what_is_revoked() {
    let (store, desk) = (GatedStore::new(), Desk::default());
    let world = world(live(), &store, &desk);
    world.session.ready().await.unwrap();
    store.set_fault(StoreCalls::Writes, StoreFault::Fail);
    world.session.set_tokens(login()).await.unwrap_err();
    store.put(record(8, "theirs", "refresh-theirs"));
    let _ = world.session.log_out().await;
    assert_eq!(desk.revoked(), ["refresh-login"]);
}

// S63: the store wins against the seed, and eight processes that seed at once agree
#[tokio::test(start_paused = true)]
async fn of_seed_and_store_the_one_that_would_have_been_used_is_revoked() {
    for (store, expected) in [
        (GatedStore::new(), Some("refresh-0")),
        (GatedStore::holding(record(7, "stored", "refresh-stored")), Some("refresh-stored")),
        (GatedStore::holding(tombstone(7)), None),
    ] {
        let desk = Desk::default();
        let world = world(live(), &store, &desk);
        world.session.log_out().await.unwrap();
        assert_eq!(desk.revoked().first().map(String::as_str), expected);
        assert!(is_logged_out(&store));
    }
}

// S40: what is set or cleared during a refresh wins
#[tokio::test(start_paused = true)]
async fn a_login_during_a_log_out_stays() {
    let (store, desk) = (GatedStore::new(), Desk::default());
    let world = world(live(), &store, &desk);
    desk.hold(true);
    let out = log_out(&world.session);
    settle().await;
    world.session.set_tokens(login()).await.unwrap();
    desk.hold(false);
    out.await.unwrap().unwrap();
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens(), ["login"]);
    assert_eq!(refresh_token(&store).unwrap(), "refresh-login");
    assert!(world.session.refresh().await.is_ok());
}

// S40: what is set or cleared during a refresh wins
#[tokio::test(start_paused = true)]
async fn a_login_while_it_waits_for_a_refresh_is_not_revoked() {
    let (store, desk) = (GatedStore::new(), Desk::default());
    let world = world(expired(), &store, &desk);
    let hold = world.endpoint.hold();
    let caller = world.start();
    world.endpoint.calls_reached(1).await;
    let out = log_out(&world.session);
    settle().await;
    world.session.set_tokens(login()).await.unwrap();
    out.await.unwrap().unwrap();
    hold.release();
    assert_eq!(caller.await.unwrap().unwrap(), StatusCode::OK);
    assert!(desk.revoked().is_empty());
    assert_eq!(refresh_token(&store).unwrap(), "refresh-login");
}

#[tokio::test(start_paused = true)]
async fn a_log_out_that_is_dropped_lets_the_session_go_on() {
    let (store, desk) = (GatedStore::new(), Desk::default());
    let world = world(expired(), &store, &desk);
    desk.hold(true);
    let mut out = Box::pin(world.session.log_out());
    assert!(out.as_mut().now_or_never().is_none());
    assert_eq!(error_of(world.get().await).kind(), ErrorKind::Closed);
    drop(out);
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(refresh_token(&store).unwrap(), "refresh-1");
    // Nor does it hold up the next one.
    desk.hold(false);
    world.session.log_out().await.unwrap();
    assert_eq!(desk.revoked().last().unwrap(), "refresh-1");
    assert!(is_logged_out(&store));
}

#[tokio::test(start_paused = true)]
async fn without_a_revocation_endpoint_it_counts_at_once() {
    let store = GatedStore::new();
    let world = world_of(expired(), |builder| builder.store(store.clone()));
    let hold = world.endpoint.hold();
    let caller = world.start();
    world.endpoint.calls_reached(1).await;
    world.session.log_out().await.unwrap();
    assert!(is_logged_out(&store));
    assert!(error_of(caller.await.unwrap()).is_login_required());
    // What the call brings afterwards is of no use to anybody.
    hold.release();
    settle().await;
    assert!(is_logged_out(&store) && world.session.tokens().is_none());
}

#[tokio::test(start_paused = true)]
async fn without_a_refresh_token_nothing_is_revoked() {
    let (store, desk) = (GatedStore::new(), Desk::default());
    let world = world(Tokens::new("only").unwrap(), &store, &desk);
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    world.session.log_out().await.unwrap();
    assert!(desk.revoked().is_empty() && is_logged_out(&store));
}

// S86: what a call brings after a log-out is revoked and never used
#[tokio::test(start_paused = true)]
async fn what_a_call_brings_after_the_log_out_is_revoked_and_never_used() {
    let (store, desk) = (GatedStore::new(), Desk::default());
    let world = world(expired(), &store, &desk);
    world.endpoint.answer(Answer::Next.after(Duration::from_secs(20)));
    let caller = world.start();
    world.endpoint.calls_reached(1).await;
    world.session.log_out().await.unwrap();
    assert!(caller.await.unwrap().is_err());
    assert_eq!(desk.revoked(), ["refresh-0"]);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(desk.revoked(), ["refresh-0", "refresh-1"]);
    assert!(is_logged_out(&store) && world.session.tokens().is_none());
    assert!(error_of(world.get().await).is_login_required());
    assert_eq!((world.endpoint.calls(), world.api.seen().len()), (1, 0));
}

// S86: what a call brings after a log-out is revoked and never used
#[tokio::test(start_paused = true)]
async fn what_a_call_brings_after_a_log_out_by_another_process_is_revoked() {
    let (store, desk) = (GatedStore::new(), Desk::default());
    let world = world(expired(), &store, &desk);
    world.endpoint.answer(Answer::Next.after(Duration::from_secs(1)));
    let caller = world.start();
    world.endpoint.calls_reached(1).await;
    let there = Session::builder(GatedEndpoint::new()).store(store.other()).build();
    there.log_out().await.unwrap();
    assert!(error_of(caller.await.unwrap()).is_login_required());
    world.session.close().await.unwrap();
    assert_eq!(desk.revoked(), ["refresh-1"]);
    assert!(is_logged_out(&store));
}

/// One call as an OAuth 2 server gets it: path, content type, credentials and form.
type Call = [String; 4];

/// Logs out at a server that answers so, and returns what that was sent.
async fn log_out_at(client: OAuth2Client, status: StatusCode) -> (Result<(), Error>, Vec<Call>) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let transport = service_fn({
        let calls = calls.clone();
        move |request: Request<Full<Bytes>>| {
            let calls = calls.clone();
            async move {
                let header = |name: &str| {
                    let value = request.headers().get(name);
                    value.map_or(String::new(), |value| value.to_str().unwrap().to_owned())
                };
                let line = format!("{} {}", request.method(), request.uri());
                let (media, basic) = (header("content-type"), header(AUTHORIZATION.as_str()));
                let form = request.into_body().collect().await?.to_bytes();
                let form = String::from_utf8(form.to_vec())?;
                calls.lock().unwrap().push([line, media, basic, form]);
                let answer = Response::builder().status(status);
                Ok::<_, BoxError>(answer.body(Full::new(Bytes::from("{}")))?)
            }
        }
    });
    let revocation = OAuth2Revocation::new("https://auth.example.com/revoke", client).unwrap();
    let world = world_of(Tokens::from_refresh_token("tGzv3J/k+0").unwrap(), |builder| {
        builder.revocation(revocation.transport(transport))
    });
    let outcome = world.session.log_out().await;
    assert!(error_of(world.get().await).is_login_required());
    let calls = calls.lock().unwrap().clone();
    (outcome, calls)
}

#[tokio::test(start_paused = true)]
async fn an_oauth2_server_is_sent_the_form_of_rfc_7009() {
    let (line, media) =
        ("POST https://auth.example.com/revoke", "application/x-www-form-urlencoded");
    let form = "token=tGzv3J%2Fk%2B0&token_type_hint=refresh_token";
    for (client, basic, rest) in [
        (OAuth2Client::basic("app", "s3cret"), "Basic YXBwOnMzY3JldA==", ""),
        (OAuth2Client::post("app", "s3cret"), "", "&client_id=app&client_secret=s3cret"),
        (OAuth2Client::public("app"), "", "&client_id=app"),
    ] {
        let (outcome, calls) = log_out_at(client, StatusCode::OK).await;
        outcome.unwrap();
        assert_eq!(calls, [[line, media, basic, &format!("{form}{rest}")].map(str::to_owned)]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_oauth2_server_that_answers_with_an_error_has_not_revoked() {
    for (status, kind) in [
        (StatusCode::BAD_REQUEST, ErrorKind::Misconfigured),
        (StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Unavailable),
        (StatusCode::FOUND, ErrorKind::Misconfigured),
    ] {
        let (outcome, calls) = log_out_at(OAuth2Client::public("app"), status).await;
        assert_eq!(outcome.unwrap_err().kind(), kind, "{status}");
        assert_eq!(calls.len(), 1);
    }
}
