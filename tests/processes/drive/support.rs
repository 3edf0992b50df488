//! The example as a child process, and the report that it prints.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::OnceLock,
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::{
    process::{Child, Command},
    time::timeout,
};
use tower_refresh::testing::{AuthServer, Login};

pub(crate) const SOON: Duration = Duration::from_secs(60);

/// The object that `--json` prints; that it has these fields and no others is part of the tests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    pub(crate) requests: u64,
    pub(crate) ok: u64,
    pub(crate) status: BTreeMap<String, u64>,
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) refreshes: u64,
    pub(crate) refresh_failures: u64,
    pub(crate) retries: u64,
    pub(crate) latency_us: Latency,
    pub(crate) elapsed_s: f64,
    pub(crate) extra: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Latency {
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

pub(crate) fn json_drive(server: &AuthServer, login: &Login) -> Command {
    let mut drive = drive("json", &server.refresh_url(), &server.api_url());
    drive.env("REFRESH_TOKEN", &login.refresh_token);
    drive
}

pub(crate) fn drive(protocol: &str, token_url: &str, url: &str) -> Command {
    let mut drive = example("drive");
    drive.args(["--protocol", protocol, "--token-url", token_url, url]);
    drive.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    drive
}

/// Who runs the tests may have set them, for this program or for all.
const FOREIGN: [&str; 7] = [
    "ACCESS_TOKEN",
    "CLICOLOR_FORCE",
    "CLIENT_SECRET",
    "FORCE_COLOR",
    "REFRESH_TOKEN",
    "RUST_LOG",
    "TOKEN_STORE",
];

/// An example, to be run with none of the tester's own settings.
pub(crate) fn example(name: &str) -> Command {
    let mut command = Command::new(built(name));
    for variable in FOREIGN {
        command.env_remove(variable);
    }
    command
}

/// Where an example is, built anew: `cargo test --test processes` builds none.
fn built(name: &str) -> &'static Path {
    static BUILT: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let mut cargo = std::process::Command::new(env!("CARGO"));
        cargo.args(["build", "--all-features", "--message-format", "json"]);
        cargo.args(["--example", "drive", "--example", "fleet", "--example", "quickstart"]);
        // Where `cargo test` was told to build, which need not be where it does by default.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it has one");
        cargo.arg("--target-dir").arg(target);
        cargo.args((!cfg!(debug_assertions)).then_some("--release"));
        let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let messages = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
        let executables = messages.filter_map(Result::ok).filter_map(|message| {
            let name = message["target"]["name"].as_str()?.to_owned();
            Some((name, message["executable"].as_str()?.into()))
        });
        executables.collect()
    });
    built.get(name).expect("cargo says where it put the example")
}

pub(crate) async fn report(drive: &mut Command) -> (Report, i32) {
    finish(start(drive)).await
}

pub(crate) fn start(drive: &mut Command) -> Child {
    drive.arg("--json").spawn().expect("the example starts")
}

/// The report, and the exit code. Nothing else may be on stdout.
pub(crate) async fn finish(run: Child) -> (Report, i32) {
    let output = timeout(SOON, run.wait_with_output()).await.expect("an end").unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_str(&stdout);
    let report = report.unwrap_or_else(|error| panic!("{error}: {stdout}\n{stderr}"));
    (report, output.status.code().expect("no signal ended it"))
}

pub(crate) async fn output(drive: &mut Command) -> Output {
    timeout(SOON, drive.output()).await.expect("an end").unwrap()
}
