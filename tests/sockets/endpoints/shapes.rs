//! The shapes of a JSON endpoint's requests and answers: methods, forms, and where the tokens are.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use tower::{Service, service_fn};
use tower_refresh::{
    BoxError, RefreshToken, Session, Tokens,
    endpoint::{
        Credential, EndpointError, FailureClass, JsonEndpoint, Place, RefreshRequest, Spent,
        TokenResponse,
    },
};

use super::SPENT;

const URL: &str = "https://api.example.com/auth/refresh";

type Sent = Arc<Mutex<Vec<Request<String>>>>;

/// Keeps what it is sent, and answers as it is told.
fn server(
    sent: &Sent,
    answer: impl Fn(&Request<String>) -> Response<String> + Clone + Send + Sync + 'static,
) -> impl Service<
    Request<Full<Bytes>>,
    Response = Response<String>,
    Error = Infallible,
    Future: Send + 'static,
> + Clone
+ Send
+ Sync
+ 'static {
    let sent = sent.clone();
    service_fn(move |request: Request<Full<Bytes>>| {
        let (sent, answer) = (sent.clone(), answer.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let body = String::from_utf8(body.to_vec()).expect("text");
            let request = Request::from_parts(head, body);
            let answer = answer(&request);
            sent.lock().unwrap().push(request);
            Ok(answer)
        }
    })
}

fn ok(headers: &[(HeaderName, &str)], body: &str) -> Response<String> {
    let mut answer = Response::new(body.to_owned());
    for (name, value) in headers {
        answer.headers_mut().append(name, HeaderValue::from_str(value).expect("a value"));
    }
    answer
}

fn endpoint() -> JsonEndpoint {
    JsonEndpoint::new(URL).unwrap()
}

fn cookie(name: &'static str) -> Place {
    Place::Cookie(name.into())
}

fn token() -> HeaderName {
    HeaderName::from_static("x-token")
}

/// What one call sends, and what comes of the answer.
async fn call(
    endpoint: JsonEndpoint,
    answer: Response<String>,
) -> (Vec<Request<String>>, Result<TokenResponse, EndpointError>) {
    let sent = Sent::default();
    let endpoint = endpoint.transport(server(&sent, move |_| answer.clone()));
    let request = RefreshRequest::new(Some(RefreshToken::new(SPENT).unwrap()));
    let answer = endpoint.request(request).await;
    (std::mem::take(&mut *sent.lock().unwrap()), answer)
}

async fn sent(endpoint: JsonEndpoint) -> (Method, HeaderMap, String) {
    let (mut sent, answer) = call(endpoint, ok(&[], r#"{"token":"a"}"#)).await;
    answer.expect("a token");
    let (head, body) = sent.remove(0).into_parts();
    assert_eq!(head.uri, URL, "nothing goes into the query");
    (head.method, head.headers, body)
}

// S124: a refresh token is in the body, a header or a cookie and never in the query, and so are an
// answer's tokens
#[tokio::test]
async fn the_refresh_token_is_in_the_body_a_header_or_a_cookie() {
    let field = endpoint().refresh_token_in(Place::Field("rt".into())).field("rt", "loses");
    let (_, headers, body) = sent(field).await;
    assert_eq!(body, r#"{"rt":"r3fresh/1+2"}"#);
    assert_eq!(headers[header::CONTENT_TYPE], "application/json");

    for (place, name, value) in [
        (Place::Bearer, header::AUTHORIZATION, "Bearer r3fresh/1+2"),
        (Place::Header(token()), token(), "r3fresh/1+2"),
        (cookie("refresh"), header::COOKIE, "refresh=r3fresh/1+2"),
    ] {
        let (method, headers, body) = sent(endpoint().refresh_token_in(place.clone())).await;
        assert_eq!((method, &*body), (Method::POST, ""), "{place:?}");
        assert_eq!(headers[&name], value, "{place:?}");
        assert!(headers[&name].is_sensitive(), "{place:?}");
        assert!(!headers.contains_key(header::CONTENT_TYPE), "{place:?}: there is no body");

        let (_, headers, body) = sent(endpoint().refresh_token_in(place).field("a", 1)).await;
        assert_eq!((&*body, &headers[&name]), (r#"{"a":1}"#, &HeaderValue::from_static(value)));
    }
    let own = endpoint()
        .header(header::COOKIE, HeaderValue::from_static("csrf=c"))
        .refresh_token_in(cookie("refresh"));
    let (_, headers, _) = sent(own).await;
    let cookies: Vec<_> = headers.get_all(header::COOKIE).iter().collect();
    assert_eq!(cookies, ["csrf=c; refresh=r3fresh/1+2"], "one header has all");
}

// S124: a refresh token is in the body, a header or a cookie and never in the query, and so are an
// answer's tokens
#[tokio::test]
async fn a_body_is_json_or_a_form_and_a_get_has_none() {
    let fields = |endpoint: JsonEndpoint| {
        let list = serde_json::json!([1]);
        endpoint
            .field("a", "b c")
            .field("n", 7)
            .field("no", serde_json::Value::Null)
            .field("l", list)
    };
    let (method, headers, body) = sent(fields(endpoint().form().method(Method::PUT))).await;
    assert_eq!(method, Method::PUT);
    assert_eq!(headers[header::CONTENT_TYPE], "application/x-www-form-urlencoded");
    let pairs: Vec<_> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(pairs[0], ("refresh_token", SPENT));
    let mut others = pairs[1..].to_vec();
    others.sort_unstable();
    assert_eq!(others, [("a", "b c"), ("l", "[1]"), ("n", "7")]);

    let get = || endpoint().method(Method::GET);
    let (method, _, body) = sent(get().refresh_token_in(Place::Bearer)).await;
    assert_eq!((method, &*body), (Method::GET, ""));
    for impossible in [get(), get().refresh_token_in(Place::Bearer).field("a", "b")] {
        let (sent, answer) = call(impossible, ok(&[], r#"{"token":"a"}"#)).await;
        let error = answer.unwrap_err();
        assert_eq!((error.class(), error.spent()), (FailureClass::Misconfigured, Spent::No));
        assert!(error.to_string().contains("refresh_token_in"), "{error}");
        assert!(sent.is_empty());
    }
}

// S125: a program that asks for itself needs no refresh token, and no user has to log in for it
#[tokio::test]
async fn a_program_that_is_who_it_asks_for_needs_no_refresh_token() {
    let signed = Arc::new(Mutex::new(0));
    let count = signed.clone();
    let jwt = Credential::from_fn(move || {
        *count.lock().unwrap() += 1;
        let number = *count.lock().unwrap();
        async move { Ok(format!("jwt-{number}")) }
    });
    let app = endpoint().without_refresh_token().authorize_with(jwt);
    let seen = Sent::default();
    let app = app.transport(server(&seen, |request| {
        // The first is too old by the server's clock.
        match request.headers()[header::AUTHORIZATION] == "Bearer jwt-1" {
            true => Response::builder().status(401).body(r#"{"message":"no"}"#.into()).unwrap(),
            false => ok(&[], r#"{"token":"a"}"#),
        }
    }));
    app.request(RefreshRequest::default()).await.expect("a token");
    let with = RefreshRequest::new(Some(RefreshToken::new(SPENT).unwrap()));
    app.request(with).await.expect("a token");
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let sent = |request: &Request<String>| {
        let value = request.headers()[header::AUTHORIZATION].to_str().unwrap().to_owned();
        assert!(request.headers()[header::AUTHORIZATION].is_sensitive());
        (value, request.body().clone())
    };
    let sent: Vec<_> = seen.iter().map(sent).collect();
    let bare = |number| (format!("Bearer jwt-{number}"), String::new());
    assert_eq!(sent, [bare(1), bare(2), bare(3)]);
}

// S125: a program that asks for itself needs no refresh token, and no user has to log in for it
#[tokio::test]
async fn a_program_whose_credential_is_refused_is_misconfigured_and_no_user_can_help() {
    for body in [r#"{"detail":"A JSON web token could not be decoded"}"#, "", r#"{"message":"no"}"#]
    {
        let app = endpoint().without_refresh_token().authorize_with("jwt");
        let answer = Response::builder().status(401).body(body.to_owned()).unwrap();
        let (sent, answer) = call(app, answer).await;
        assert_eq!(answer.unwrap_err().class(), FailureClass::Misconfigured, "{body}");
        assert_eq!(sent.len(), 1, "a text is the same the next time");
    }
    let both = endpoint().refresh_token_in(Place::Bearer).authorize_with("jwt");
    let (sent, answer) = call(both, ok(&[], r#"{"token":"a"}"#)).await;
    assert!(answer.unwrap_err().to_string().contains("both"));
    assert!(sent.is_empty());
}

// S124: a refresh token is in the body, a header or a cookie and never in the query, and so are an
// answer's tokens
#[tokio::test]
async fn the_answers_tokens_are_in_its_body_its_headers_or_its_cookies() {
    let set = |value: &'static str| (header::SET_COOKIE, value);
    let places = || {
        endpoint().access_token_from(Place::Header(token())).refresh_token_from(cookie("refresh"))
    };
    for (endpoint, answer, access, refresh) in [
        // Whatever the body is, there may be none.
        (places(), ok(&[(token(), "a"), set("refresh=r; HttpOnly")], ""), "a", Some("r")),
        (places(), ok(&[(token(), "Bearer a")], "<p>fine"), "a", None),
        (places(), ok(&[(token(), "a"), set("refresh=; Max-Age=0")], "{}"), "a", None),
        (
            places(),
            ok(&[(token(), "a"), set("refresh=gone; Max-Age=0"), set("refresh=r")], "{}"),
            "a",
            Some("r"),
        ),
        (
            endpoint().access_token_from(Place::Bearer),
            ok(&[(header::AUTHORIZATION, "Bearer a")], r#"{"refresh_token":"r"}"#),
            "a",
            Some("r"),
        ),
        (
            endpoint().access_token_from(cookie("access")).refresh_token_in(cookie("refresh")),
            // Where it is sent as a cookie its successor comes as one.
            ok(&[set("access=a; Path=/"), set("refresh=r")], r#"{"user":7}"#),
            "a",
            Some("r"),
        ),
        (
            endpoint()
                .access_token_from(Place::Field("access".into()))
                .refresh_token_from(Place::Field("refresh".into())),
            ok(&[], r#"{"access":"a","refresh":"r"}"#),
            "a",
            Some("r"),
        ),
    ] {
        let shown = format!("{endpoint:?} {answer:?}");
        let answer = call(endpoint, answer).await.1.expect(&shown);
        assert_eq!(answer.access_token().expose(), access, "{shown}");
        assert_eq!(answer.refresh_token().map(RefreshToken::expose), refresh, "{shown}");
    }
}

// S124: a refresh token is in the body, a header or a cookie and never in the query, and so are an
// answer's tokens
#[tokio::test]
async fn a_cookie_that_the_server_takes_away_is_the_end_of_a_grant() {
    for (status, cookie_line, class) in [
        (401, "refresh=; Max-Age=0", FailureClass::InvalidGrant),
        (403, "refresh=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT", FailureClass::InvalidGrant),
        (401, "other=; Max-Age=0", FailureClass::Misconfigured),
        (503, "refresh=; Max-Age=0", FailureClass::Transient),
    ] {
        let answer = Response::builder()
            .status(status)
            .header(header::SET_COOKIE, cookie_line)
            .body(String::new())
            .unwrap();
        let endpoint = endpoint().refresh_token_in(cookie("refresh"));
        let error = call(endpoint, answer).await.1.unwrap_err();
        assert_eq!(error.class(), class, "{status} {cookie_line}: {error}");
    }
}

// S124: a refresh token is in the body, a header or a cookie and never in the query, and so are an
// answer's tokens
#[tokio::test]
async fn a_session_follows_a_refresh_token_that_rotates_as_a_cookie() -> Result<(), BoxError> {
    let seen = Sent::default();
    let number = Arc::new(Mutex::new(0));
    let transport = server(&seen, move |_| {
        *number.lock().unwrap() += 1;
        let number = number.lock().unwrap();
        let cookie = format!("refresh=r{number}; Path=/auth; HttpOnly; SameSite=Strict");
        ok(&[(header::SET_COOKIE, &*cookie)], &format!(r#"{{"token":"a{number}"}}"#))
    });
    let endpoint = endpoint().refresh_token_in(cookie("refresh")).transport(transport);
    let session =
        Session::builder(endpoint).initial_tokens(Tokens::from_refresh_token("r0")?).build();
    for _ in 0..3 {
        session.refresh().await?;
    }
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let cookies: Vec<_> = seen.iter().map(|request| &request.headers()[header::COOKIE]).collect();
    assert_eq!(cookies, ["refresh=r0", "refresh=r1", "refresh=r2"]);
    assert_eq!(session.tokens().unwrap().refresh_token().unwrap().expose(), "r3");
    Ok(())
}
