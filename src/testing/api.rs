//! The protected API: anything below `/api`, by any method.

use std::{future::poll_fn, pin::pin};

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    body::{ServerBody, whole},
    ledger::serial,
    protocol::json_answer,
    refusal::Refusal,
    shared::Shared,
};
use crate::error::BoxError;

pub(super) async fn serve(
    shared: &Shared,
    request: Request<Incoming>,
) -> Result<Response<ServerBody>, BoxError> {
    shared.counters.add(|counts| counts.requests += 1);
    let (refusal, refuse_everything, delay) = {
        let rules = shared.api();
        (rules.refusal.clone(), rules.refuse_everything, rules.delay)
    };
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let token = bearer(request.headers());
    let serial = token.and_then(|token| serial(&shared.issuer, token));
    let accepted = serial.is_some_and(|serial| shared.ledger().accepts(serial));
    if refuse_everything || !accepted {
        shared.counters.add(|counts| counts.refused += 1);
        let answer = refusal.answer(token.is_some());
        if !shared.settings.refuse_early {
            drain(request.into_body()).await?;
        }
        return Ok(answer.map(whole));
    }
    match request.uri().path() {
        "/api/echo" => echo(request).await,
        _ => describe(request).await,
    }
}

/// The body as it came: its bytes, its trailers and its content type.
async fn echo(request: Request<Incoming>) -> Result<Response<ServerBody>, BoxError> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?;
    let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    // HTTP/1 sends no trailer that was not announced.
    for name in [header::CONTENT_TYPE, header::TRAILER] {
        for value in head.headers.get_all(&name) {
            response.headers_mut().append(&name, value.clone());
        }
    }
    Ok(response)
}

/// What arrived, as JSON.
async fn describe(request: Request<Incoming>) -> Result<Response<ServerBody>, BoxError> {
    let (head, body) = request.into_parts();
    let (length, digest) = drain(body).await?;
    let seen = json!({
        "method": head.method.as_str(),
        "path": head.uri.path(),
        "query": head.uri.query(),
        "version": format!("{:?}", head.version),
        "body_length": length,
        "body_sha256": digest,
    });
    Ok(json_answer(StatusCode::OK, &seen).map(whole))
}

/// Reads a body to its end, whatever its size: its length and the SHA-256 of it in hex.
async fn drain(body: Incoming) -> Result<(u64, String), BoxError> {
    let mut body = pin!(body);
    let (mut length, mut digest) = (0, Sha256::new());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        if let Ok(data) = frame?.into_data() {
            length += data.remaining() as u64;
            digest.update(&data);
        }
    }
    let digest = digest.finalize();
    Ok((length, digest.iter().map(|byte| format!("{byte:02x}")).collect()))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

impl Refusal {
    fn answer(self, token_sent: bool) -> Response<Bytes> {
        let challenged = |status, challenge| {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = status;
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            response
        };
        match self {
            Self::InvalidToken if token_sent => {
                challenged(StatusCode::UNAUTHORIZED, r#"Bearer realm="api", error="invalid_token""#)
            }
            Self::InvalidToken => challenged(StatusCode::UNAUTHORIZED, r#"Bearer realm="api""#),
            Self::Bare => {
                let mut response = Response::new(Bytes::from_static(b"Unauthorized"));
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                response
            }
            Self::InsufficientScope => challenged(
                StatusCode::FORBIDDEN,
                r#"Bearer realm="api", error="insufficient_scope", scope="admin""#,
            ),
            Self::Grpc => {
                let mut response = Response::new(Bytes::new());
                let headers = response.headers_mut();
                let grpc = HeaderValue::from_static("application/grpc");
                headers.insert(header::CONTENT_TYPE, grpc);
                headers.insert("grpc-status", HeaderValue::from_static("16"));
                response
            }
            Self::Answer(response) => response,
        }
    }
}
