//! What a user gets wrong, and whether they are told what it is and what to do.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_refresh::{
    AccessToken, AuthScheme, BoxError, Error, ErrorKind, Origin, RefreshLayer, Session,
    SessionBuilder, Tokens,
    endpoint::{JsonEndpoint, OAuth2Client, OAuth2Endpoint},
    testing::{AuthServer, Fault, GatedEndpoint},
};

use super::support::{Version, http, in_time, post, send};

/// Asserts the kind of an error, that its text says these, and that it does not say `secret`.
#[track_caller]
fn says(error: &Error, kind: ErrorKind, said: &[&str]) {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    assert_eq!(error.kind(), kind, "{text}");
    for said in said {
        assert!(text.contains(said), "{said:?} is missing in: {text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
}

// S9: a token that cannot be a header is an error, and a long one is sent whole
#[test]
fn a_token_that_cannot_be_a_header_is_named_with_its_fault() {
    let cases: [(&str, &[&str]); 8] = [
        ("", &["access token is empty", "variable or file"]),
        ("hunter2\n", &["a line break at byte 7", "trim it"]),
        ("hunter2\r\nx-evil: 1", &["a line break at byte 7"]),
        ("Bearer hunter2", &["white space at byte 6", "without its scheme"]),
        ("hunter2\u{0}", &["a control character", "as the server sent it"]),
        ("hunter2\u{7f}", &["a control character"]),
        ("hunter2ü", &["a non-ASCII character at byte 7"]),
        (" hunter2", &["white space at byte 0"]),
    ];
    for (token, said) in cases {
        says(&Tokens::new(token).unwrap_err(), ErrorKind::InvalidInput, said);
        says(&AccessToken::new(token).unwrap_err(), ErrorKind::InvalidInput, said);
    }
    let error = Tokens::from_refresh_token("").unwrap_err();
    says(&error, ErrorKind::InvalidInput, &["refresh token is empty", "variable or file"]);
    let error = Tokens::from_refresh_token("hunter2\n").unwrap_err();
    says(&error, ErrorKind::InvalidInput, &["refresh token has a line break", "trim it"]);
}

// S9: a token that cannot be a header is an error, and a long one is sent whole
#[tokio::test]
async fn a_token_of_64_kib_is_sent_and_not_split() {
    let server = AuthServer::start().await.unwrap();
    let tokens = Tokens::new("x".repeat(64 * 1024)).unwrap();
    let session = Session::builder(GatedEndpoint::new()).initial_tokens(tokens).build();
    let token = session.token().await.unwrap();
    assert_eq!(token.header_value().len(), 64 * 1024 + "Bearer ".len());
    // This server takes no head of that size, or refuses the token: an answer or an error.
    let client = RefreshLayer::new(session).layer(http(Version::One));
    let _ = send(client, post(&server.api_url())).await;
}

// S7: a token travels over https or to this machine only, unless plaintext is allowed
#[test]
fn an_endpoint_url_that_will_not_do_is_named_with_its_fault() {
    let invalid = ErrorKind::InvalidInput;
    let cases: [(&str, ErrorKind, &[&str]); 6] = [
        ("", invalid, &["is empty", "variable"]),
        ("auth.example.com/token", invalid, &["no scheme", "write https://"]),
        ("ftp://example.com/", invalid, &["the scheme `ftp`", "write https://"]),
        ("https://me:hunter2@example.com/", invalid, &["a password", "take it out"]),
        ("https://example.com/a b", invalid, &["cannot be read", "without spaces"]),
        (
            "http://auth.example.com/token",
            ErrorKind::Plaintext,
            &["unencrypted to auth.example.com", "write https://", "EndpointUrl::allow_plaintext"],
        ),
    ];
    for (url, kind, said) in cases {
        says(&JsonEndpoint::new(url).unwrap_err(), kind, said);
        let client = || OAuth2Client::basic("app", "hunter2");
        says(&OAuth2Endpoint::refresh_token(url, client()).unwrap_err(), kind, said);
        says(&OAuth2Endpoint::client_credentials(url, client()).unwrap_err(), kind, said);
    }
}

#[test]
fn an_origin_or_a_scheme_that_will_not_do_is_named_with_its_fault() {
    let error = "api.example.com".parse::<Origin>().unwrap_err();
    says(&error, ErrorKind::InvalidInput, &["has no scheme", "https://api.example.com"]);
    let error = "https://".parse::<Origin>().unwrap_err();
    says(&error, ErrorKind::InvalidInput, &["origin", "https://api.example.com"]);
    let error = "https://a.test/v1".parse::<Origin>().unwrap_err();
    says(&error, ErrorKind::InvalidInput, &["has a path", "\"https://a.test\" alone"]);
    let error = "Bearer ".parse::<AuthScheme>().unwrap_err();
    says(&error, ErrorKind::InvalidInput, &["scheme", "name alone"]);
    let error = AuthScheme::try_from("").unwrap_err();
    says(&error, ErrorKind::InvalidInput, &["scheme is empty", "AuthScheme::NONE"]);
}

#[tokio::test]
async fn answers_that_point_at_a_wrong_configuration_say_what_to_look_at() {
    let server = AuthServer::builder().client("app", "hunter2").start().await.unwrap();
    let once = |builder: SessionBuilder| builder.attempts(1).build();
    let tokens = || server.log_in().tokens().unwrap();

    // A captive portal, or the website in place of the API.
    server.fault(Fault::garbage());
    let json = |url: String| JsonEndpoint::new(url).unwrap();
    let session = once(Session::builder(json(server.refresh_url())).initial_tokens(tokens()));
    let error = in_time(session.refresh()).await.unwrap_err();
    let said = ["HTML instead of JSON (content-type text/html)", "is this the API's URL?"];
    says(&error, ErrorKind::Misconfigured, &said);

    // A path that is not there.
    let session =
        once(Session::builder(json(format!("{}/tokn", server.url()))).initial_tokens(tokens()));
    let error = in_time(session.refresh()).await.unwrap_err();
    says(
        &error,
        ErrorKind::Misconfigured,
        &["check how the endpoint is configured", "404: check its URL"],
    );

    // A wrong secret.
    let endpoint = |secret| {
        OAuth2Endpoint::refresh_token(server.token_url(), OAuth2Client::basic("app", secret))
            .unwrap()
    };
    let session = once(Session::builder(endpoint("hunter2?")).initial_tokens(tokens()));
    let error = in_time(session.refresh()).await.unwrap_err();
    says(
        &error,
        ErrorKind::Misconfigured,
        &["invalid_client", "check the client's id", "`OAuth2Client::post`"],
    );

    // No refresh token for a grant that needs one: nothing is sent.
    let calls = server.counts().calls;
    let session = once(Session::builder(endpoint("hunter2")));
    let error = in_time(session.token()).await.unwrap_err();
    says(&error, ErrorKind::LoginRequired, &["no user has logged in yet", "log in and set tokens"]);
    assert_eq!(server.counts().calls, calls);

    // A refresh token that is over.
    let over = || Tokens::from_refresh_token("hunter2-of-yesterday").unwrap();
    let session = once(Session::builder(json(server.refresh_url())).initial_tokens(over()));
    let error = in_time(session.token()).await.unwrap_err();
    says(&error, ErrorKind::LoginRequired, &["no longer accepts", "log in and set new tokens"]);
    let session = once(Session::builder(endpoint("hunter2")).initial_tokens(over()));
    let error = in_time(session.token()).await.unwrap_err();
    says(&error, ErrorKind::LoginRequired, &["invalid_grant", "log in and set new tokens"]);

    // Nobody listens.
    let gone = server.refresh_url();
    server.shutdown().await;
    let session =
        once(Session::builder(json(gone)).initial_tokens(Tokens::from_refresh_token("r").unwrap()));
    let error = in_time(session.token()).await.unwrap_err();
    says(&error, ErrorKind::Unavailable, &["no connection to the token endpoint", "is it up"]);
}

// S65: a session outlives runtimes; without one whatever has to wait says so
#[test]
fn no_runtime_is_an_error_that_says_where_to_get_one() {
    let session = Session::builder(JsonEndpoint::new("https://auth.example.com/").unwrap())
        .initial_tokens(Tokens::from_refresh_token("r").unwrap())
        .build();
    let error = futures::executor::block_on(session.token()).unwrap_err();
    says(&error, ErrorKind::NoRuntime, &["no Tokio runtime", "`SessionBuilder::runtime`"]);

    // The same for a request through the layer, whose client would need none.
    let api =
        tower::service_fn(async |_: Request<Full<Bytes>>| Ok::<_, BoxError>(Response::new(())));
    let client = RefreshLayer::new(session).layer(api);
    let request = client.oneshot(post("https://api.example.com/"));
    let error = futures::executor::block_on(request).unwrap_err();
    says(Error::find(&*error).unwrap(), ErrorKind::NoRuntime, &["no Tokio runtime"]);
}

#[tokio::test]
async fn a_wait_that_takes_too_long_says_that_the_refresh_goes_on() {
    let server = AuthServer::start().await.unwrap();
    let _hold = server.hold();
    let session = Session::builder(JsonEndpoint::new(server.refresh_url()).unwrap())
        .initial_tokens(Tokens::from_refresh_token(server.log_in().refresh_token).unwrap())
        .wait_limit(Duration::from_millis(50))
        .build();
    let error = in_time(session.token()).await.unwrap_err();
    let said = [
        "no access token after 50ms",
        "the refresh goes on: the token endpoint at",
        "has not answered",
    ];
    says(&error, ErrorKind::TimedOut, &said);
}
