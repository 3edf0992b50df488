//! Writes that do not come to their end.

use std::{thread, time::Duration};

use tower_refresh::store::FileStore;

use super::{
    child::{Child, numbered},
    load, save,
};
use crate::stores::support::{Folder, record, secrets};

// S50: a token file that is not whole, not ours or not private is a clear error
#[tokio::test]
async fn a_write_that_is_cut_at_any_byte_leaves_the_old_tokens_or_the_new() {
    let length = serde_json::to_vec(&record(2, "access-2", "refresh-2")).unwrap().len() as u64;
    let (mut old, mut new) = (0, 0);
    for end in 0..=length {
        let folder = Folder::new();
        let store = FileStore::new(folder.join("tokens")).unwrap();
        save(&store, record(1, "access-1", "refresh-1"), None).await;
        // The kernel writes as much as is allowed, and kills at the byte after it.
        let mut child = Child::start("write within", store.path(), end);
        let killed = child.was_killed();
        let read = load(&store).await;
        match secrets(&read) {
            (access, refresh) if access == "access-1" && refresh == "refresh-1" => {
                assert!(killed && end < length, "{end}");
                let cut = std::fs::metadata(folder.join("tokens.tmp")).unwrap().len();
                assert_eq!(cut, end, "it died where it should");
                old += 1;
            }
            (access, refresh) if access == "access-2" && refresh == "refresh-2" => {
                assert!(!killed && end == length, "{end}");
                new += 1;
            }
            other => panic!("{end}: {other:?}"),
        }
        let version = read.version();
        save(&store, record(version + 1, "access-3", "refresh-3"), Some(version)).await;
        assert_eq!(folder.files(), ["tokens", "tokens.lock"], "nothing is left lying about");
    }
    assert_eq!((old, new), (length, 1));
}

// S50: a token file that is not whole, not ours or not private is a clear error
#[tokio::test]
async fn a_write_that_fails_at_any_byte_is_an_error_and_leaves_the_old_tokens() {
    let folder = Folder::new();
    let store = FileStore::new(folder.join("tokens")).unwrap();
    save(&store, record(1, "access-1", "refresh-1"), None).await;
    for end in [0, 1, 50, 100] {
        let ignoring = ["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""];
        let mut child = Child::start_under(&ignoring, "write within", store.path(), end);
        let error = child.says().unwrap();
        assert!(error.contains("make room"), "{error}");
        assert!(child.wait().success());
        assert_eq!(secrets(&load(&store).await).0, "access-1");
        assert_eq!(folder.files(), ["tokens", "tokens.lock"]);
    }
}

/// A process whose token file is on a disk of its own, which is small. `None` if no such disk can be
/// mounted here.
#[cfg(target_os = "linux")]
fn on_a_small_disk(role: &str, folder: &Folder) -> Option<Child> {
    const SMALL_DISK: &str = r#"exec unshare --map-root-user --mount sh -c '
        mount -t tmpfs -o size=192k tmpfs "$(dirname "$STORES_CHILD_PATH")" && exec "$0" "$@"
    ' "$0" "$@""#;
    let wrapper = ["sh", "-c", SMALL_DISK];
    let mut child = Child::start_under(&wrapper, role, &folder.join("tokens"), "");
    if child.says().is_none() {
        eprintln!("skipped: no small disk can be mounted here");
        return None;
    }
    Some(child)
}

// S50: a token file that is not whole, not ours or not private is a clear error
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_and_leaves_the_old_tokens() {
    let folder = Folder::new();
    let Some(mut child) = on_a_small_disk("fill", &folder) else { return };
    let error = child.says().unwrap();
    assert!(error.contains("No space left") && error.contains("make room"), "{error}");
    assert_eq!(child.says().unwrap(), "Stored", "there is room again");
    assert!(child.wait().success());
}

// S102: a disk that is full by the time that an endpoint answers takes the new tokens all the same,
// and one that is full before costs no call.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fills_up_during_a_call_takes_the_new_tokens() {
    let folder = Folder::new();
    let Some(mut child) = on_a_small_disk("refresh and fill", &folder) else { return };
    assert_eq!(child.says().unwrap(), "true false", "stored, and nothing is unsaved");
    let error = child.says().unwrap();
    assert!(error.contains("make room"), "{error}");
    assert_eq!(child.says().unwrap(), "1", "no call whose answer could not be saved");
    assert_eq!(child.says().unwrap(), "true", "there is room again");
    assert!(child.wait().success());
}

// S50: a token file that is not whole, not ours or not private is a clear error
#[tokio::test]
async fn a_process_killed_at_any_time_has_saved_what_it_said_and_no_half_of_more() {
    let folder = Folder::new();
    let store = FileStore::new(folder.join("tokens")).unwrap();
    let mut mid_write = 0;
    for _ in 0..60 {
        let mut child = Child::start("write", store.path(), "");
        child.says().unwrap();
        thread::sleep(Duration::from_micros(fastrand::u64(..20_000)));
        child.kill();
        let mut said = 0;
        while let Some(version) = child.says() {
            said = version.parse().unwrap();
        }
        let read = load(&store).await;
        let version = read.version();
        assert!(version >= said, "{version} of {said}");
        assert_eq!(secrets(&read), secrets(&numbered(version)), "it is one record, and whole");
        mid_write += usize::from(folder.files().contains(&"tokens.tmp".to_owned()));
    }
    if mid_write == 0 {
        // In memory a write is too short to be hit by chance; another test cuts it at each byte.
        eprintln!("none was killed in the middle of a write: this disk is too quick");
    }
}
