//! What a call is authenticated by: read for each call, and once more after a refusal.

use std::{
    borrow::Cow,
    convert::Infallible,
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full};
use tempfile::TempDir;
use tower::{Service, service_fn};
use tower_refresh::{
    BoxError,
    endpoint::{
        Credential, EndpointError, FailureClass, OAuth2Client, OAuth2Endpoint, OAuth2Revocation,
        RefreshRequest, RevokeRequest, Spent,
    },
};

use super::{SPENT, refresh};

const URL: &str = "https://auth.example.com/token";
const ANSWER: &str = r#"{"access_token":"a"}"#;

/// A server that keeps the bodies it was sent, and answers by them.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Vec<String>>>);

impl Server {
    fn answering(
        &self,
        answer: impl Fn(&str) -> (u16, String) + Clone + Send + Sync + 'static,
    ) -> impl Service<
        Request<Full<Bytes>>,
        Response = Response<String>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static {
        let server = self.clone();
        service_fn(move |request: Request<Full<Bytes>>| {
            let (server, answer) = (server.clone(), answer.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                let mut body = String::from_utf8(body.to_vec()).expect("a form");
                if let Some(value) = head.headers.get(AUTHORIZATION) {
                    body = format!("{} {body}", value.to_str().expect("ASCII"));
                }
                let (status, answer) = answer(&body);
                server.0.lock().unwrap().push(body);
                Ok(Response::builder().status(status).body(answer).expect("an answer"))
            }
        })
    }

    /// Takes only what has `wanted` in its body.
    fn wanting(
        &self,
        wanted: &'static str,
    ) -> impl Service<
        Request<Full<Bytes>>,
        Response = Response<String>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static {
        self.answering(move |body| match body.contains(wanted) {
            true => (200, ANSWER.into()),
            false => (401, r#"{"error":"invalid_client"}"#.into()),
        })
    }

    fn bodies(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

fn post(secret: impl Into<Credential>) -> OAuth2Client {
    OAuth2Client::post("id", secret)
}

fn endpoint(client: OAuth2Client) -> OAuth2Endpoint {
    OAuth2Endpoint::client_credentials(URL, client).unwrap()
}

fn file(content: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s3cret-file");
    fs::write(&path, content).unwrap();
    (folder, path)
}

#[test]
fn text_of_any_kind_is_a_credential() {
    let owned = String::from("s3cret");
    let text: [Credential; 4] =
        ["s3cret".into(), (&owned).into(), Cow::Borrowed("s3cret").into(), owned.into()];
    for credential in text {
        assert_eq!(format!("{credential:?}"), "Credential([redacted])");
    }
    let path = format!("{:?}", Credential::file("/run/secrets/oauth"));
    assert_eq!(path, r#"Credential(file "/run/secrets/oauth")"#);
    let made = Credential::from_fn(async || Ok("s3cret".into()));
    assert_eq!(format!("{made:?}"), "Credential(made for each call)");
}

// S121: a credential is read for each call
#[tokio::test]
async fn a_file_is_read_for_each_call_and_loses_one_line_break() {
    let (_folder, path) = file("");
    let server = Server::default();
    let endpoint = endpoint(post(Credential::file(&path)))
        .transport(server.answering(|_| (200, ANSWER.into())));
    for (content, sent) in [
        ("one\n", "one"),
        ("two\r\n", "two"),
        (" three \n", "+three+"),
        ("four\n\n", "four%0A"),
        ("five", "five"),
    ] {
        fs::write(&path, content).unwrap();
        endpoint.request(RefreshRequest::default()).await.unwrap();
        let form = "grant_type=client_credentials&client_id=id&client_secret=";
        assert_eq!(server.bodies(), [format!("{form}{sent}")]);
    }
}

// S121: a credential is read for each call
#[tokio::test]
async fn a_file_that_will_not_do_is_named_and_nothing_is_sent() {
    let (_folder, path) = file("");
    let server = Server::default();
    let mut endpoint = OAuth2Endpoint::refresh_token(URL, post(Credential::file(&path)))
        .unwrap()
        .transport(server.answering(|_| (200, ANSWER.into())));
    let missing = |path: &PathBuf| fs::remove_file(path).unwrap();
    let folder = |path: &PathBuf| fs::create_dir(path).unwrap();
    let long = vec![b's'; 64 * 1024 + 1];
    type Make<'a> = Box<dyn Fn(&PathBuf) + 'a>;
    let cases: [(Make<'_>, &str); 6] = [
        (Box::new(|path| fs::write(path, "").unwrap()), "is empty"),
        (Box::new(|path| fs::write(path, "\n").unwrap()), "is empty"),
        (Box::new(|path| fs::write(path, b"s3cret\xff").unwrap()), "is no UTF-8 text"),
        (Box::new(|path| fs::write(path, &long).unwrap()), "is larger than 64 KiB"),
        (Box::new(missing), "is missing"),
        (Box::new(folder), "is a folder"),
    ];
    for (make, said) in cases {
        make(&path);
        let error = refresh(&mut endpoint).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
        assert!(error.to_string().contains(said), "{said}: {error}");
        assert!(!shown.replace("s3cret-file", "").contains("s3cret"), "{shown}");
        assert_eq!((error.class(), error.spent()), (FailureClass::Transient, Spent::No), "{said}");
    }
    assert_eq!(server.bodies(), [""; 0]);
    fs::remove_dir(&path).unwrap();
    fs::write(&path, "right").unwrap();
    refresh(&mut endpoint).await.expect("the next call reads it again");
}

// S121: a credential is read for each call
#[tokio::test(start_paused = true)]
async fn a_credential_that_does_not_come_ends_the_call_before_anything_is_sent() {
    let server = Server::default();
    let never = Credential::from_fn(async || {
        futures::future::pending::<()>().await;
        Ok(String::new())
    });
    let endpoint = OAuth2Endpoint::client_credentials(URL, post("s"))
        .unwrap()
        .param("key", never)
        .transport(server.wanting(""));
    let started = tokio::time::Instant::now();
    let error = endpoint.request(RefreshRequest::default()).await.unwrap_err();
    assert_eq!(started.elapsed(), Duration::from_secs(5));
    assert_eq!((error.class(), error.spent()), (FailureClass::Transient, Spent::No));
    assert_eq!(server.bodies(), [""; 0]);
}

// S121: a credential is read for each call
#[tokio::test]
async fn what_a_closure_fails_with_counts() {
    let server = Server::default();
    let failing = |error: fn() -> BoxError| {
        let made = Credential::from_fn(move || async move { Err(error()) });
        endpoint(post(made)).transport(server.wanting(""))
    };
    let sealed = failing(|| "the vault is sealed".into());
    let error = sealed.request(RefreshRequest::default()).await.unwrap_err();
    assert_eq!((error.class(), error.spent()), (FailureClass::Transient, Spent::No));
    assert!(format!("{error:?}").contains("the vault is sealed"), "{error:?}");

    let gone = failing(|| EndpointError::misconfigured("no such secret").into());
    let error = gone.request(RefreshRequest::default()).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::Misconfigured);
    assert_eq!(error.to_string(), "no such secret");
    assert_eq!(server.bodies(), [""; 0]);
}

#[test]
fn text_needs_no_runtime_and_a_file_without_one_is_an_error() {
    let server = Server::default();
    let fixed = endpoint(post("s")).transport(server.wanting("s"));
    futures::executor::block_on(fixed.request(RefreshRequest::default())).expect("a token");
    let (_folder, path) = file("s");
    let read = endpoint(post(Credential::file(path))).transport(server.wanting("s"));
    let error = futures::executor::block_on(read.request(RefreshRequest::default())).unwrap_err();
    assert!(error.to_string().contains("Tokio runtime"), "{error}");
}

// S122: a credential that was replaced meanwhile is sent once more after its refusal, and one that
// is the same is not
#[tokio::test]
async fn a_secret_that_was_replaced_meanwhile_is_sent_once_more() {
    let (_folder, path) = file("old");
    for (status, refusal) in [
        (401, r#"{"error":"invalid_client"}"#),
        (400, r#"{"error":"invalid_client"}"#),
        (400, r#"{"error":"unauthorized_client"}"#),
        (401, ""),
    ] {
        fs::write(&path, "old").unwrap();
        let server = Server::default();
        let replaced = path.clone();
        let transport = server.answering(move |body| match body.contains("client_secret=new") {
            true => (200, ANSWER.into()),
            false => {
                // Between the reading and the verdict.
                fs::write(&replaced, "new").unwrap();
                (status, refusal.into())
            }
        });
        let client = post(Credential::file(&path));
        let endpoint = OAuth2Endpoint::refresh_token(URL, client).unwrap();
        refresh(&mut endpoint.transport(transport)).await.expect("a token");
        let bodies = server.bodies();
        assert_eq!(bodies.len(), 2, "{status} {refusal}");
        // The same refresh token: the server has not looked at it.
        let token: String = form_urlencoded::byte_serialize(SPENT.as_bytes()).collect();
        assert!(bodies.iter().all(|body| body.contains(&token)), "{bodies:?}");
    }
}

// S122: a credential that was replaced meanwhile is sent once more after its refusal, and one that
// is the same is not
#[tokio::test]
async fn a_secret_that_is_still_the_same_is_refused_at_once_and_for_good() {
    let (_folder, path) = file("wrong");
    let fixed = OAuth2Client::basic("id", "wrong");
    let made = Credential::from_fn(async || Ok("wrong".into()));
    for client in [fixed, post(Credential::file(&path)), OAuth2Client::assertion("id", made)] {
        let server = Server::default();
        let endpoint = endpoint(client).transport(server.wanting("right"));
        let error = endpoint.request(RefreshRequest::default()).await.unwrap_err();
        assert_eq!(error.class(), FailureClass::Misconfigured, "{error}");
        assert_eq!(error.code(), Some("invalid_client"));
        assert_eq!(server.bodies().len(), 1, "{error}");
    }
}

// S122: a credential that was replaced meanwhile is sent once more after its refusal, and one that
// is the same is not
#[tokio::test]
async fn a_refusal_names_the_file_and_says_of_a_jwt_that_it_is_over() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    let jwt = |exp: u64| {
        let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"exp":{exp}}}"#));
        format!("e30.{claims}.c2ln")
    };
    for (content, is_over) in [(jwt(1_000_000_000), true), (jwt(4_000_000_000), false)] {
        let (_folder, path) = file(&content);
        let server = Server::default();
        let client = OAuth2Client::assertion("id", Credential::file(&path));
        let endpoint = endpoint(client).transport(server.wanting("nothing like it"));
        let error = endpoint.request(RefreshRequest::default()).await.unwrap_err();
        assert_eq!(error.class(), FailureClass::Misconfigured);
        assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
        assert_eq!(error.to_string().contains("a JWT that is over"), is_over, "{error}");
        assert!(!format!("{error} {error:?}").contains(&content), "{error:?}");
    }
}

// S122: the refusal of a credential names the file that it came from
#[tokio::test]
async fn a_secret_that_is_always_another_is_sent_twice_and_not_for_ever() {
    let made = Arc::new(AtomicUsize::new(0));
    let counted = made.clone();
    let always_another = Credential::from_fn(move || {
        let number = counted.fetch_add(1, Relaxed);
        async move { Ok(format!("signed-{number}")) }
    });
    let server = Server::default();
    let endpoint =
        endpoint(OAuth2Client::assertion("id", always_another)).transport(server.wanting("no"));
    let error = endpoint.request(RefreshRequest::default()).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::Misconfigured);
    assert_eq!((server.bodies().len(), made.load(Relaxed)), (2, 2));
}

// S122: a credential that was replaced meanwhile is sent once more after its refusal, and one that
// is the same is not
#[tokio::test]
async fn no_secret_is_sent_again_for_what_is_not_about_it() {
    let another = || {
        let made = AtomicUsize::new(0);
        Credential::from_fn(move || {
            let number = made.fetch_add(1, Relaxed);
            async move { Ok(format!("secret-{number}")) }
        })
    };
    for (status, answer) in [
        (400, r#"{"error":"invalid_grant"}"#),
        (401, r#"{"error":"invalid_grant"}"#),
        (400, r#"{"error":"invalid_scope"}"#),
        (503, r#"{"error":"invalid_client"}"#),
        (502, ""),
    ] {
        let server = Server::default();
        let endpoint = OAuth2Endpoint::refresh_token(URL, post(another())).unwrap();
        let transport = server.answering(move |_| (status, answer.into()));
        let _ = refresh(&mut endpoint.transport(transport)).await.unwrap_err();
        assert_eq!(server.bodies().len(), 1, "{status} {answer}");
    }
}

// S122: a credential that was replaced meanwhile is sent once more after its refusal, and one that
// is the same is not
#[tokio::test]
async fn a_password_that_was_replaced_meanwhile_is_sent_once_more_and_no_other_is() {
    let (_folder, path) = file("old");
    for (new, sendings) in [("new", 2), ("old", 1)] {
        fs::write(&path, "old").unwrap();
        let server = Server::default();
        let replaced = path.clone();
        let transport = server.answering(move |_| {
            fs::write(&replaced, new).unwrap();
            (400, r#"{"error":"invalid_grant"}"#.into())
        });
        let client = OAuth2Client::public("app");
        let password = Credential::file(&path);
        let endpoint = OAuth2Endpoint::password(URL, client, "robot", password).unwrap();
        let endpoint = endpoint.transport(transport);
        let error = endpoint.request(RefreshRequest::default()).await.unwrap_err();
        assert_eq!(error.class(), FailureClass::InvalidGrant);
        assert_eq!(server.bodies().len(), sendings, "{new}");
    }
}

// S120: each client authenticates by what it is named for and by nothing else
#[tokio::test]
async fn a_header_of_the_programs_own_is_the_one_way_of_authentication_of_a_public_client() {
    let server = Server::default();
    let key = HeaderValue::from_static("Key k3y");
    let sent = async |client: OAuth2Client| {
        let endpoint = endpoint(client)
            .header(AUTHORIZATION, key.clone())
            .transport(server.answering(|_| (200, ANSWER.into())));
        endpoint.request(RefreshRequest::default()).await.expect("a token");
        server.bodies().remove(0)
    };
    let public = sent(OAuth2Client::public("app")).await;
    assert_eq!(public, "Key k3y grant_type=client_credentials");
    let basic = sent(OAuth2Client::basic("a", "b")).await;
    assert_eq!(basic, "Basic YTpi grant_type=client_credentials", "the client's own counts");
}

// S122: a credential that was replaced meanwhile is sent once more after its refusal, and one that
// is the same is not
#[tokio::test]
async fn a_revocation_reads_its_secret_as_a_call_does() {
    let (_folder, path) = file("old");
    let server = Server::default();
    let replaced = path.clone();
    let transport = server.answering(move |body| match body.contains("client_secret=new") {
        true => (200, String::new()),
        false => {
            fs::write(&replaced, "new").unwrap();
            (401, r#"{"error":"invalid_client"}"#.into())
        }
    });
    let client = post(Credential::file(&path));
    let mut revocation = OAuth2Revocation::new(URL, client).unwrap().transport(transport);
    let token = tower_refresh::RefreshToken::new(SPENT).unwrap();
    revocation.call(RevokeRequest::new(token)).await.expect("revoked");
    assert_eq!(server.bodies().len(), 2);
}
