//! Runs that go well.

use std::{collections::BTreeMap, process::Stdio};

use tower_refresh::testing::AuthServer;

use super::support::{Latency, drive, example, finish, json_drive, output, report, start};

#[tokio::test]
async fn json_with_a_rotating_refresh_token() {
    let server = AuthServer::builder().rotate(true).start().await.unwrap();
    let login = server.log_in();
    let (report, code) = report(json_drive(&server, &login).args(["-n", "50"])).await;

    assert_eq!(code, 0);
    assert_eq!((report.requests, report.ok), (50, 50));
    assert_eq!(report.status, BTreeMap::from([("200".to_owned(), 50)]));
    assert!(report.errors.is_empty());
    assert_eq!((report.refreshes, report.refresh_failures, report.retries), (1, 0, 0));
    assert!(report.extra["device_id"].is_string());
    assert!(report.elapsed_s > 0.0);
    let Latency { p50, p90, p99, max } = report.latency_us;
    assert!(0 < p50 && p50 <= p90 && p90 <= p99 && p99 <= max);
    let counts = server.counts();
    assert_eq!((counts.calls, counts.requests, counts.refused, counts.reuses), (1, 50, 0, 0));
}

#[tokio::test]
async fn oauth2_with_each_kind_of_client() {
    let secret = AuthServer::builder().client("billing", "s3cret %").start().await.unwrap();
    let public = AuthServer::builder().public_client("app").start().await.unwrap();
    for (server, args) in [
        (&secret, &["--client-id", "billing"] as &[_]),
        (&secret, &["--client-id", "billing", "--client-auth", "post"]),
        (&public, &["--client-id", "app", "--client-auth", "none", "--scope", "read"]),
    ] {
        let mut drive = drive("oauth2", &server.token_url(), &server.api_url());
        drive.env("REFRESH_TOKEN", server.log_in().refresh_token).env("CLIENT_SECRET", "s3cret %");
        let (report, code) = report(drive.args(args).args(["-n", "5", "-c", "2"])).await;
        assert_eq!((code, report.ok, report.refreshes), (0, 5, 1), "{args:?}");
        assert_eq!(report.extra["token_type"], "Bearer");
    }
}

#[tokio::test]
async fn an_issuer_names_the_endpoint_and_a_file_holds_the_secret() {
    let server = AuthServer::builder().client("billing", "s3cret").start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    // As an editor leaves it.
    std::fs::write(&secret, "s3cret\n").unwrap();
    for how in ["basic", "basic-raw", "post"] {
        let mut drive = example("drive");
        drive.args(["--protocol", "client-credentials", "--issuer", server.url(), "--no-proxy"]);
        drive.args(["--client-id", "billing", "--client-auth", how, "--client-secret-file"]);
        drive.arg(&secret).arg(server.api_url()).stdin(Stdio::null());
        drive.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let (report, code) = report(drive.args(["-n", "5"])).await;
        assert_eq!((code, report.ok, report.refreshes), (0, 5, 1), "{how}");
    }
}

#[tokio::test]
async fn client_credentials_need_no_refresh_token() {
    let server = AuthServer::builder().client("billing", "s3cret").start().await.unwrap();
    let mut drive = drive("client-credentials", &server.token_url(), &server.api_url());
    drive.args(["--client-id", "billing", "--client-secret", "s3cret", "--resource", "urn:a"]);
    let (report, code) = report(drive.args(["--param", "audience=b", "-n", "20"])).await;
    assert_eq!((code, report.ok, report.refreshes), (0, 20, 1));
}

#[tokio::test]
async fn tokens_revoked_midway_cost_one_refresh_and_no_request() {
    let server = AuthServer::builder().rotate(true).start().await.unwrap();
    let login = server.log_in();
    let mut drive = json_drive(&server, &login);
    let run = start(
        drive
            .env("ACCESS_TOKEN", &login.access_token)
            .args(["-n", "200", "--rate", "400", "-c", "4"]),
    );
    server.reached(|counts| counts.requests >= 50).await;
    server.revoke_access_tokens();
    let (report, code) = finish(run).await;

    let counts = server.counts();
    assert_eq!((code, report.requests, report.ok), (0, 200, 200));
    assert_eq!((report.refreshes, counts.calls, counts.reuses), (1, 1, 0));
    assert!(report.retries >= 1);
    assert_eq!(report.retries, counts.refused);
    assert_eq!(counts.requests, 200 + report.retries);
}

#[tokio::test]
async fn a_body_is_sent_again_up_to_the_cap_of_the_recording() {
    let server = AuthServer::start().await.unwrap();
    for (args, retries, status) in [
        (&["--body-bytes", "100000"] as &[_], 1, "200"),
        (&["--body-bytes", "60000", "--stream-body"], 1, "200"),
        (&["--body-bytes", "100000", "--stream-body"], 0, "401"),
    ] {
        let login = server.log_in();
        server.revoke_access_tokens();
        let mut drive = json_drive(&server, &login);
        drive.env("ACCESS_TOKEN", &login.access_token).args(args);
        let (report, code) = report(drive.args(["-n", "1", "-X", "PUT"])).await;
        assert_eq!(report.status, BTreeMap::from([(status.to_owned(), 1)]), "{args:?}");
        assert_eq!((report.retries, code), (retries, i32::from(retries == 0)), "{args:?}");
    }
}

#[tokio::test]
async fn a_run_by_the_clock_is_paced_and_ends_on_time() {
    let server = AuthServer::start().await.unwrap();
    let login = server.log_in();
    let (report, code) =
        report(json_drive(&server, &login).args(["-d", "0.5", "--rate", "100"])).await;
    assert_eq!(code, 0);
    assert!((45..=50).contains(&report.requests), "{report:?}");
    assert!((0.45..5.0).contains(&report.elapsed_s), "{report:?}");
}

#[tokio::test]
async fn a_summary_for_people() {
    let server = AuthServer::start().await.unwrap();
    let login = server.log_in();
    let url = format!("{}?api_key=t0p", server.api_url());
    let mut drive = drive("json", &server.refresh_url(), &url);
    drive.env("REFRESH_TOKEN", login.refresh_token).args(["-n", "1009", "-c", "2"]);
    let output = output(&mut drive).await;
    let summary = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    for line in [
        &format!("GET {}, 2 at a time", server.api_url()),
        "requests              1,009   in ",
        "ok                    1,009   200: 1009",
        "failed                    0",
        "latency p99 ",
        "refreshes                 1   calls to the token endpoint",
        "retries                   0   requests sent again",
        "device_id ",
        "No request failed.",
    ] {
        assert!(summary.lines().any(|found| found.starts_with(line)), "{line}: {summary}");
    }
    assert!(!summary.contains('\x1b') && !summary.contains("t0p"), "{summary}");
}
