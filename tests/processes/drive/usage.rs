//! What is said to whoever uses it wrongly.

use tower_refresh::testing::AuthServer;

use super::support::{drive, output};

#[tokio::test]
async fn bad_usage_is_said_before_anything_is_sent() {
    let server = AuthServer::start().await.unwrap();
    let (token, api) = (server.token_url(), server.api_url());
    let far = "http://10.0.0.7/";
    for (args, what) in [
        (["json", &token, &api, ""], "set REFRESH_TOKEN"),
        (["oauth2", &token, &api, "--client-id=app"], "set REFRESH_TOKEN"),
        (["oauth2", &token, &api, "--refresh-token=t0p"], "--client-id"),
        (["client-credentials", &token, &api, "--client-id=app"], "set CLIENT_SECRET"),
        (["json", &token, far, "--refresh-token=t0p"], "unencrypted"),
        (["json", far, &api, "--refresh-token=t0p"], "unencrypted"),
        (["json", &token, "api.example.com", "--refresh-token=t0p"], "write https://"),
        (["json", &token, "https://me:t0p@example.com", "--refresh-token=t0p"], "user name"),
        (["json", "nonsense", &api, "--refresh-token=t0p"], "no scheme"),
        (["json", &token, &api, "--refresh-token=t0p\n"], "a line break"),
        (["json", &token, &api, "--refresh-token="], "is empty"),
        (["json", &token, &api, "--access-token=t0p t0p"], "white space"),
        (["json", &token, &api, "t0p"], "unexpected argument"),
        (["json", &token, &api, "--param=t0p"], "NAME=VALUE"),
        (["json", &token, &api, "-n0"], "invalid value '0'"),
        (["json", &token, &api, "-c0"], "invalid value '0'"),
        (["json", &token, &api, "-d0"], "write a number"),
        (["json", &token, &api, "--rate=NaN"], "write a number"),
        (["json", &token, &api, "--store=redis://:t0p@localhost:x/"], "cannot be read"),
        (["json", &token, &api, "--store=rediss://:t0p@localhost/"], "no TLS"),
        (["json", &token, &api, "--store=t0p"], "file:PATH"),
        (["json", &token, &api, "--store=file:"], "file:tokens.json"),
        (["json", &token, &api, "--store=file:/nowhere/tokens.json"], "/nowhere"),
        (["json", &token, &api, "--session="], "--session is empty"),
        (["json", &token, &api, "--plot=run.png"], "ends in .svg"),
        (["json", &token, &api, "--plot=/nowhere/run.svg"], "no folder /nowhere"),
        #[cfg(target_os = "linux")]
        (["json", &token, &api, "--plot=/proc/run.svg"], "cannot be written"),
        (["xml", &token, &api, ""], "client-credentials"),
    ] {
        let [protocol, token_url, url, arg] = args;
        let mut drive = drive(protocol, token_url, url);
        if arg.starts_with("--plot") {
            drive.env("REFRESH_TOKEN", "t0p");
        }
        let output = output(drive.args(Some(arg).filter(|arg| !arg.is_empty()))).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(what), "{args:?}: {said}");
        assert!(output.stdout.is_empty() && !said.contains("t0p"), "{args:?}: {said}");
    }
    let counts = server.counts();
    assert_eq!((counts.calls, counts.requests), (0, 0));
}

#[tokio::test]
async fn a_name_that_makes_no_key_is_said_before_anything_is_sent() {
    let mut drive = drive("json", "http://localhost/token", "http://localhost/");
    drive.args(["--store", "redis://localhost", "--session", "{a}"]);
    let output = output(&mut drive).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--session") && said.contains("braces"), "{said}");
}

#[tokio::test]
async fn help_has_examples_units_and_defaults_and_shows_no_environment() {
    let mut drive = drive("json", "", "");
    for variable in ["REFRESH_TOKEN", "ACCESS_TOKEN", "CLIENT_SECRET", "TOKEN_STORE"] {
        drive.env(variable, "t0p");
    }
    let output = output(drive.arg("--help")).await;
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && !help.contains("t0p") && !help.contains('\x1b'), "{help}");
    for part in [
        "[env: REFRESH_TOKEN]",
        "--timeout <SECONDS>",
        "[default: 30]",
        "Examples:",
        "--plot orders.svg https://api.example.com/orders",
        "Exit code: 0",
    ] {
        assert!(help.contains(part), "{part}: {help}");
    }
}
