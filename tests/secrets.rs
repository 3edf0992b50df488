//! No secret is seen in anything that is logged or formatted, whatever happens in a life.
//!
//! This test has a process of its own: `tracing` asks the thread that first comes to a line
//! whether anybody listens there, and remembers the answer for all. With other tests beside it, to
//! which nobody listens, lines would be missing here.

mod support;
#[path = "sockets/wire/support.rs"]
#[allow(dead_code, reason = "it is the wire tests', and not all of it is needed here")]
mod wire;

use std::{
    error::Error as StdError,
    fmt::{self, Write},
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::FutureExt;
use http::{Response, StatusCode};
use serde_json::json;
use tower::{Layer, ServiceExt};
use tower_refresh::{
    BoxError, ErrorKind, RefreshLayer, Session, Tokens,
    endpoint::{JsonEndpoint, OAuth2Client, OAuth2Endpoint, RefreshRequest, TokenResponse},
    store::{MemoryStore, TokenStore},
    testing::{AuthServer, Fault, Refusal},
};

use crate::wire::{Version, http, in_time, post, send};

const CLIENT_SECRET: &str = "hunter2&=+ /\"%hunter2";

/// What stands in the `Authorization` header after `Basic` (RFC 6749 §2.3.1).
fn basic() -> String {
    let secret: String = form_urlencoded::byte_serialize(CLIENT_SECRET.as_bytes()).collect();
    STANDARD.encode(format!("app:{secret}"))
}

/// All that could be seen, and all that must not be.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<(String, Vec<String>)>>);

impl Seen {
    fn debug(&self, value: &impl fmt::Debug) {
        writeln!(self.0.lock().unwrap().0, "{value:?} {value:#?}").unwrap();
    }

    /// An error in both formats, with all that is behind it.
    fn error(&self, error: &(dyn StdError + 'static)) {
        self.debug(&error);
        let mut next = Some(error);
        while let Some(error) = next {
            writeln!(self.0.lock().unwrap().0, "{error}").unwrap();
            next = error.source();
        }
    }

    fn secret(&self, secret: &str) {
        let secrets = &mut self.0.lock().unwrap().1;
        if !secrets.iter().any(|known| known == secret) {
            secrets.push(secret.to_owned());
        }
    }

    fn tokens(&self, tokens: &Tokens) {
        self.debug(tokens);
        if let Some(token) = tokens.access_token() {
            self.debug(token);
            self.secret(token.expose());
            // The claims alone are nobody's business either, nor is the signature.
            token.expose().split('.').skip(1).for_each(|part| self.secret(part));
        }
        if let Some(token) = tokens.refresh_token() {
            self.debug(token);
            self.secret(token.expose());
        }
    }

    /// Fails with the line in which a secret stands.
    fn check(&self) {
        let (seen, secrets) = &*self.0.lock().unwrap();
        assert!(secrets.len() >= 8 && seen.len() > 10_000, "that was no life");
        for secret in secrets {
            for line in seen.lines() {
                assert!(!line.contains(secret), "{secret} is seen in: {line}");
            }
        }
    }
}

impl io::Write for Seen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().0.push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Everything that anybody logs on this thread, at every level.
#[must_use]
fn logged(seen: &Seen) -> impl Drop + use<> {
    use tracing_subscriber::{fmt::format::FmtSpan, util::SubscriberInitExt};
    let writer = seen.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_span_events(FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish()
        .set_default()
}

/// The endpoint, and all that passes through it and can be printed.
fn watched<E>(
    endpoint: E,
    seen: &Seen,
) -> impl tower::Service<RefreshRequest, Response = TokenResponse, Error = BoxError, Future: Send>
+ Clone
+ Send
+ 'static
where
    E: tower::Service<RefreshRequest, Response = TokenResponse, Future: Send>
        + Clone
        + fmt::Debug
        + Send
        + 'static,
    E::Error: Into<BoxError>,
{
    seen.debug(&endpoint);
    let (asked, answered, failed) = (seen.clone(), seen.clone(), seen.clone());
    endpoint
        .map_request(move |request: RefreshRequest| {
            asked.debug(&request);
            request
        })
        .map_response(move |response: TokenResponse| {
            answered.debug(&response);
            answered.secret(response.access_token().expose());
            response.refresh_token().iter().for_each(|token| answered.secret(token.expose()));
            response
        })
        .map_err(move |error| {
            let error = error.into();
            failed.error(&*error);
            error
        })
}

/// Answers of servers that repeat what they were sent wherever they can.
fn echoes(said: &str) -> Vec<Fault> {
    let answer = |status: u16, name: &'static str, value: &str, body: String| {
        let response = Response::builder().status(status).header(name, value);
        Fault::answer(response.body(Bytes::from(body)).unwrap())
    };
    let html = format!("<html>{said}</html>");
    // As it can stand in a header.
    let spelt: String = form_urlencoded::byte_serialize(said.as_bytes()).collect();
    [
        json!({ "error": "invalid_request", "error_description": said }),
        json!({ "error": said, "error_description": { "message": said, "input": said } }),
        json!({ "detail": said }),
        json!({ "detail": [{ "loc": ["body", said], "msg": said, "input": said }] }),
        json!({ said: said, "access": said }),
        json!({ "token": format!("{said} {said}"), "access_token": format!("{said}\n") }),
        json!({ "token": { said: said }, "access_token": [said], "refresh_token": 7 }),
        json!([said]),
        json!(said),
    ]
    .into_iter()
    .flat_map(|body| [200, 400, 401, 422, 500, 502].map(|status| (status, body.to_string())))
    .map(|(status, body)| answer(status, "content-type", "application/json", body))
    .chain([
        answer(307, "location", &format!("https://example.com/{spelt}?{spelt}"), String::new()),
        answer(200, "content-type", &format!("text/{spelt}"), html.clone()),
        answer(403, "www-authenticate", &spelt, html.clone()),
        answer(200, "content-type", "text/plain", format!("token={said}")),
        Fault::body(format!("{{\"token\":\"{said}")),
    ])
    .collect()
}

/// A whole life with one protocol: it goes well, everything fails, and in the end it is over.
/// Servers repeat the client's secrets too.
async fn live<E>(seen: &Seen, server: &AuthServer, endpoint: E, client_secrets: &[&str])
where
    E: tower::Service<RefreshRequest, Response = TokenResponse, Future: Send>
        + Clone
        + fmt::Debug
        + Send
        + 'static,
    E::Error: Into<BoxError>,
{
    let store = Arc::new(MemoryStore::new());
    let login = server.log_in();
    let tokens = login.tokens().unwrap();
    seen.tokens(&tokens);
    let builder = Session::builder(watched(endpoint, seen))
        .initial_tokens(tokens)
        .store(store.clone())
        .attempts(1)
        .min_interval(Duration::ZERO)
        .pause(Duration::ZERO, Duration::ZERO)
        .refusal_limit(10_000, Duration::from_secs(1));
    seen.debug(&builder);
    let session = builder.build();
    let mut events = session.events();
    let layer = RefreshLayer::new(session.clone());
    let client = layer.clone().layer(http::<http_body_util::Full<Bytes>>(Version::Two));
    let url = format!("{}/orders", server.api_url());

    let request = client.clone().oneshot(post(&url));
    seen.debug(&(&session, &layer, &client, &events, session.status()));
    seen.debug(&tower::Service::call(&mut client.clone(), post(&url)));
    seen.debug(&in_time(request).await.unwrap());
    seen.debug(&session.token().await.unwrap());

    // It is refused, and refreshed.
    server.revoke_access_tokens();
    assert_eq!(send(client.clone(), post(&url)).await.unwrap().status, 200);
    seen.tokens(&session.tokens().unwrap());
    seen.debug(&store.load().await.unwrap());

    // Servers and gateways that talk too much.
    let tokens = session.tokens().unwrap();
    let refresh_token = tokens.refresh_token().unwrap().expose().to_owned();
    let access_token = tokens.access_token().unwrap().expose().to_owned();
    let tokens_sent = [&*refresh_token, &access_token];
    for said in tokens_sent.iter().chain(client_secrets) {
        let mut accepted = 0;
        for fault in echoes(said) {
            server.fault(fault);
            // What the last one has put in doubt or ended does not count for the next.
            session.log_out().await.unwrap();
            session.set_tokens(tokens.clone()).await.unwrap();
            match in_time(session.refresh()).await {
                Err(error) => seen.error(&error),
                // What was sent comes back as if it were a token.
                Ok(token) => {
                    seen.debug(&token);
                    accepted += 1;
                }
            }
        }
        assert!(accepted <= 2, "{accepted}");
    }
    session.set_tokens(tokens.clone()).await.unwrap();

    // An API that says why in its own way, and a refresh that fails at that moment.
    server.refuse_with(Refusal::Answer(
        Response::builder().status(401).body(Bytes::from_static(b"no")).unwrap(),
    ));
    server.revoke_access_tokens();
    for fault in [
        Fault::status(StatusCode::SERVICE_UNAVAILABLE),
        Fault::drop_connection(),
        Fault::truncate(),
        Fault::garbage(),
    ] {
        server.fault(fault);
        assert_eq!(send(client.clone(), post(&url)).await.unwrap().status, 401);
    }
    in_time(session.refresh()).await.unwrap();
    seen.tokens(&session.tokens().unwrap());

    // The end: a family that is revoked, and a logout.
    server.revoke_all();
    assert_eq!(send(client.clone(), post(&url)).await.unwrap().status, 401);
    let error = send(client.clone(), post(&url)).await.unwrap_err();
    seen.error(&*error);
    seen.debug(&session);
    session.set_tokens(tokens).await.unwrap();
    session.log_out().await.unwrap();
    let error = session.token().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LoginRequired);
    seen.error(&error);
    session.close().await.unwrap();
    while let Some(Some(event)) = events.next().now_or_never() {
        seen.debug(&event);
    }
}

#[tokio::test]
async fn no_secret_is_seen_in_a_whole_life() {
    let seen = Seen::default();
    let logging = logged(&seen);
    seen.secret(CLIENT_SECRET);
    // How it travels.
    seen.secret(&form_urlencoded::byte_serialize(CLIENT_SECRET.as_bytes()).collect::<String>());
    seen.secret("hunter2");
    seen.secret(&basic());
    let server = AuthServer::builder().client("app", CLIENT_SECRET).rotate(true).start().await;
    let server = server.unwrap();

    let endpoint = JsonEndpoint::new(format!("{}?key=hunter2", server.refresh_url())).unwrap();
    live(&seen, &server, endpoint, &[]).await;
    let basic = basic();
    for (client, sent) in [
        (OAuth2Client::basic("app", CLIENT_SECRET), &[CLIENT_SECRET, &basic][..]),
        (OAuth2Client::post("app", CLIENT_SECRET), &[CLIENT_SECRET]),
    ] {
        seen.debug(&client);
        let endpoint = OAuth2Endpoint::refresh_token(server.token_url(), client).unwrap();
        live(&seen, &server, endpoint, sent).await;
    }
    drop(logging);
    seen.check();
    #[cfg(feature = "tracing")]
    for logged in ["there is a new access token", "a user has to log in", "was refused"] {
        assert!(seen.0.lock().unwrap().0.contains(logged), "{logged} was not logged");
    }
}
