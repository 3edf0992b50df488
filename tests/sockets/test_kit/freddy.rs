use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tower_refresh::testing::AuthServer;

use super::client::{accepts, freddy, http, send};

#[tokio::test]
async fn a_refresh_answers_as_documented() {
    let server = AuthServer::start().await.unwrap();
    let login = server.log_in();
    let answer = freddy(&server, &login.refresh_token).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    let mut fields = answer.json();
    assert_eq!(fields["device_id"], "device-123");
    assert!(accepts(&server, fields["token"].as_str().unwrap()).await);
    fields.as_object_mut().unwrap().remove("token");
    assert_eq!(fields, json!({ "device_id": "device-123" }));
    let counts = server.counts();
    assert_eq!((counts.calls, counts.refreshes, counts.requests), (1, 1, 1));
}

#[tokio::test]
async fn without_rotation_the_refresh_token_stays_good() {
    let server = AuthServer::start().await.unwrap();
    let login = server.log_in();
    for _ in 0..3 {
        let answer = freddy(&server, &login.refresh_token).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK);
    }
    assert_eq!(server.counts().reuses, 0);
}

#[tokio::test]
async fn rotation_hands_out_a_successor_that_works() {
    let server = AuthServer::builder().rotate(true).start().await.unwrap();
    let mut refresh_token = server.log_in().refresh_token;
    for _ in 0..3 {
        let answer = freddy(&server, &refresh_token).await.unwrap();
        assert_ne!(answer.text("refresh_token"), refresh_token);
        refresh_token = answer.text("refresh_token");
    }
    assert_eq!(server.counts().refreshes, 3);
}

#[tokio::test]
async fn re_use_revokes_the_family_and_only_that() {
    let server = AuthServer::builder().rotate(true).start().await.unwrap();
    let (login, bystander) = (server.log_in(), server.log_in());
    let successor = freddy(&server, &login.refresh_token).await.unwrap();

    let again = freddy(&server, &login.refresh_token).await.unwrap();
    assert_eq!(again.status, StatusCode::UNAUTHORIZED);
    assert_eq!(again.json(), json!({ "detail": "Invalid refresh token" }));
    assert_eq!(server.counts().reuses, 1);

    assert!(!accepts(&server, &login.access_token).await);
    assert!(!accepts(&server, &successor.text("token")).await);
    let heir = freddy(&server, &successor.text("refresh_token")).await;
    assert_eq!(heir.unwrap().status, StatusCode::UNAUTHORIZED);
    // The family is gone, so that was no second re-use.
    let counts = server.counts();
    assert_eq!((counts.reuses, counts.rejected), (1, 2));
    assert!(accepts(&server, &bystander.access_token).await);
}

#[tokio::test]
async fn within_grace_the_same_successor_is_handed_out_again() {
    let server =
        AuthServer::builder().rotate(true).grace(Duration::from_secs(600)).start().await.unwrap();
    let login = server.log_in();
    let first = freddy(&server, &login.refresh_token).await.unwrap();
    let again = freddy(&server, &login.refresh_token).await.unwrap();
    assert_eq!(first.json(), again.json());
    let counts = server.counts();
    assert_eq!((counts.refreshes, counts.within_grace), (2, 1));

    // Its access token was revoked meanwhile: the successor comes with a new one.
    server.revoke_access_tokens();
    let again = freddy(&server, &login.refresh_token).await.unwrap();
    assert_eq!(again.text("refresh_token"), first.text("refresh_token"));
    assert!(accepts(&server, &again.text("token")).await);

    // Only the token spent last has a grace period.
    let next = freddy(&server, &first.text("refresh_token")).await.unwrap();
    assert_eq!(next.status, StatusCode::OK);
    let twice_spent = freddy(&server, &login.refresh_token).await.unwrap();
    assert_eq!(twice_spent.status, StatusCode::UNAUTHORIZED);
    assert_eq!(server.counts().reuses, 1);
}

#[tokio::test]
async fn a_refresh_token_expires() {
    let server = AuthServer::builder().refresh_life(Duration::ZERO).start().await.unwrap();
    let answer = freddy(&server, &server.log_in().refresh_token).await;
    let answer = answer.unwrap();
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.json(), json!({ "detail": "Refresh token has expired" }));
}

#[tokio::test]
async fn unknown_tokens_and_malformed_calls_are_rejected() {
    let (server, other) = (AuthServer::start().await.unwrap(), AuthServer::start().await.unwrap());
    let login = server.log_in();
    let foreign = other.log_in().refresh_token;
    for token in ["", "guess", "refresh~1~1~AAAA", &foreign, &login.access_token] {
        let answer = freddy(&server, token).await.unwrap();
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{token}");
    }
    let call = http::Request::post(server.refresh_url())
        .header("content-type", "application/json")
        .body("{".into())
        .unwrap();
    let answer = send(&http(), call).await.unwrap();
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let counts = server.counts();
    assert_eq!((counts.calls, counts.rejected), (6, 6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_re_use_is_among_the_rejected_whenever_one_looks() {
    let server = AuthServer::builder().rotate(true).start().await.unwrap();
    let torn = std::sync::Mutex::new(None);
    let look = server.reached(|counts| {
        if counts.reuses > counts.rejected {
            *torn.lock().unwrap() = Some(*counts);
        }
        counts.rejected >= 200
    });
    let reuse = async {
        for _ in 0..200 {
            let login = server.log_in();
            for _ in 0..2 {
                freddy(&server, &login.refresh_token).await.unwrap();
            }
        }
    };
    tokio::join!(look, reuse);
    assert_eq!(*torn.lock().unwrap(), None);
    assert_eq!(server.counts().reuses, 200);
}
