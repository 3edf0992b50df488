//! The picture of a run.

use std::{fs, path::Path};

use tempfile::tempdir;
use tokio::process::Command;
use tower_refresh::testing::{AuthServer, Login};

use super::support::{drive, finish, output, report, start};

/// How often each shape is in a picture, the legend's own among them.
#[derive(Debug, PartialEq, Eq)]
struct Shapes {
    answers: usize,
    lines: usize,
    refreshes: usize,
    refusals: usize,
    failures: usize,
}

impl Shapes {
    fn of(svg: &str) -> Self {
        let count = |tag: &str, color: &str| {
            let tags = svg.lines().filter(|line| line.starts_with(tag));
            tags.filter(|line| line.contains(color)).count()
        };
        Self {
            answers: count("<circle", "fill=\"#0072B2\""),
            lines: count("<polyline", "stroke=\"#0072B2\""),
            refreshes: count("<polygon", "fill=\"#009E73\""),
            // Two strokes make a cross.
            refusals: count("<line", "stroke=\"#D55E00\"") / 2,
            failures: count("<rect", "fill=\"#24292F\""),
        }
    }
}

fn plotted(server: &AuthServer, login: &Login, file: &Path) -> Command {
    let url = format!("{}/orders?api_key=t0p", server.api_url());
    let mut drive = drive("json", &server.refresh_url(), &url);
    drive.env("REFRESH_TOKEN", &login.refresh_token).env("ACCESS_TOKEN", &login.access_token);
    drive.arg("--plot").arg(file);
    drive
}

fn read(file: &Path) -> String {
    let svg = fs::read_to_string(file).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
    assert!(!svg.contains("t0p"), "a query may be a secret: {svg}");
    svg
}

#[tokio::test]
async fn the_picture_marks_the_refreshes_and_the_refusals() {
    let server = AuthServer::builder().rotate(true).start().await.unwrap();
    let folder = tempdir().unwrap();
    let file = folder.path().join("run.svg");

    let mut quiet = plotted(&server, &server.log_in(), &file);
    let (quiet, code) = report(quiet.args(["-n", "40"])).await;
    assert_eq!((code, quiet.refreshes), (0, 0));
    let legend = Shapes { answers: 1, lines: 0, refreshes: 1, refusals: 1, failures: 0 };
    assert_eq!(Shapes::of(&read(&file)), Shapes { answers: 41, ..legend });

    let mut revoked = plotted(&server, &server.log_in(), &file);
    let run = start(revoked.args(["-n", "200", "--rate", "400", "-c", "4"]));
    server.reached(|counts| counts.requests >= 40 + 50).await;
    server.revoke_access_tokens();
    let (report, code) = finish(run).await;
    assert_eq!((code, report.refreshes), (0, 1));
    let svg = read(&file);
    let Shapes { answers, refreshes, refusals, failures, .. } = Shapes::of(&svg);
    assert_eq!((answers, refreshes, failures), (201, 2, 0), "{svg}");
    // Those of one moment share a mark.
    assert!((2..=5).contains(&refusals), "{svg}");
    let refused = match server.counts().refused {
        1 => "1 refusal (401)".to_owned(),
        more => format!("{more} refusals (401)"),
    };
    let title = format!("GET {}/orders", server.api_url());
    for text in [&title, "200 requests in ", "1 refresh", &refused, "latency", "(ms)", "time"] {
        assert!(svg.contains(text), "{text}: {svg}");
    }
}

#[tokio::test]
async fn the_picture_does_not_grow_with_the_run() {
    let server = AuthServer::start().await.unwrap();
    let folder = tempdir().unwrap();
    let file = folder.path().join("run.svg");
    let mut drive = plotted(&server, &server.log_in(), &file);
    let (report, code) = report(drive.args(["-n", "2500", "-c", "16"])).await;
    assert_eq!((code, report.ok), (0, 2500));
    let svg = read(&file);
    // No circles in the answers' colour any more: there are too many to draw one by one.
    let Shapes { answers, lines, .. } = Shapes::of(&svg);
    assert!(answers == 0 && lines >= 2 && svg.contains("p50"), "{svg}");
    assert!(svg.len() < 100_000, "{} bytes", svg.len());
}

#[tokio::test]
async fn a_run_without_an_answer_has_a_picture_of_its_failures() {
    let server = AuthServer::start().await.unwrap();
    let folder = tempdir().unwrap();
    let file = folder.path().join("run.svg");
    let mut drive = plotted(&server, &server.log_in(), &file);
    drive.env_remove("ACCESS_TOKEN");
    server.revoke_all();
    let (report, code) = report(drive.args(["-n", "20"])).await;
    assert_eq!((code, report.ok), (1, 0));
    let svg = read(&file);
    assert!(svg.contains("20 failed requests") && Shapes::of(&svg).failures >= 2, "{svg}");
    assert!(svg.contains("no request was answered"), "{svg}");
}

#[tokio::test]
async fn a_run_that_does_not_begin_leaves_the_folder_as_it_was() {
    let server = AuthServer::start().await.unwrap();
    let folder = tempdir().unwrap();
    let (older, new) = (folder.path().join("older.svg"), folder.path().join("new.svg"));
    fs::write(&older, "a picture").unwrap();
    for file in [&older, &new] {
        let mut drive = plotted(&server, &server.log_in(), file);
        drive.env_remove("ACCESS_TOKEN").env_remove("REFRESH_TOKEN");
        let empty = folder.path().join("tokens.json");
        let output = output(drive.arg(format!("--store=file:{}", empty.display()))).await;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    }
    assert_eq!(fs::read_to_string(&older).unwrap(), "a picture");
    assert!(!new.exists());
    assert_eq!(server.counts().requests, 0);
}

#[tokio::test]
async fn a_folder_is_no_file() {
    let server = AuthServer::start().await.unwrap();
    let folder = tempfile::Builder::new().suffix(".svg").tempdir().unwrap();
    let output = output(&mut plotted(&server, &server.log_in(), folder.path())).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), server.counts().requests), (Some(2), 0), "{said}");
    assert!(said.contains("is a folder"), "{said}");
}
