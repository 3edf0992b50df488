//! The first thing that a newcomer runs.

use super::support::{example, output};

#[tokio::test]
async fn the_quickstart_works_without_a_terminal_and_loses_no_request() {
    let mut quickstart = example("quickstart");
    let output = output(quickstart.kill_on_drop(true)).await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{said}");
    assert!(!said.contains('\x1b') && !said.contains('\r'), "{said}");
    let figure = |name: &str| {
        let row = said.lines().find_map(|line| line.strip_prefix(name));
        row.and_then(|row| row.split_whitespace().next()).expect("a figure").to_owned()
    };
    assert_eq!((&*figure("failed"), &*figure("refresh token reuse")), ("0", "0"), "{said}");
    assert_ne!(figure("refreshes"), "0", "{said}");
    assert!(said.ends_with("No request failed, and no task knew that there are tokens.\n"));
}
