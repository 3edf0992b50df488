//! How long a token lives, in the words of either endpoint's answer.

use std::{
    convert::Infallible,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{Request, Response, header::DATE};
use http_body_util::Full;
use serde_json::{Value, json};
use tower::service_fn;
use tower_refresh::{
    Tokens,
    endpoint::{JsonEndpoint, OAuth2Client, OAuth2Endpoint, TokenResponse},
    testing::Issuer,
};

use super::refresh;

/// The server's clock is right, and says so, or keeps silent.
async fn answers(fields: Value, date: bool) -> [TokenResponse; 2] {
    let transport = service_fn(move |_: Request<Full<Bytes>>| {
        let mut answer = Response::new(fields.to_string());
        if date {
            let now = httpdate::fmt_http_date(SystemTime::now()).parse().unwrap();
            answer.headers_mut().insert(DATE, now);
        }
        async { Ok::<_, Infallible>(answer) }
    });
    let mut json = JsonEndpoint::new("https://auth.example.com/token")
        .unwrap()
        .access_token_field("access_token")
        .expires_in_field("expiresAt")
        .transport(transport.clone());
    let client = OAuth2Client::public("app");
    let mut oauth2 = OAuth2Endpoint::refresh_token("https://auth.example.com/token", client)
        .unwrap()
        .transport(transport);
    [refresh(&mut json).await.unwrap(), refresh(&mut oauth2).await.unwrap()]
}

fn in_seconds(seconds: u64) -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + seconds
}

fn date_in(seconds: u64) -> String {
    // `Mon, 01 Dec 2025 10:00:00 GMT`
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(in_seconds(seconds)))
}

// S95: whatever the field is called and however it is written, on either endpoint
#[tokio::test]
async fn the_words_of_an_answer_are_brought_to_one_life() {
    let opaque = |life: Value| {
        let mut fields = json!({ "access_token": "a" });
        fields.as_object_mut().unwrap().extend(life.as_object().unwrap().clone());
        fields
    };
    let jwt = |claims: Value| Issuer::new("key").sign(&claims);
    let hour = 3600;
    let at = in_seconds(hour);
    for (fields, life) in [
        (opaque(json!({ "expires_in": hour })), Some(hour)),
        (opaque(json!({ "expires_in": "3600.0" })), Some(hour)),
        (opaque(json!({ "expires_at": at })), Some(hour)),
        (opaque(json!({ "expiresAt": at * 1000 })), Some(hour)),
        (opaque(json!({ "expires_on": at.to_string() })), Some(hour)),
        (opaque(json!({ ".expires": date_in(hour) })), Some(hour)),
        (opaque(json!({ "expires_in": at })), Some(hour)),
        (opaque(json!({ "expires_in": 3_600_000, "expires_in_sec": hour })), Some(hour)),
        (opaque(json!({ "expires_in": hour, "refresh_expires_in": 60 })), Some(hour)),
        (opaque(json!({ "expires_in": hour, "ext_expires_in": 60 })), Some(hour)),
        (opaque(json!({ "expires_in": 0 })), None),
        (opaque(json!({ "expires_in": -1 })), None),
        (opaque(json!({ "expires_at": "9999-12-31T23:59:59Z" })), None),
        (opaque(json!({ "refresh_expires_in": 60 })), None),
        (
            json!({ "access_token": jwt(json!({ "exp": in_seconds(40) })), "expires_in": hour }),
            Some(40),
        ),
        (json!({ "access_token": jwt(json!({ "exp": at })), "expires_in": 3_600_000 }), Some(hour)),
    ] {
        for date in [true, false] {
            for response in answers(fields.clone(), date).await {
                let left = Tokens::from(response).expires_at().map(|at| {
                    at.duration_since(SystemTime::now()).unwrap_or_default().as_secs_f64()
                });
                // The clock goes on, and a `Date` has no fractions of a second.
                let is_life = match (left, life) {
                    (Some(left), Some(life)) => (left - life as f64).abs() < 5.0,
                    (None, None) => true,
                    _ => false,
                };
                assert!(is_life, "{left:?} instead of {life:?}: {fields}, date: {date}");
            }
        }
    }
}
