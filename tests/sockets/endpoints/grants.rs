//! What each grant sends, and what its refusal means.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::service_fn;
use tower_refresh::{
    Error,
    endpoint::{FailureClass, OAuth2Client, OAuth2Endpoint, RefreshRequest},
};

use super::refresh;

const URL: &str = "https://auth.example.com/token";

/// What `endpoint` sends, and what it makes of this answer.
async fn sent(
    endpoint: OAuth2Endpoint,
    status: u16,
    answer: &'static str,
) -> (String, Result<String, FailureClass>) {
    let body = Arc::new(Mutex::new(String::new()));
    let kept = body.clone();
    let mut endpoint = endpoint.transport(service_fn(move |request: Request<Full<Bytes>>| {
        let kept = kept.clone();
        async move {
            let body = request.into_body().collect().await?.to_bytes();
            *kept.lock().unwrap() = String::from_utf8(body.to_vec()).expect("a form");
            let response = Response::builder().status(status).body(answer.to_owned());
            Ok::<_, Infallible>(response.expect("an answer"))
        }
    }));
    // With a refresh token, which none of these grants sends.
    let answer = refresh(&mut endpoint).await;
    let answer = answer.map(|answer| answer.access_token().expose().to_owned());
    let body = body.lock().unwrap().clone();
    (body, answer.map_err(|error| error.class()))
}

fn client() -> OAuth2Client {
    OAuth2Client::public("app")
}

fn grants() -> Result<[(OAuth2Endpoint, &'static str, FailureClass); 5], Error> {
    use FailureClass::{InvalidGrant, Misconfigured};

    let jwt = "urn:ietf:params:oauth:token-type:jwt";
    let access_token = "urn:ietf:params:oauth:token-type:access_token";
    Ok([
        (
            OAuth2Endpoint::password(URL, client(), "robot", "p&ss")?.scope("read write"),
            "grant_type=password&client_id=app&scope=read+write&username=robot&password=p%26ss",
            InvalidGrant,
        ),
        (
            OAuth2Endpoint::jwt_bearer(URL, OAuth2Client::anonymous(), "e.y.J")?,
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=e.y.J",
            Misconfigured,
        ),
        (
            OAuth2Endpoint::token_exchange(URL, client(), "sub", access_token)?
                .resource("https://a.example/")
                .resource("https://b.example/")
                .audience("c")
                .audience("d")
                .param("actor_token", "act")
                .param("actor_token_type", jwt),
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&client_id=app\
             &subject_token=sub&subject_token_type=\
             urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token\
             &resource=https%3A%2F%2Fa.example%2F&resource=https%3A%2F%2Fb.example%2F\
             &audience=c&audience=d&actor_token=act&actor_token_type=\
             urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt",
            Misconfigured,
        ),
        (
            OAuth2Endpoint::grant(URL, client(), "urn:example:grant")?
                .param("device", "7")
                .param("pin", "1234"),
            "grant_type=urn%3Aexample%3Agrant&client_id=app&device=7&pin=1234",
            Misconfigured,
        ),
        (
            OAuth2Endpoint::client_credentials(URL, client())?,
            "grant_type=client_credentials&client_id=app",
            Misconfigured,
        ),
    ])
}

// S123: each grant sends its form, and its refusal means what it can mean
#[tokio::test]
async fn each_grant_sends_its_form_and_no_refresh_token() {
    for (endpoint, form, _) in grants().unwrap() {
        let (sent, token) = sent(endpoint, 200, r#"{"access_token":"a"}"#).await;
        assert_eq!(sent, form);
        assert_eq!(token.unwrap(), "a");
    }
}

// S123: each grant sends its form, and its refusal means what it can mean
#[tokio::test]
async fn a_refused_password_is_the_end_of_a_grant_and_what_a_program_presents_is_not() {
    for (endpoint, form, class) in grants().unwrap() {
        let refused = r#"{"error":"invalid_grant","error_description":"no"}"#;
        assert_eq!(sent(endpoint, 400, refused).await.1.unwrap_err(), class, "{form}");
    }
}

#[tokio::test]
async fn a_grant_without_a_refresh_token_needs_none() {
    let transport = service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(r#"{"access_token":"a"}"#.to_owned()))
    });
    for (endpoint, form, _) in grants().unwrap() {
        let answer = endpoint.transport(transport).request(RefreshRequest::default()).await;
        assert!(answer.is_ok(), "{form}");
    }
}
