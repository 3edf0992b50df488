use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use jsonwebtoken::dangerous::insecure_decode_claims;
use serde_json::{Value, json};
use tower_refresh::testing::{AuthServer, Issuer, Refusal};

use super::client::{accepts, call_api, freddy, http, http2, send};

#[tokio::test]
async fn the_api_describes_what_arrived_over_both_versions() {
    let server = AuthServer::start().await.unwrap();
    let token = server.log_in().access_token;
    for (http, version) in [(http(), "HTTP/1.1"), (http2(), "HTTP/2.0")] {
        let request = Request::put(format!("{}/a/b?c=d", server.api_url()))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Full::from("abc"))
            .unwrap();
        let answer = send(&http, request).await.unwrap();
        let seen = json!({
            "method": "PUT",
            "path": "/api/a/b",
            "query": "c=d",
            "version": version,
            "body_length": 3,
            "body_sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        });
        assert_eq!(answer.json(), seen);
    }
}

#[tokio::test]
async fn the_api_echoes_bytes_and_trailers_over_both_versions() {
    let server = AuthServer::start().await.unwrap();
    let token = server.log_in().access_token;
    for version_2 in [false, true] {
        let mut trailers = HeaderMap::new();
        trailers.insert("checksum", HeaderValue::from_static("42"));
        let frames = [
            Frame::data(Bytes::from_static(b"one ")),
            Frame::data(Bytes::from_static(b"two")),
            Frame::trailers(trailers.clone()),
        ];
        let frames = futures::stream::iter(frames.map(Ok::<_, std::io::Error>));
        let client = Client::builder(TokioExecutor::new()).http2_only(version_2).build_http();
        let request = Request::post(format!("{}/echo", server.api_url()))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::TRAILER, "checksum")
            .header(header::TE, "trailers")
            .body(StreamBody::new(frames))
            .unwrap();
        let response = client.request(request).await.unwrap();
        let body = response.collect().await.unwrap();
        assert_eq!(body.trailers(), Some(&trailers), "http/2: {version_2}");
        assert_eq!(body.to_bytes(), "one two");
    }
}

#[tokio::test]
async fn an_access_token_dies_of_age_without_leeway() {
    let life = Duration::from_millis(300);
    let server = AuthServer::builder().access_life(life).start().await;
    let server = server.unwrap();
    let before = Instant::now();
    let token = server.log_in().access_token;
    let issued = Instant::now();
    // Whatever the machine is busy with: an answer that came in time was a yes, and a request
    // that went out too late got a no.
    loop {
        let asked = Instant::now();
        let accepted = accepts(&server, &token).await;
        if before.elapsed() < life {
            assert!(accepted);
        }
        if asked.duration_since(issued) >= life {
            assert!(!accepted);
            break;
        }
    }
}

#[tokio::test]
async fn a_life_can_be_changed_at_run_time() {
    let server = AuthServer::start().await.unwrap();
    server.set_access_life(Duration::ZERO);
    let login = server.log_in();
    assert!(!accepts(&server, &login.access_token).await);
    server.set_access_life(Duration::from_secs(60));
    let answer = freddy(&server, &login.refresh_token).await.unwrap();
    assert!(accepts(&server, &answer.text("token")).await);
}

#[tokio::test]
async fn forged_and_foreign_tokens_are_refused() {
    let server = AuthServer::start().await.unwrap();
    let login = server.log_in();
    let claims: Value = insecure_decode_claims(&login.access_token).unwrap();
    let forged = Issuer::new("guess").sign(&claims);
    let id = claims["jti"].as_str().unwrap();
    for token in [&forged, id, &login.refresh_token, "opaque"] {
        assert!(!accepts(&server, token).await, "{token}");
    }
    assert_eq!(server.counts().refused, 4);
}

#[tokio::test]
async fn opaque_tokens_live_and_die_like_jwts() {
    let server = AuthServer::builder().opaque(true).start().await.unwrap();
    let login = server.log_in();
    assert!(insecure_decode_claims::<Value>(&login.access_token).is_err());
    assert!(accepts(&server, &login.access_token).await);
    server.revoke_access_tokens();
    assert!(!accepts(&server, &login.access_token).await);
    let answer = freddy(&server, &login.refresh_token).await.unwrap();
    assert!(accepts(&server, &answer.text("token")).await);
    server.revoke_all();
    assert!(!accepts(&server, &answer.text("token")).await);
    let answer = freddy(&server, &login.refresh_token).await.unwrap();
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_old_access_token_can_die_with_the_new() {
    let server = AuthServer::builder().one_access_token(true).start().await;
    let server = server.unwrap();
    let login = server.log_in();
    let answer = freddy(&server, &login.refresh_token).await.unwrap();
    assert!(!accepts(&server, &login.access_token).await);
    assert!(accepts(&server, &answer.text("token")).await);
}

#[tokio::test]
async fn the_api_refuses_as_it_is_told() {
    let server = AuthServer::start().await.unwrap();
    let token = server.log_in().access_token;
    server.refuse_everything(true);
    let refuse = async |refusal| {
        server.refuse_with(refusal);
        let answer = call_api(&server, &token).await;
        let challenge = answer.headers.get(header::WWW_AUTHENTICATE).cloned();
        let challenge = challenge.map(|value| value.to_str().unwrap().to_owned());
        (answer.status.as_u16(), challenge.unwrap_or_default())
    };
    let (status, challenge) = refuse(Refusal::InvalidToken).await;
    assert!(status == 401 && challenge.contains("invalid_token"));
    assert_eq!(refuse(Refusal::Bare).await, (401, String::new()));
    let (status, challenge) = refuse(Refusal::InsufficientScope).await;
    assert!(status == 403 && challenge.contains("insufficient_scope"));
    let teapot = Response::builder().status(418).body(Bytes::new()).unwrap();
    assert_eq!(refuse(Refusal::Answer(teapot)).await.0, 418);
    server.refuse_with(Refusal::Grpc);
    let answer = call_api(&server, &token).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["grpc-status"], "16");

    server.refuse_everything(false);
    assert!(accepts(&server, &token).await);
    assert_eq!(server.counts().refused, 5);
}

#[tokio::test]
async fn the_api_can_refuse_before_the_body_has_come() {
    let server = AuthServer::builder().refuse_early(true).start().await;
    let server = server.unwrap();
    let body = StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, std::io::Error>>());
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::post(server.api_url()).body(body).unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    // No token, so no error in the challenge (RFC 6750 §3.1).
    assert_eq!(response.headers()[header::WWW_AUTHENTICATE], r#"Bearer realm="api""#);
}

#[tokio::test]
async fn a_wrong_clock_shows_in_claims_and_date_and_nowhere_else() {
    let hour = Duration::from_secs(3600);
    let server = AuthServer::builder().clock_behind(hour).start().await;
    let server = server.unwrap();
    let login = server.log_in();
    let claims: Value = insecure_decode_claims(&login.access_token).unwrap();
    let (iat, exp) = (claims["iat"].as_u64().unwrap(), claims["exp"].as_u64());
    assert_eq!(exp.unwrap() - iat, 3600);
    let answer = call_api(&server, &login.access_token).await;
    assert_eq!(answer.status, StatusCode::OK);
    let date = answer.headers[header::DATE].to_str().unwrap();
    let date = httpdate::parse_http_date(date).unwrap();
    let behind = SystemTime::now().duration_since(date).unwrap();
    assert!(behind >= hour && behind < 2 * hour);
}

#[tokio::test]
async fn elsewhere_there_is_nothing() {
    let server = AuthServer::start().await.unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    for path in ["/", "/apis", "/v1/auth"] {
        let url = format!("{}{path}", server.url());
        let answer = client.get(url.parse().unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
}
