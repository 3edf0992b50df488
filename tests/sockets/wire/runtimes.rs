//! Runtimes that come and go, and programs that end.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{FutureExt, future::join_all};
use serde_json::json;
use tokio::{runtime::Runtime, sync::oneshot};
use tower::Layer;
use tower_refresh::{
    BoxError, ErrorKind, RefreshLayer, Session, Tokens,
    endpoint::JsonEndpoint,
    store::{self, Record},
    testing::{AuthServer, Fault, GatedEndpoint, Issuer},
};

use super::support::{BOTH, World, expired, http, in_time, post, send};

// S18: when the runtime of a refresh ends, callers on another refresh anew
#[tokio::test]
async fn callers_on_another_runtime_refresh_when_the_one_that_did_is_gone() {
    for spent in [false, true] {
        let grace = Duration::from_secs(60);
        let server = AuthServer::builder().rotate(true).grace(grace).start().await.unwrap();
        let hour = Duration::from_secs(3600);
        server.fault(match spent {
            true => Fault::late(hour).after_spending(),
            false => Fault::late(hour),
        });
        let world = World::with(server, BOTH[0], |builder, login| {
            builder.initial_tokens(expired(login)).attempt_timeout(hour)
        });
        let doomed = Runtime::new().unwrap();
        let session = world.session.clone();
        doomed.spawn(async move { session.token().await });
        in_time(world.server.calls_reached(1)).await;
        let mut callers: Vec<_> = (0..10).map(|_| Box::pin(world.send())).collect();
        for caller in &mut callers {
            assert!(caller.now_or_never().is_none(), "they wait for that refresh");
        }
        doomed.shutdown_background();
        for answer in join_all(callers).await {
            assert_eq!(answer.unwrap().status, 200);
        }
        let counts = world.server.counts();
        assert_eq!((counts.calls, counts.within_grace), (2, u64::from(spent)));
        assert_eq!(counts.reuses, 0);
    }
}

/// What a program leaves behind, such as a file would hold it.
#[derive(Clone, Default)]
struct Left(Arc<Mutex<Option<Record>>>);

impl Left {
    fn session(&self, server: &AuthServer, tokens: Tokens) -> Session {
        let (load, save) = (self.clone(), self.clone());
        let store = store::from_fn(
            move || {
                let record = load.0.lock().unwrap().clone();
                async { Ok::<_, BoxError>(record) }
            },
            move |record| {
                *save.0.lock().unwrap() = Some(record);
                async { Ok::<_, BoxError>(()) }
            },
        );
        let endpoint = JsonEndpoint::new(server.refresh_url()).unwrap();
        Session::builder(endpoint).initial_tokens(tokens).store(store).build()
    }
}

// S61: `close` waits for the refresh and for what is unsaved; afterwards nothing starts
#[tokio::test]
async fn a_program_that_ends_right_after_close_has_lost_nothing() {
    let server = AuthServer::builder().rotate(true).start().await.unwrap();
    let hold = server.hold();
    let login = server.log_in();
    let left = Left::default();
    let session = left.session(&server, expired(&login));
    let (refreshing, is_refreshing) = oneshot::channel();
    let (closing, is_closing) = oneshot::channel();
    let program = thread::spawn(move || {
        Runtime::new().unwrap().block_on(async {
            let caller = tokio::spawn({
                let session = session.clone();
                async move { session.token().await }
            });
            is_refreshing.await.unwrap();
            caller.abort();
            let mut close = Box::pin(session.close());
            assert!((&mut close).now_or_never().is_none(), "a refresh is under way");
            closing.send(()).unwrap();
            close.await.unwrap();
            // Nothing starts afterwards.
            assert_eq!(session.refresh().await.unwrap_err().kind(), ErrorKind::Closed);
            assert!(session.token().await.is_ok(), "what is live is still given out");
        });
    });
    in_time(server.calls_reached(1)).await;
    refreshing.send(()).unwrap();
    in_time(is_closing).await.unwrap();
    hold.release();
    in_time(tokio::task::spawn_blocking(|| program.join())).await.unwrap().unwrap();
    assert_eq!(server.counts().calls, 1);

    // The next program goes on where it ended.
    let record = left.0.lock().unwrap().clone().expect("saved");
    let kept = record.tokens().unwrap().refresh_token().unwrap().expose().to_owned();
    assert_ne!(kept, login.refresh_token);
    let next = left.session(&server, expired(&login));
    in_time(next.ready()).await.unwrap();
    assert_eq!(server.counts().calls, 1, "the token is live still");
    in_time(next.refresh()).await.unwrap();
    assert_eq!((server.counts().refreshes, server.counts().reuses), (2, 0));
}

// S65: a session outlives runtimes; without one whatever has to wait says so
#[test]
fn a_session_outlives_the_runtimes_that_it_is_used_in() {
    // The server has a runtime of its own, that lives on.
    let elsewhere = Runtime::new().unwrap();
    let server = elsewhere.block_on(AuthServer::builder().rotate(true).start()).unwrap();
    let session = Session::builder(JsonEndpoint::new(server.refresh_url()).unwrap())
        .initial_tokens(expired(&server.log_in()))
        .min_interval(Duration::ZERO)
        .keep_fresh(true)
        .build();
    let error = futures::executor::block_on(session.token()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRuntime);
    for round in 1..=3 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = RefreshLayer::new(session.clone()).layer(http(BOTH[0]));
            let answer = send(client, post(&server.api_url())).await.unwrap();
            assert_eq!(answer.status, 200);
            in_time(session.refresh()).await.unwrap();
        });
        let counts = server.counts();
        assert_eq!((counts.refreshes, counts.reuses), (round + 1, 0));
    }
}

// S65: a session outlives runtimes; without one whatever has to wait says so
#[test]
fn a_session_with_a_runtime_of_its_own_is_refreshed_from_anywhere() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(AuthServer::builder().rotate(true).start()).unwrap();
    let session = Session::builder(JsonEndpoint::new(server.refresh_url()).unwrap())
        .initial_tokens(expired(&server.log_in()))
        .runtime(runtime.handle().clone())
        .build();
    assert!(futures::executor::block_on(session.token()).is_ok());
    assert_eq!(server.counts().refreshes, 1);
}

// S65: a session outlives runtimes; without one whatever has to wait says so
#[test]
fn a_token_that_is_merely_stale_serves_without_a_runtime() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let stale = Issuer::random().sign(&json!({ "iat": now - 3600, "exp": now + 25 }));
    let session =
        Session::builder(GatedEndpoint::new()).initial_tokens(Tokens::new(&stale).unwrap()).build();
    let token = futures::executor::block_on(session.token()).unwrap();
    assert_eq!(token.header_value().to_str().unwrap(), format!("Bearer {stale}"));
}
