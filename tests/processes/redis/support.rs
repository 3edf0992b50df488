//! Records, tokens and clients.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::json;
use tokio::time::sleep;
use tower::{Layer, ServiceExt};
use tower_refresh::{
    BoxError, Refresh, RefreshLayer, Session, SessionBuilder,
    endpoint::JsonEndpoint,
    store::{Record, TokenStore},
    testing::{AuthServer, Login},
};

use crate::server::RedisServer;

/// What another process has saved, or will.
pub(crate) fn record(version: u64, tokens: Option<&Login>) -> Record {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
    let tokens = tokens.map(|login| {
        json!({
            "access_token": login.access_token,
            "refresh_token": login.refresh_token,
            "obtained_at": now,
            "life": 3_600_000,
            "extra": { "device_id": "device-123" },
        })
    });
    let mut record = json!({ "format": "tower-refresh/1", "version": version, "turn": version });
    match tokens {
        Some(tokens) => record["tokens"] = tokens,
        None => record["logged_out"] = true.into(),
    }
    serde_json::from_value(record).unwrap()
}

/// The same record, leased to another process for this long.
pub(crate) fn leased(record: &Record, life: Duration) -> Record {
    let mut leased = serde_json::to_value(record).unwrap();
    leased["version"] = (record.version() + 1).into();
    leased["lease"] = json!({ "owner": "another", "life": life.as_millis() as u64 });
    serde_json::from_value(leased).unwrap()
}

/// The same record before it was leased.
pub(crate) fn without_lease(record: &Record) -> Record {
    let mut free = serde_json::to_value(record).unwrap();
    free["version"] = (record.version() - 1).into();
    free["lease"] = json!(null);
    serde_json::from_value(free).unwrap()
}

pub(crate) async fn auth_server() -> AuthServer {
    AuthServer::builder().rotate(true).start().await.unwrap()
}

/// A session of another process: nothing is shared with any other but the two servers.
pub(crate) fn session(server: &AuthServer, login: &Login, store: impl TokenStore) -> Session {
    builder(server, login).store(store).build()
}

/// Two sessions of one login that have both read the store.
pub(crate) async fn two(server: &AuthServer, redis: &RedisServer) -> (Session, Session) {
    let login = server.log_in();
    let both = (session(server, &login, redis.store()), session(server, &login, redis.store()));
    both.0.ready().await.unwrap();
    both.1.ready().await.unwrap();
    both
}

pub(crate) fn builder(server: &AuthServer, login: &Login) -> SessionBuilder {
    let endpoint = JsonEndpoint::new(server.refresh_url()).unwrap();
    // What comes quickly again after an outage makes a quick test.
    Session::builder(endpoint)
        .initial_tokens(login.tokens().unwrap())
        .pause(Duration::from_millis(100), Duration::from_millis(500))
        .min_interval(Duration::from_millis(10))
}

pub(crate) type Http = Client<HttpConnector, Full<Bytes>>;

pub(crate) fn client(session: &Session) -> Refresh<Http> {
    RefreshLayer::new(session.clone()).layer(Client::builder(TokioExecutor::new()).build_http())
}

pub(crate) async fn get(client: &Refresh<Http>, api: &str) -> Result<StatusCode, BoxError> {
    let request = Request::get(format!("{api}/orders")).body(Full::default())?;
    Ok(client.clone().oneshot(request).await?.status())
}

/// The access token that requests are sent with.
pub(crate) fn access_token(session: &Session) -> String {
    session.tokens().unwrap().access_token().unwrap().expose().to_owned()
}

/// Tries again for as long as an outage may be felt.
pub(crate) async fn eventually<T, E: std::fmt::Debug>(
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let mut tries = 0;
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(error) if tries == 200 => panic!("it did not come back: {error:?}"),
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
        tries += 1;
    }
}
