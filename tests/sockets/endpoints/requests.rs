//! What goes out.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full};
use tower::{Service, ServiceExt};
use tower_refresh::{
    ErrorKind, RefreshToken,
    endpoint::{
        EndpointError, EndpointUrl, FailureClass, JsonEndpoint, OAuth2Client, OAuth2Endpoint,
        RefreshRequest, Spent,
    },
};

use super::{SPENT, refresh};

const URL: &str = "https://auth.example.com/token?tenant=1";

/// What the transport was given.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Vec<Request<Bytes>>>>);

impl Sent {
    /// A transport that answers both protocols' success.
    fn transport(
        &self,
    ) -> impl Service<
        Request<Full<Bytes>>,
        Response = Response<Full<Bytes>>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static {
        let sent = self.clone();
        tower::service_fn(move |request: Request<Full<Bytes>>| {
            let sent = sent.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                let request = Request::from_parts(head, body);
                sent.0.lock().unwrap().push(request);
                let answer = r#"{"token":"a","access_token":"a"}"#;
                Ok(Response::new(Full::from(answer)))
            }
        })
    }

    fn only(&self) -> (Request<()>, String) {
        let mut sent = self.0.lock().unwrap();
        assert_eq!(sent.len(), 1, "one request");
        let (head, body) = sent.remove(0).into_parts();
        let body = String::from_utf8(body.to_vec()).unwrap();
        (Request::from_parts(head, ()), body)
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(&name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn freddy_is_sent_its_refresh_token_as_json() {
    let sent = Sent::default();
    let mut freddy = JsonEndpoint::freddy().transport(sent.transport());
    refresh(&mut freddy).await.expect("a token");

    let (request, body) = sent.only();
    assert_eq!(request.method(), "POST");
    assert_eq!(request.uri(), "https://api.freddy.aitronos.com/v1/auth/refresh");
    assert_eq!(body, r#"{"refresh_token":"r3fresh/1+2"}"#);
    let headers = request.headers();
    assert_eq!(text(headers, header::CONTENT_TYPE), "application/json");
    assert_eq!(text(headers, header::ACCEPT), "application/json");
    assert!(text(headers, header::USER_AGENT).starts_with("tower-refresh/"));
}

#[tokio::test]
async fn names_fields_and_headers_can_be_changed() {
    let sent = Sent::default();
    let mut endpoint = JsonEndpoint::new(URL)
        .unwrap()
        .transport(sent.transport())
        .access_token_field("access_token")
        .request_field("old \"token\"")
        .refresh_token_field("refresh")
        .field("device", "laptop")
        .field("old \"token\"", "loses")
        .header(header::ACCEPT, HeaderValue::from_static("text/json"))
        .header(header::AUTHORIZATION, HeaderValue::from_static("Key k3y"));
    let tokens = refresh(&mut endpoint).await.expect("a token");
    assert_eq!(tokens.extra()["token"], "a", "no longer the access token");

    let (request, body) = sent.only();
    assert_eq!(request.uri(), URL);
    assert_eq!(body, r#"{"old \"token\"":"r3fresh/1+2","device":"laptop"}"#);
    assert_eq!(text(request.headers(), header::ACCEPT), "text/json");
    let key = &request.headers()[header::AUTHORIZATION];
    assert_eq!(key, "Key k3y");
    assert!(key.is_sensitive());
}

#[tokio::test]
async fn the_refresh_token_grant_is_a_form() {
    let table = [
        (
            OAuth2Client::basic("a:b", "p&ss"),
            // base64 of `a%3Ab:p%26ss`
            "Basic YSUzQWI6cCUyNnNz",
            "grant_type=refresh_token&refresh_token=r3fresh%2F1%2B2",
        ),
        (
            OAuth2Client::post("a:b", "p&ss"),
            "",
            "grant_type=refresh_token&refresh_token=r3fresh%2F1%2B2\
             &client_id=a%3Ab&client_secret=p%26ss",
        ),
        (
            OAuth2Client::public("app"),
            "",
            "grant_type=refresh_token&refresh_token=r3fresh%2F1%2B2&client_id=app",
        ),
    ];
    for (client, authorization, form) in table {
        let sent = Sent::default();
        let endpoint = OAuth2Endpoint::refresh_token(URL, client).unwrap();
        let mut endpoint = endpoint.transport(sent.transport());
        refresh(&mut endpoint).await.expect("a token");

        let (request, body) = sent.only();
        assert_eq!(body, form);
        let headers = request.headers();
        assert_eq!(text(headers, header::AUTHORIZATION), authorization);
        assert_eq!(text(headers, header::CONTENT_TYPE), "application/x-www-form-urlencoded");
        assert_eq!(text(headers, header::ACCEPT), "application/json");
    }
}

#[tokio::test]
async fn client_credentials_send_no_refresh_token() {
    let sent = Sent::default();
    let mut endpoint = OAuth2Endpoint::client_credentials(URL, OAuth2Client::basic("id", "s"))
        .unwrap()
        .transport(sent.transport())
        .scope("lost")
        .scope("read write")
        .resource("https://a.example/")
        .resource("https://b.example/")
        .audience("c")
        .param("x", "1&2")
        .param("x", "é");
    refresh(&mut endpoint).await.expect("a token");
    assert_eq!(
        sent.only().1,
        "grant_type=client_credentials&scope=read+write&resource=https%3A%2F%2Fa.example%2F\
         &resource=https%3A%2F%2Fb.example%2F&audience=c&x=1%262&x=%C3%A9"
    );

    let without = endpoint.ready().await.unwrap();
    without.call(RefreshRequest::default()).await.expect("a token");
}

// S6: a refresh token alone is enough to begin with; without one the grant decides
#[tokio::test]
async fn a_grant_that_needs_a_refresh_token_sends_nothing_without_one() {
    let sent = Sent::default();
    let mut json = JsonEndpoint::freddy().transport(sent.transport());
    let mut oauth2 = OAuth2Endpoint::refresh_token(URL, OAuth2Client::public("app"))
        .unwrap()
        .transport(sent.transport());
    let json = json.call(RefreshRequest::default()).await;
    let oauth2 = oauth2.call(RefreshRequest::default()).await;
    for error in [json.unwrap_err(), oauth2.unwrap_err()] {
        assert_eq!(error.class(), FailureClass::InvalidGrant);
        assert_eq!(error.spent(), Spent::No);
    }
    assert!(sent.0.lock().unwrap().is_empty());
}

// S9: a token that cannot be a header is an error, and a long one is sent whole
#[tokio::test]
async fn an_odd_refresh_token_arrives_as_it_is() {
    for odd in ["\\\"&=%{}", &"x".repeat(64 * 1024)] {
        let request = RefreshRequest::new(Some(RefreshToken::new(odd).unwrap()));

        let sent = Sent::default();
        let mut json = JsonEndpoint::freddy().transport(sent.transport());
        json.call(request.clone()).await.expect("a token");
        let body: serde_json::Value = serde_json::from_str(&sent.only().1).unwrap();
        assert_eq!(body["refresh_token"], odd);

        let oauth2 = OAuth2Endpoint::refresh_token(URL, OAuth2Client::public("app")).unwrap();
        oauth2.transport(sent.transport()).call(request).await.expect("a token");
        let body = sent.only().1;
        let (_, token) = form_urlencoded::parse(body.as_bytes()).nth(1).unwrap();
        assert_eq!(token, odd);
    }
}

#[test]
fn a_url_is_whatever_converts_into_one() {
    let public = || OAuth2Client::public("app");
    assert!(JsonEndpoint::new(URL.to_owned()).is_ok());
    assert!(JsonEndpoint::new(URL.parse::<http::Uri>().unwrap()).is_ok());
    let plain = EndpointUrl::allow_plaintext("http://10.0.0.7/").unwrap();
    assert!(JsonEndpoint::new(plain.clone()).is_ok());
    assert!(OAuth2Endpoint::client_credentials(plain, public()).is_ok());
    let error = OAuth2Endpoint::refresh_token("http://10.0.0.7/", public()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Plaintext);
}

#[tokio::test]
async fn debug_and_errors_keep_every_secret() {
    let echo = || {
        tower::service_fn(|request: Request<Full<Bytes>>| async move {
            let headers = format!("{:?} {:?}", request.headers().get("x-key"), request.headers());
            let credentials = request.headers().get(header::AUTHORIZATION);
            let credentials = credentials.map_or("", |value| value.to_str().unwrap());
            let credentials = credentials.to_owned();
            // The value of a header need not be a key alone, and a query is read before it is shown.
            let key = request.headers()["x-key"].to_str().unwrap().replace("Key ", "");
            let query = request.uri().query().unwrap_or_default().to_owned();
            let read = form_urlencoded::parse(query.as_bytes()).map(|(_, value)| value + " ");
            let sent = [read.collect(), query.clone(), key].join(" ");
            let body = request.into_body().collect().await?.to_bytes();
            let said = format!("{sent} {credentials} {}", String::from_utf8_lossy(&body));
            assert!(!headers.contains("s3cret"), "{headers}");
            let said = serde_json::json!({ "error": "invalid_grant", "error_description": said, "detail": said });
            let mut response = Response::new(Full::<Bytes>::from(said.to_string()));
            *response.status_mut() = http::StatusCode::BAD_REQUEST;
            Ok::<_, Infallible>(response)
        })
    };
    let key = || HeaderValue::from_static("Key s3cret-of-a-header");
    let check = |debug: String, error: EndpointError| {
        let shown = format!("{debug} {error} {error:?}");
        assert!(shown.contains("[redacted]"), "{shown}");
        for secret in ["s3cret", SPENT, "r3fresh%2F1%2B2", "OnMzY3JldA"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    };

    let mut json = JsonEndpoint::new("https://a.example/?key=s3cret+%2F0123456789")
        .unwrap()
        .transport(echo())
        .field("api_key", "s3cret-0123456789")
        .field("device", serde_json::json!({ "keys": ["s3cret-further-in"] }))
        .header(header::HeaderName::from_static("x-key"), key());
    let error = refresh(&mut json).await.unwrap_err();
    check(format!("{json:?}"), error);

    for client in [OAuth2Client::basic("", "s3cret"), OAuth2Client::post("", "s3cret")] {
        let mut oauth2 = OAuth2Endpoint::refresh_token(URL, client)
            .unwrap()
            .transport(echo())
            .param("key", "s3cret-0123456789")
            .header(header::HeaderName::from_static("x-key"), key());
        let error = refresh(&mut oauth2).await.unwrap_err();
        check(format!("{oauth2:?}"), error);
    }
}
