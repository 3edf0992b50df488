//! Ctrl-C, at any time. Linux only, as it is `/proc` that says when a process listens for it.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::tempdir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
    time::{sleep, timeout},
};
use tower_refresh::testing::AuthServer;

use super::support::{SOON, drive, example, finish, json_drive, report, start};

fn ctrl_c(run: &Child) {
    kill_process(pid(run), Signal::INT).unwrap();
}

fn pid(run: &Child) -> Pid {
    Pid::from_raw(run.id().expect("it runs") as i32).unwrap()
}

/// Until then the signal would end it as it ends any program.
async fn listens(run: &Child) {
    let status = format!("/proc/{}/status", pid(run).as_raw_nonzero());
    let caught = || {
        let status = fs::read_to_string(&status).expect("it runs");
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let mask = u64::from_str_radix(mask.expect("Linux tells").trim(), 16).unwrap();
        mask & 1 << (Signal::INT.as_raw() - 1) != 0
    };
    let listens = async {
        while !caught() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, listens).await.expect("it listens");
}

/// Waits until a second Ctrl-C would be heard too.
async fn stops(run: &mut Child) {
    let mut lines = BufReader::new(run.stderr.as_mut().unwrap()).lines();
    let line = timeout(SOON, lines.next_line()).await.expect("a line").unwrap();
    assert!(line.unwrap().contains("Ctrl-C again ends at once"));
}

#[tokio::test]
async fn an_interrupt_ends_the_load_with_the_summary_and_the_picture() {
    let server = AuthServer::start().await.unwrap();
    let login = server.log_in();
    let folder = tempdir().unwrap();
    let picture = folder.path().join("run.svg");
    let mut drive = json_drive(&server, &login);
    let run = start(drive.args(["-d", "600", "--rate", "200"]).arg("--plot").arg(&picture));
    listens(&run).await;
    server.reached(|counts| counts.requests >= 20).await;
    // One that is under way has no outcome.
    server.delay_api(SOON);
    let seen = server.counts().requests;
    server.reached(|counts| counts.requests > seen).await;

    ctrl_c(&run);
    let (report, code) = finish(run).await;
    assert_eq!(code, 130);
    assert!(report.requests >= 18 && report.ok == report.requests, "{report:?}");
    assert!(report.requests < server.counts().requests && report.elapsed_s < 60.0);
    let svg = fs::read_to_string(picture).unwrap();
    let how_it_went = format!("{} requests in ", report.requests);
    assert!(svg.contains(&how_it_went) && svg.contains("stopped by Ctrl-C"), "{svg}");
}

#[tokio::test]
async fn an_interrupt_waits_for_a_refresh_under_way_and_its_token_is_kept() {
    let server = AuthServer::builder().rotate(true).start().await.unwrap();
    let login = server.log_in();
    let folder = tempdir().unwrap();
    let store = format!("file:{}", folder.path().join("tokens.json").display());
    let hold = server.hold();
    let mut run = start(json_drive(&server, &login).args(["--store", &store]));
    listens(&run).await;
    server.calls_reached(1).await;

    ctrl_c(&run);
    stops(&mut run).await;
    hold.release();
    let (stopped, code) = finish(run).await;
    assert_eq!((code, stopped.refreshes), (130, 1));

    // The token in the environment is spent: only its successor is of use.
    let (next, code) =
        report(json_drive(&server, &login).args(["--store", &store, "-n", "10"])).await;
    assert_eq!((code, next.ok), (0, 10));
    assert_eq!(server.counts().reuses, 0);
}

#[tokio::test]
async fn the_second_ends_it_at_once() {
    let server = AuthServer::start().await.unwrap();
    let login = server.log_in();
    let _held = server.hold();
    let mut drive = drive("json", &server.refresh_url(), &server.api_url());
    let mut run = drive.env("REFRESH_TOKEN", &login.refresh_token).spawn().unwrap();
    listens(&run).await;
    server.calls_reached(1).await;
    ctrl_c(&run);
    stops(&mut run).await;
    ctrl_c(&run);
    let output = timeout(SOON, run.wait_with_output()).await.expect("an end").unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(output.stdout.is_empty(), "there was no time for a summary");
}

#[tokio::test]
async fn quickstart_stops_with_its_summary() {
    let mut quickstart = example("quickstart");
    let quickstart = quickstart.stdout(std::process::Stdio::piped()).kill_on_drop(true);
    let run = quickstart.spawn().unwrap();
    listens(&run).await;
    ctrl_c(&run);
    let output = timeout(SOON, run.wait_with_output()).await.expect("an end").unwrap();
    let summary = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(130), "{summary}");
    assert!(summary.contains("requests ") && summary.contains("Stopped by Ctrl-C"), "{summary}");
    // The revocation was still to come, unless this machine is slow.
    let retries = summary.lines().find(|line| line.starts_with("retries after 401")).unwrap();
    assert!(!retries.contains(" 0 "), "there is nothing to say of none: {retries}");
}

/// A `redis-server` that says who it is and never answers, so that the fleet waits for it.
const DEAF_REDIS: &str =
    "#!/bin/sh\necho $$ > \"$TMPDIR/new\"\nmv \"$TMPDIR/new\" \"$TMPDIR/pid\"\nexec sleep 600\n";

/// Ended with the test, in case the fleet has left it behind.
struct Left(Pid);

impl Drop for Left {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

#[tokio::test]
async fn a_fleet_that_is_stopped_while_it_starts_leaves_no_redis_behind() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let (programs, temporary) = (tempdir().unwrap(), tempdir().unwrap());
        let redis = programs.path().join("redis-server");
        fs::write(&redis, DEAF_REDIS).unwrap();
        fs::set_permissions(&redis, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", programs.path().display(), std::env::var("PATH").unwrap());
        let mut fleet = example("fleet");
        fleet.env("PATH", path).env("TMPDIR", temporary.path()).kill_on_drop(true);
        let mut run = fleet.spawn().unwrap();

        let redis = timeout(SOON, async {
            loop {
                if let Ok(pid) = fs::read_to_string(temporary.path().join("pid")) {
                    break Left(Pid::from_raw(pid.trim().parse().unwrap()).unwrap());
                }
                sleep(Duration::from_millis(5)).await;
            }
        });
        let redis = redis.await.expect("it starts a server");
        kill_process(pid(&run), signal).unwrap();
        let ended = timeout(SOON, run.wait()).await.expect("an end").unwrap();
        assert!(test_kill_process(redis.0).is_err(), "the server still runs after {signal:?}");
        assert_eq!(ended.code(), Some(130), "{signal:?}");
        let left = fs::read_dir(temporary.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = left.filter(|name| name != "pid").collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
