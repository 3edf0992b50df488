use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{StatusCode, header};
use serde_json::json;
use tower_refresh::testing::AuthServer;

use super::client::{Answer, accepts, form, oauth2};

fn error(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.text("error"))
}

#[tokio::test]
async fn a_refresh_answers_by_the_rfc() {
    let server = AuthServer::builder().rotate(true).start().await.unwrap();
    let login = server.log_in();
    let answer = oauth2(&server, &login.refresh_token).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    let fields = answer.json();
    assert_eq!(fields["token_type"], "Bearer");
    assert_eq!(fields["expires_in"], json!(3600));
    assert_eq!(fields["scope"], "read write");
    assert!(accepts(&server, &answer.text("access_token")).await);

    let again = oauth2(&server, &login.refresh_token).await.unwrap();
    assert_eq!(error(&again), (400, "invalid_grant".into()));
    assert_eq!(server.counts().reuses, 1);
}

#[tokio::test]
async fn expires_in_can_be_left_out_and_can_have_a_fraction() {
    let server = AuthServer::builder().expires_in(false).start().await;
    let server = server.unwrap();
    let answer = oauth2(&server, &server.log_in().refresh_token).await;
    assert!(answer.unwrap().json().get("expires_in").is_none());

    let server = AuthServer::builder().access_life(Duration::from_millis(2500));
    let server = server.start().await.unwrap();
    let answer = oauth2(&server, &server.log_in().refresh_token).await;
    assert_eq!(answer.unwrap().json()["expires_in"], json!(2.5));
}

#[tokio::test]
async fn client_credentials_bring_no_refresh_token() {
    let server = AuthServer::builder().rotate(true).start().await.unwrap();
    let grant = [("grant_type", "client_credentials"), ("scope", "read")];
    let answer = form(server.token_url(), None, &grant).await.unwrap();
    assert!(answer.json().get("refresh_token").is_none());
    assert_eq!(answer.json()["scope"], "read");
    let access_token = answer.text("access_token");
    assert!(accepts(&server, &access_token).await);
    assert!(server.revoke_family(&access_token));
    assert!(!accepts(&server, &access_token).await);
}

#[tokio::test]
async fn errors_have_the_codes_of_the_rfc() {
    let server = AuthServer::start().await.unwrap();
    let login = server.log_in();
    let token = login.refresh_token.as_str();
    let cases: [(&[(&str, &str)], &str); 6] = [
        (&[], "invalid_request"),
        (&[("grant_type", "password")], "unsupported_grant_type"),
        (&[("grant_type", "refresh_token")], "invalid_request"),
        (&[("grant_type", "refresh_token"), ("refresh_token", "guess")], "invalid_grant"),
        (
            &[("grant_type", "refresh_token"), ("refresh_token", token), ("refresh_token", token)],
            "invalid_request",
        ),
        (
            &[("grant_type", "refresh_token"), ("refresh_token", token), ("scope", "read admin")],
            "invalid_scope",
        ),
    ];
    for (parameters, code) in cases {
        let answer = form(server.token_url(), None, parameters).await.unwrap();
        assert_eq!(error(&answer), (400, code.into()), "{parameters:?}");
    }
    assert_eq!(server.counts().rejected, 6);
}

#[tokio::test]
async fn a_client_authenticates_by_basic_or_by_post() {
    let server = AuthServer::builder().client("a b", "p:%&").start().await;
    let server = server.unwrap();
    let grant = ("grant_type", "client_credentials");
    let basic = |credentials: &str| format!("Basic {}", STANDARD.encode(credentials));
    let good = basic("a+b:p%3A%25%26");
    let call = |basic: Option<String>, more: Vec<(&'static str, &'static str)>| {
        let url = server.token_url();
        async move {
            let parameters: Vec<_> = [grant].into_iter().chain(more).collect();
            form(url, basic.as_deref(), &parameters).await.unwrap()
        }
    };
    let post = |secret| vec![("client_id", "a b"), ("client_secret", secret)];
    assert_eq!(call(Some(good.clone()), vec![]).await.status, 200);
    assert_eq!(call(None, post("p:%&")).await.status, 200);

    let refused = call(Some(basic("a+b:wrong")), vec![]).await;
    assert_eq!(error(&refused), (401, "invalid_client".into()));
    assert!(refused.headers.contains_key(header::WWW_AUTHENTICATE));
    let refused = call(None, post("wrong")).await;
    assert_eq!(error(&refused), (401, "invalid_client".into()));
    let refused = call(None, vec![("client_id", "a b")]).await;
    assert_eq!(error(&refused), (401, "invalid_client".into()));
    let refused = call(Some(good), post("p:%&")).await;
    assert_eq!(error(&refused), (400, "invalid_request".into()));
}

#[tokio::test]
async fn a_public_client_has_an_id_and_no_secret() {
    let server = AuthServer::builder().public_client("app").start().await;
    let server = server.unwrap();
    let call = |id: &'static str| {
        let grant = [("grant_type", "client_credentials"), ("client_id", id)];
        let url = server.token_url();
        async move { form(url, None, &grant).await.unwrap().status }
    };
    assert_eq!(call("app").await, StatusCode::OK);
    assert_eq!(call("other").await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn revocation_takes_the_whole_family() {
    let server = AuthServer::builder().rotate(true).start().await.unwrap();
    let login = server.log_in();
    let renewed = oauth2(&server, &login.refresh_token).await.unwrap();
    let token = renewed.text("refresh_token");
    for _ in 0..2 {
        let answer = form(server.revocation_url(), None, &[("token", &token)]).await;
        assert_eq!(answer.unwrap().status, StatusCode::OK);
    }
    assert_eq!(server.counts().revocations, 1);
    assert!(!accepts(&server, &login.access_token).await);
    assert!(!accepts(&server, &renewed.text("access_token")).await);
    let refused = oauth2(&server, &token).await.unwrap();
    assert_eq!(error(&refused), (400, "invalid_grant".into()));
    assert_eq!(server.counts().reuses, 0);
}

#[tokio::test]
async fn an_access_token_names_its_family_for_as_long_as_that_lives() {
    for opaque in [false, true] {
        let builder = AuthServer::builder().opaque(opaque).one_access_token(true);
        let server = builder.start().await.unwrap();
        let (login, bystander) = (server.log_in(), server.log_in());
        let renewed = oauth2(&server, &login.refresh_token).await.unwrap();
        server.revoke_access_tokens();
        // Neither the one that was replaced nor the one that was revoked is accepted any more.
        let token = [login.access_token, renewed.text("access_token")][usize::from(opaque)].clone();
        let answer = form(server.revocation_url(), None, &[("token", &token)]).await;
        assert_eq!(answer.unwrap().status, StatusCode::OK);
        assert_eq!(server.counts().revocations, 1, "opaque: {opaque}");
        let refused = oauth2(&server, &login.refresh_token).await.unwrap();
        assert_eq!(error(&refused), (400, "invalid_grant".into()));
        assert!(!server.revoke_family(&token), "it is revoked already");
        assert_eq!(oauth2(&server, &bystander.refresh_token).await.unwrap().status, 200);
    }
}
