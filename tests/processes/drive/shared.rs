//! Runs and processes that share one identity.

use std::time::Duration;

use tokio::process::Command;
use tower_refresh::testing::{AuthServer, Login};

use super::support::{drive, json_drive, output, report};

async fn rotating() -> (AuthServer, Login) {
    let server = AuthServer::builder().rotate(true).access_life(Duration::from_secs(2));
    let server = server.start().await.unwrap();
    let login = server.log_in();
    (server, login)
}

/// A folder for one test, removed with it.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let name = format!("tower-refresh-drive-{test}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn store(&self) -> String {
        format!("file:{}", self.0.join("tokens.json").display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn stored(drive: &mut Command, store: &str) {
    drive.args(["--store", store, "--session", "billing", "-d", "3", "--rate", "50"]);
}

#[tokio::test]
async fn what_an_earlier_run_left_in_a_file_wins_over_a_spent_token() {
    let (server, login) = rotating().await;
    let folder = Folder::new("file");
    let mut with_spent_token = json_drive(&server, &login);
    let mut with_none = drive("json", &server.refresh_url(), &server.api_url());
    for drive in [&mut json_drive(&server, &login), &mut with_spent_token, &mut with_none] {
        stored(drive, &folder.store());
        let (report, code) = report(drive).await;
        assert_eq!((code, report.ok), (0, report.requests), "{report:?}");
        assert!(report.refreshes >= 1, "{report:?}");
    }
    let counts = server.counts();
    assert_eq!((counts.reuses, counts.rejected), (0, 0), "{counts:?}");
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn two_processes_at_once_share_a_rotating_token_in_redis() {
    let (server, login) = rotating().await;
    let redis = crate::server::RedisServer::start().await;
    let mut both = [json_drive(&server, &login), json_drive(&server, &login)];
    both.iter_mut().for_each(|drive| stored(drive, &redis.url()));
    let [one, other] = &mut both;
    for (report, code) in <[_; 2]>::from(tokio::join!(report(one), report(other))) {
        assert_eq!((code, report.ok), (0, report.requests), "{report:?}");
        assert!(report.requests > 20, "{report:?}");
    }
    let counts = server.counts();
    assert_eq!((counts.reuses, counts.rejected), (0, 0), "{counts:?}");
    assert!((2..=5).contains(&counts.refreshes), "{counts:?}");
    let held: String = redis.run(&format!("TYPE {}", crate::server::RECORD)).await;
    assert_eq!(held, "hash", "the session's name is in its keys");
}

#[tokio::test]
async fn a_store_with_nothing_in_it_needs_a_token_to_begin_with() {
    let (server, _) = rotating().await;
    let folder = Folder::new("empty");
    let mut drive = drive("json", &server.refresh_url(), &server.api_url());
    stored(&mut drive, &folder.store());
    let output = output(&mut drive).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("holds no tokens: set REFRESH_TOKEN"), "{said}");
    assert_eq!((server.counts().calls, server.counts().requests), (0, 0));
}

#[tokio::test]
async fn a_store_that_cannot_be_used_ends_the_run_before_it_begins() {
    let (server, login) = rotating().await;
    let mut drive = json_drive(&server, &login);
    drive.env("RUST_LOG", "trace");
    // Where no Redis is: an ordinary program cannot even listen on this port.
    stored(&mut drive, "redis://:t0p@127.0.0.1:1/");
    let output = output(&mut drive).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("token store") && !said.contains("t0p"), "{said}");
    assert_eq!((server.counts().calls, server.counts().requests), (0, 0));
}
