//! What is not said to anybody.

use serde_json::{Value, json};
use tokio::time::timeout;
use tower_refresh::testing::{AuthServer, Fault, Login};

use super::support::{SOON, drive, json_drive, report, start};

#[tokio::test]
async fn no_secret_shows_however_closely_one_looks() {
    let server = AuthServer::builder().rotate(true).client("billing", "hunter2!").start();
    let server = server.await.unwrap();
    let login = server.log_in();
    let mut drive = drive("oauth2", &server.token_url(), &server.api_url());
    drive
        .env("RUST_LOG", "trace")
        .env("REFRESH_TOKEN", &login.refresh_token)
        .env("ACCESS_TOKEN", &login.access_token)
        .env("CLIENT_SECRET", "hunter2!")
        .args(["--client-id", "billing", "--param", "device=t0p-of-the-world-secret"]);
    let run = start(drive.args(["-n", "60", "--rate", "60"]));
    server.reached(|counts| counts.requests >= 20).await;
    server.revoke_access_tokens();
    server.reached(|counts| counts.requests >= 40).await;
    server.revoke_all();
    let output = timeout(SOON, run.wait_with_output()).await.expect("an end").unwrap();

    let logs = String::from_utf8(output.stderr).unwrap();
    for logger in ["a user has to log in again", "hyper_util::client"] {
        assert!(logs.contains(logger), "the logs are on: {logs}");
    }
    let seen = logs + &String::from_utf8(output.stdout).unwrap();
    let Login { access_token, refresh_token, .. } = &login;
    // `eyJ` begins every JWT; the others are the client's secret as it is and as Basic spells it.
    for secret in [access_token, refresh_token, "eyJ", "hunter2", "aHVudGVy", "t0p-of-the-world"] {
        assert!(!seen.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn extra_fields_that_may_be_secrets_are_redacted() {
    let server = AuthServer::start().await.unwrap();
    let login = server.log_in();
    let answer = json!({
        "token": "opaque-token", "device_id": "d1", "id_token": "t0p", "jwt": "eyJ.t0p",
        "more": [{ "api_key": "t0p", "echo": "it was opaque-token", "n": 1 }],
        "api_keys": { "billing": "t0p", "list": [{ "of": "t0p" }] },
    });
    server.faults_always(Fault::body(answer.to_string()));
    let (report, _) = report(json_drive(&server, &login).args(["-n", "1"])).await;
    let redacted = "[redacted]";
    let shown = json!({
        "device_id": "d1", "id_token": redacted, "jwt": redacted,
        "more": [{ "api_key": redacted, "echo": redacted, "n": 1 }],
        "api_keys": { "billing": redacted, "list": [{ "of": redacted }] },
    });
    assert_eq!(Value::from(report.extra), shown);
}
