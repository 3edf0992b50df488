//! Runs in which something is down, or over, or cut short.

use std::{collections::BTreeMap, net::SocketAddr};

use tokio::net::TcpSocket;
use tower_refresh::testing::AuthServer;

use super::support::{SOON, drive, json_drive, output, report};

#[tokio::test]
async fn whoever_must_log_in_again_is_told_so() {
    let server = AuthServer::start().await.unwrap();
    let login = server.log_in();
    server.revoke_all();
    let (report, code) = report(json_drive(&server, &login).args(["-n", "20"])).await;
    assert_eq!((code, report.requests, report.ok), (1, 20, 0));
    assert_eq!(report.errors, BTreeMap::from([("login_required".to_owned(), 20)]));
    assert_eq!((server.counts().calls, report.refresh_failures), (1, 1));
}

#[tokio::test]
async fn a_failed_run_says_what_went_wrong_and_what_to_do() {
    let server = AuthServer::start().await.unwrap();
    let login = server.log_in();
    server.revoke_all();
    let mut drive = json_drive(&server, &login);
    let output = output(drive.args(["-n", "20"])).await;
    assert_eq!(output.status.code(), Some(1));
    let summary = String::from_utf8(output.stdout).unwrap();
    assert!(summary.contains("failed                   20   login_required: 20"), "{summary}");
    assert!(summary.ends_with("20 of 20 requests failed.\n") && !summary.contains('\x1b'));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("Log in again") && !said.contains('\x1b'), "{said}");
}

#[tokio::test]
async fn a_wrong_client_is_a_rejected_call() {
    let server = AuthServer::builder().client("billing", "s3cret").start().await.unwrap();
    let mut drive = drive("client-credentials", &server.token_url(), &server.api_url());
    drive.env("CLIENT_SECRET", "another").args(["--client-id", "billing", "-n", "5"]);
    let (report, code) = report(&mut drive).await;
    assert_eq!((code, report.refresh_failures), (1, 1));
    assert_eq!(report.errors, BTreeMap::from([("misconfigured".to_owned(), 5)]));
}

#[tokio::test]
async fn what_is_down_is_an_error_of_its_kind_and_no_hang() {
    let server = AuthServer::start().await.unwrap();
    let login = server.log_in();
    let (_deaf, address) = deaf();
    let nobody = format!("http://{address}");

    let mut no_endpoint = drive("json", &nobody, &server.api_url());
    no_endpoint.env("REFRESH_TOKEN", &login.refresh_token);
    let (down, code) = report(no_endpoint.args(["-d", "1"])).await;
    assert_eq!((code, down.ok), (1, 0));
    assert_eq!(down.errors, BTreeMap::from([("unavailable".to_owned(), down.requests)]));
    assert!(down.requests < 2000, "it does not spin: {down:?}");

    // The second answers, but not with TLS.
    for url in [&nobody, &server.api_url().replace("http", "https")] {
        let mut no_api = drive("json", &server.refresh_url(), url);
        no_api.env("REFRESH_TOKEN", &login.refresh_token);
        let (down, code) = report(no_api.args(["-n", "20"])).await;
        assert_eq!((code, down.ok, down.refreshes), (1, 0, 1));
        assert_eq!(down.errors, BTreeMap::from([("transport".to_owned(), 20)]));
    }

    server.delay_api(SOON);
    let mut slow = json_drive(&server, &login);
    let (late, code) = report(slow.args(["-n", "2", "--timeout", "0.1"])).await;
    assert_eq!(code, 1);
    assert_eq!(late.errors, BTreeMap::from([("request_timeout".to_owned(), 2)]));
}

#[tokio::test]
async fn an_api_that_refuses_everything_is_a_status() {
    let server = AuthServer::start().await.unwrap();
    let login = server.log_in();
    server.refuse_everything(true);
    let (report, code) = report(json_drive(&server, &login).args(["-n", "30"])).await;
    assert_eq!(code, 1);
    assert_eq!(report.status, BTreeMap::from([("401".to_owned(), 30)]));
    assert!(report.refreshes <= 4, "{report:?}");
}

/// A port that is taken, so that no other test gets it, and where nobody listens.
fn deaf() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}
