//! An issuer's metadata: what is fetched, when, and by whom.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::future::join_all;
use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::{Service, ServiceExt, limit::GlobalConcurrencyLimitLayer, service_fn};
use tower_refresh::{
    BoxError, ErrorKind, RefreshToken,
    endpoint::{
        EndpointError, EndpointUrl, FailureClass, JsonEndpoint, OAuth2Client, OAuth2Endpoint,
        OAuth2Revocation, RefreshRequest, RevokeRequest, Spent,
    },
};

use super::refresh;

const ISSUER: &str = "https://auth.example.com/realms/acme";
const OIDC: &str = "https://auth.example.com/realms/acme/.well-known/openid-configuration";
const OAUTH2: &str = "https://auth.example.com/.well-known/oauth-authorization-server/realms/acme";
const TOKEN: &str = "https://auth.example.com/token";

type Answer = (u16, String);

/// A server that keeps what it was sent. What its answer is called with is the URL.
#[derive(Clone)]
struct Server {
    seen: Arc<Mutex<Vec<Request<String>>>>,
    answer: Arc<dyn Fn(&str) -> Answer + Send + Sync>,
}

impl Server {
    fn new(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        Self { seen: Arc::default(), answer: Arc::new(answer) }
    }

    /// Has this document at OpenID Connect's place, and tokens for everybody.
    fn with(document: Value) -> Self {
        Self::new(move |url| match url {
            OIDC => (200, document.to_string()),
            OAUTH2 => (404, String::new()),
            _ => (200, r#"{"access_token":"a"}"#.into()),
        })
    }

    fn transport(
        &self,
    ) -> impl Service<
        Request<Full<Bytes>>,
        Response = Response<String>,
        Error = BoxError,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static {
        let server = self.clone();
        service_fn(move |request: Request<Full<Bytes>>| {
            let server = server.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.map_err(|never: Infallible| match never {})?;
                let body = String::from_utf8(body.to_bytes().to_vec())?;
                let url = head.uri.to_string();
                server.seen.lock().unwrap().push(Request::from_parts(head, body));
                // Others come meanwhile.
                tokio::task::yield_now().await;
                let (status, body) = (server.answer)(&url);
                let location = "https://elsewhere.example/";
                let answer = Response::builder().status(status).header(header::LOCATION, location);
                Ok(answer.body(body)?)
            }
        })
    }

    /// The URLs that were called, in their order.
    fn urls(&self) -> Vec<String> {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        seen.iter().map(|request| request.uri().to_string()).collect()
    }

    fn endpoint(&self) -> OAuth2Endpoint {
        self.endpoint_of(&EndpointUrl::discover(ISSUER).unwrap())
    }

    fn endpoint_of(&self, issuer: &EndpointUrl) -> OAuth2Endpoint {
        let client = OAuth2Client::post("app", "s3cret");
        let endpoint = OAuth2Endpoint::client_credentials(issuer.clone(), client);
        endpoint.unwrap().transport(self.transport())
    }

    async fn fails(&self) -> EndpointError {
        let error = self.endpoint().request(RefreshRequest::default()).await.unwrap_err();
        assert_eq!(error.spent(), Spent::No, "{error:?}");
        error
    }
}

fn document() -> Value {
    json!({
        "issuer": ISSUER,
        "token_endpoint": TOKEN,
        "revocation_endpoint": "https://auth.example.com/revoke",
        "mtls_endpoint_aliases": {
            "token_endpoint": "https://mtls.example.com/token",
            "revocation_endpoint": "https://mtls.example.com/revoke",
        },
        "jwks_uri": "https://auth.example.com/keys",
    })
}

// S126: an issuer's metadata are fetched without a secret, and used only if they are the issuer's
// own and safe
#[tokio::test]
async fn the_metadata_are_fetched_with_the_first_call_and_hold_no_secret_of_ours() {
    let server = Server::with(document());
    let key = HeaderValue::from_static("k3y");
    let mut endpoint = server.endpoint().header(HeaderName::from_static("x-key"), key);
    assert!(server.urls().is_empty(), "nothing is fetched before");
    for _ in 0..2 {
        refresh(&mut endpoint).await.expect("a token");
    }
    let seen = std::mem::take(&mut *server.seen.lock().unwrap());
    let urls: Vec<_> = seen.iter().map(|request| request.uri().to_string()).collect();
    assert_eq!(urls, [OIDC, TOKEN, TOKEN]);

    let (get, post) = (&seen[0], &seen[1]);
    assert_eq!((get.method(), get.body().as_str()), (&Method::GET, ""));
    let names: Vec<_> = get.headers().keys().map(HeaderName::as_str).collect();
    assert!(names.contains(&"accept") && names.contains(&"user-agent"), "{names:?}");
    assert!(!names.contains(&"x-key") && !names.contains(&"authorization"), "{names:?}");
    assert_eq!(post.method(), Method::POST);
    assert_eq!(post.headers()["x-key"], "k3y");
}

// S126: an issuer's metadata are fetched without a secret, and used only if they are the issuer's
// own and safe
#[tokio::test]
async fn each_endpoint_takes_its_own_and_a_client_with_a_certificate_the_alias() {
    let server = Server::with(document());
    let issuer = EndpointUrl::discover(ISSUER).unwrap();
    for (client, token, revoke) in [
        (OAuth2Client::public("app"), TOKEN, "https://auth.example.com/revoke"),
        (
            OAuth2Client::tls("app"),
            "https://mtls.example.com/token",
            "https://mtls.example.com/revoke",
        ),
    ] {
        let endpoint = OAuth2Endpoint::refresh_token(issuer.clone(), client.clone()).unwrap();
        refresh(&mut endpoint.transport(server.transport())).await.expect("a token");
        let revocation = OAuth2Revocation::new(issuer.clone(), client).unwrap();
        let request = RevokeRequest::new(RefreshToken::new("r").unwrap());
        revocation.transport(server.transport()).oneshot(request).await.expect("revoked");
        let urls = server.urls();
        assert_eq!(urls.iter().rev().take(2).rev().collect::<Vec<_>>(), [token, revoke]);
    }
}

// S126: an issuer's metadata are fetched without a secret, and used only if they are the issuer's
// own and safe
#[tokio::test]
async fn metadata_are_looked_for_at_both_places() {
    for missing in [404, 400, 403, 500, 200, 302] {
        let server = Server::new(move |url| match url {
            OIDC => (missing, "<html>".into()),
            OAUTH2 => (200, document().to_string()),
            _ => (200, r#"{"access_token":"a"}"#.into()),
        });
        server.endpoint().request(RefreshRequest::default()).await.expect("a token");
        assert_eq!(server.urls(), [OIDC, OAUTH2, TOKEN], "{missing}");
    }
}

// S126: an issuer's metadata are fetched without a secret, and used only if they are the issuer's
// own and safe
#[tokio::test]
async fn metadata_that_will_not_do_are_an_error_and_nothing_is_sent() {
    let another = |name: &str, value: Value| {
        let mut document = document();
        document[name] = value;
        Server::with(document)
    };
    let issuer = another("issuer", json!(format!("{ISSUER}/")));
    let plain = another("token_endpoint", json!("http://auth.example.com/token"));
    let local = another("token_endpoint", json!("https://127.0.0.1/token"));
    let none = another("token_endpoint", Value::Null);
    let nowhere = Server::new(|_| (404, String::new()));
    let moved = Server::new(|_| (302, String::new()));
    let large =
        Server::with(json!({"issuer": ISSUER, "token_endpoint": TOKEN, "x": "x".repeat(1 << 16)}));
    for (server, said) in [
        (issuer, "to the last slash"),
        (plain, "`token_endpoint` that secrets may not be sent to"),
        (local, "`token_endpoint` that secrets may not be sent to"),
        (none, "name no `token_endpoint`"),
        (nowhere, OAUTH2),
        (moved, "answered 302"),
        (large, "the metadata at"),
    ] {
        let error = server.fails().await;
        assert!(error.to_string().contains(said), "{said}: {error}");
        assert!(server.urls().iter().all(|url| url == OIDC || url == OAUTH2), "{said}");
    }
}

// S126: an issuer without metadata is ill if its endpoint has worked before, and else misconfigured
#[tokio::test]
async fn an_issuer_without_metadata_is_ill_if_its_endpoint_has_worked_and_else_misconfigured() {
    for (status, body) in [(404, ""), (403, "<html>"), (200, "<html>"), (302, "")] {
        let server = Server::new(move |_| (status, body.to_owned()));
        for (has_worked, class) in
            [(false, FailureClass::Misconfigured), (true, FailureClass::Transient)]
        {
            let request = RefreshRequest::default().with_history(has_worked);
            let error = server.endpoint().request(request).await.unwrap_err();
            assert_eq!((error.class(), error.spent()), (class, Spent::No), "{status}: {error}");
        }
    }
}

// S126: an issuer's metadata are fetched without a secret, and used only if they are the issuer's
// own and safe
#[tokio::test]
async fn an_issuer_that_fails_is_asked_again_with_the_next_call() {
    let fails = Arc::new(Mutex::new(true));
    let failing = fails.clone();
    let server = Server::new(move |url| match url {
        OIDC if *failing.lock().unwrap() => (503, String::new()),
        OIDC => (200, document().to_string()),
        OAUTH2 => (404, String::new()),
        _ => (200, r#"{"access_token":"a"}"#.into()),
    });
    let endpoint = server.endpoint();
    let error = endpoint.request(RefreshRequest::default()).await.unwrap_err();
    assert_eq!((error.class(), error.spent()), (FailureClass::Transient, Spent::No));
    *fails.lock().unwrap() = false;
    endpoint.request(RefreshRequest::default()).await.expect("a token");
}

// S127: metadata are fetched once for all, and again only where an endpoint is not where they say
#[tokio::test]
async fn ten_thousand_calls_at_once_fetch_the_metadata_once() {
    let server = Server::with(document());
    let endpoint = server.endpoint();
    let calls = (0..10_000).map(|_| endpoint.request(RefreshRequest::default()));
    assert!(join_all(calls).await.iter().all(Result::is_ok));
    let urls = server.urls();
    assert_eq!(urls.iter().filter(|url| *url == OIDC).count(), 1);
    assert_eq!(urls.len(), 10_001);
}

// S127: metadata are fetched once for all, and again only where an endpoint is not where they say
#[tokio::test]
async fn the_calls_that_wait_for_the_metadata_share_the_failure() {
    let server = Server::new(|_| (404, String::new()));
    let endpoint = server.endpoint();
    let calls = (0..100).map(|_| endpoint.request(RefreshRequest::default()));
    for answer in join_all(calls).await {
        let error = answer.unwrap_err();
        assert_eq!(error.spent(), Spent::No);
        assert!(error.to_string().contains(OIDC) && error.to_string().contains(OAUTH2), "{error}");
    }
    assert_eq!(server.urls(), [OIDC, OAUTH2]);
}

// S127: metadata are fetched once for all, and again only where an endpoint is not where they say
#[tokio::test]
async fn a_limit_in_the_transport_is_no_deadlock() {
    let server = Server::with(document());
    let transport = GlobalConcurrencyLimitLayer::new(1);
    let transport = tower::Layer::layer(&transport, server.transport());
    let client = OAuth2Client::public("app");
    let issuer = EndpointUrl::discover(ISSUER).unwrap();
    let endpoint = OAuth2Endpoint::client_credentials(issuer, client).unwrap().transport(transport);
    let calls = (0..8).map(|_| endpoint.request(RefreshRequest::default()));
    let answers = tokio::time::timeout(Duration::from_secs(20), join_all(calls)).await;
    assert!(answers.expect("an end").iter().all(Result::is_ok));
}

/// A server whose token endpoint moves, with a status at the old one.
fn moving(status: u16) -> (Server, Arc<Mutex<&'static str>>) {
    let at = Arc::new(Mutex::new(TOKEN));
    let now = at.clone();
    let server = Server::new(move |url| {
        let now = *now.lock().unwrap();
        match url {
            OIDC => {
                let mut document = document();
                document["token_endpoint"] = now.into();
                (200, document.to_string())
            }
            _ if url == now => (200, r#"{"access_token":"a"}"#.into()),
            _ => (status, String::new()),
        }
    });
    (server, at)
}

// S127: metadata are fetched once for all, and again only where an endpoint is not where they say
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_not_where_it_was_is_looked_for_once_a_minute() {
    for status in [404, 405, 410, 307] {
        let (server, at) = moving(status);
        let endpoint = server.endpoint();
        endpoint.request(RefreshRequest::default()).await.expect("a token");
        assert_eq!(server.urls(), [OIDC, TOKEN]);

        let elsewhere = "https://new.example.com/token";
        *at.lock().unwrap() = elsewhere;
        for _ in 0..3 {
            let _ = endpoint.request(RefreshRequest::default()).await.unwrap_err();
        }
        assert_eq!(server.urls(), [TOKEN; 3], "{status}: read a moment ago");
        tokio::time::advance(Duration::from_secs(61)).await;
        endpoint.request(RefreshRequest::default()).await.expect("a token");
        assert_eq!(server.urls(), [OIDC, elsewhere], "{status}");
    }
}

// S127: metadata are fetched once for all, and again only where an endpoint is not where they say
#[tokio::test(start_paused = true)]
async fn what_was_known_serves_while_the_metadata_are_gone() {
    let gone = Arc::new(Mutex::new(false));
    let is_gone = gone.clone();
    let server = Server::new(move |url| match (url, *is_gone.lock().unwrap()) {
        (OIDC, false) => (200, document().to_string()),
        (OIDC | OAUTH2, _) => (404, String::new()),
        (_, true) => (404, String::new()),
        (_, false) => (200, r#"{"access_token":"a"}"#.into()),
    });
    let endpoint = server.endpoint();
    endpoint.request(RefreshRequest::default()).await.expect("a token");
    *gone.lock().unwrap() = true;
    let _ = endpoint.request(RefreshRequest::default()).await.unwrap_err();
    tokio::time::advance(Duration::from_secs(61)).await;
    server.urls();
    // A whole deploy is away: metadata and endpoint.
    let _ = endpoint.request(RefreshRequest::default()).await.unwrap_err();
    assert_eq!(server.urls(), [OIDC, OAUTH2, TOKEN]);
    *gone.lock().unwrap() = false;
    endpoint.request(RefreshRequest::default()).await.expect("a token");
}

// S127: metadata are fetched once for all, and again only where an endpoint is not where they say
#[tokio::test]
async fn all_clones_of_an_issuer_share_its_metadata() {
    let server = Server::with(document());
    let issuer = EndpointUrl::discover(ISSUER).unwrap();
    for _ in 0..3 {
        server.endpoint_of(&issuer).request(RefreshRequest::default()).await.expect("a token");
    }
    assert_eq!(server.urls(), [OIDC, TOKEN, TOKEN, TOKEN]);
}

#[test]
fn a_json_endpoint_has_no_metadata() {
    let error = JsonEndpoint::new(EndpointUrl::discover(ISSUER).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("no metadata"), "{error}");
}
