//! A file that holds no whole record: a clear error, and nothing is written over it.

use std::{fs, path::Path};

use tower_refresh::store::{FileStore, TokenStore};

use super::{load, mode, put, save, set_mode};
use crate::stores::support::{Folder, record, secrets};

/// What using the file says. Whatever it is, nothing was written and no secret shown.
async fn complaint(path: &Path) -> String {
    let store = FileStore::new(path).unwrap();
    let before = fs::read(path).unwrap();
    let read = store.load().await.unwrap_err();
    for expected in [None, Some(1), Some(7)] {
        let error = store.save(record(8, "new", "new"), expected).await.unwrap_err();
        assert_eq!(error.to_string(), read.to_string());
    }
    assert_eq!(fs::read(path).unwrap(), before, "it is left as it is");
    let message = read.to_string();
    let shown = format!("{message} {read:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(message.contains(path.to_str().unwrap()), "{message}");
    message
}

// S50: a token file that is not whole, not ours or not private is a clear error
#[tokio::test]
async fn a_file_cut_off_at_any_byte_is_an_error_and_never_half_a_token() {
    let (folder, path) = tokens();
    let whole = serde_json::to_vec(&record(7, "s3cret-access", "s3cret-refresh")).unwrap();
    for end in 1..whole.len() {
        put(&path, &whole[..end]);
        let complaint = complaint(&path).await;
        assert!(complaint.contains("cut off"), "{end}: {complaint}");
        assert!(complaint.contains("log in again"), "{complaint}");
    }
    put(&path, &whole);
    let read = load(&FileStore::new(&path).unwrap()).await;
    assert_eq!(secrets(&read).0, "s3cret-access");
    drop(folder);
}

// S50: a token file that is not whole, not ours or not private is a clear error
#[tokio::test]
async fn another_programs_file_is_named_as_such() {
    let (_folder, path) = tokens();
    for (text, said) in [
        ("s3cret", "something else"),
        (r#""s3cret""#, "something else"),
        ("[1, 2]", "something else"),
        ("{}", "something else"),
        (r#"{"token":"s3cret"}"#, "something else"),
        (r#"{"format":"s3cret/9","version":1,"tokens":null}"#, "something else"),
        ("\u{0}\u{1}", "something else"),
        (r#"{"format":"tower-refresh/2","anything":"s3cret"}"#, "newer version"),
        (r#"{"format":"tower-refresh/1","version":"s3cret"}"#, "damaged"),
        (r#"{"format":"tower-refresh/1","version":1,"tokens":"s3cret"}"#, "damaged"),
        (r#"{"format":"tower-refresh/1","version":1,"tokens":null} s3cret"#, "something else"),
    ] {
        put(&path, text);
        let complaint = complaint(&path).await;
        assert!(complaint.contains(said), "{text}: {complaint}");
    }
}

// S50: a token file that is not whole, not ours or not private is a clear error
#[tokio::test]
async fn a_file_that_others_can_use_is_refused_until_it_is_mended_as_the_error_says() {
    let (_folder, path) = tokens();
    put(&path, serde_json::to_vec(&record(7, "s3cret", "s3cret")).unwrap());
    for mode in [0o644, 0o640, 0o620, 0o604, 0o602, 0o666, 0o777] {
        set_mode(&path, mode);
        let complaint = complaint(&path).await;
        let (_, command) = complaint.split_once("run `").expect("it gives a command");
        let (command, _) = command.split_once('`').unwrap();
        assert!(command.starts_with("chmod 600 "), "{command}");
        let mended = std::process::Command::new("sh").args(["-c", command]).status();
        assert!(mended.unwrap().success());
        load(&FileStore::new(&path).unwrap()).await;
    }
}

// S50: a token file that is not whole, not ours or not private is a clear error
#[tokio::test]
async fn what_is_no_file_is_refused() {
    let (folder, path) = tokens();
    let error = FileStore::new(folder.path()).unwrap_err().to_string();
    assert!(error.contains("is a folder") && error.contains("tokens.json"), "{error}");
    let error = FileStore::new("/dev/null").unwrap_err().to_string();
    assert!(error.contains("neither a file"), "{error}");
    for nameless in ["", "..", "/"] {
        FileStore::new(nameless).unwrap_err();
    }

    let store = FileStore::new(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(store.load().await.unwrap_err().to_string().contains("is no file"));
    store.save(record(1, "a", "r"), None).await.unwrap_err();
}

// S50: a token file that is not whole, not ours or not private is a clear error
#[tokio::test]
async fn a_missing_folder_is_named_with_what_makes_it() {
    let (folder, _) = tokens();
    let missing = folder.join("not there");
    let error = FileStore::new(missing.join("tokens")).unwrap_err().to_string();
    let command = format!("mkdir -p -m 700 {missing:?}");
    assert!(error.contains(&command), "{error}");

    fs::create_dir(&missing).unwrap();
    let store = FileStore::new(missing.join("tokens")).unwrap();
    save(&store, record(1, "access", "refresh"), None).await;
    fs::remove_dir_all(&missing).unwrap();
    for error in [
        store.load().await.unwrap_err(),
        store.save(record(2, "access", "refresh"), Some(1)).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains(&command), "{error}");
    }
}

#[test]
fn without_a_runtime_it_is_an_error_and_no_panic() {
    use futures::FutureExt;

    let (_folder, path) = tokens();
    let store = FileStore::new(path).unwrap();
    let error = store.load().now_or_never().unwrap().unwrap_err();
    assert!(error.to_string().contains("runtime"), "{error}");
    store.save(record(1, "a", "r"), None).now_or_never().unwrap().unwrap_err();
}

fn tokens() -> (Folder, std::path::PathBuf) {
    let folder = Folder::new();
    let path = folder.join("tokens");
    (folder, path)
}

// S141: a token file that is mounted, shared with its group or empty is what its user can expect
#[tokio::test]
async fn a_file_that_its_group_can_use_is_refused_unless_that_is_permitted() {
    let (folder, path) = tokens();
    put(&path, serde_json::to_vec(&record(7, "s3cret", "s3cret")).unwrap());
    set_mode(&path, 0o660);
    let complaint = complaint(&path).await;
    assert!(complaint.contains("FileStore::group_access"), "{complaint}");

    let store = FileStore::new(&path).unwrap().group_access();
    assert_eq!(load(&store).await.version(), 7);
    save(&store, record(8, "s3cret", "s3cret"), Some(7)).await;
    for file in folder.files() {
        assert_eq!(mode(&folder.path().join(&file)), 0o660, "{file:?}");
    }
    // All others are refused as before, and what mends that is said.
    set_mode(&path, 0o664);
    let refused = store.load().await.unwrap_err().to_string();
    assert!(refused.contains("chmod 660") && !refused.contains("group_access"), "{refused}");
    set_mode(&path, 0o600);
    load(&store).await;
}

// S141: a token file that is mounted, shared with its group or empty is what its user can expect
#[tokio::test]
async fn a_file_that_is_empty_at_the_first_look_is_an_empty_store_and_one_that_becomes_empty_is_not()
 {
    for text in ["", "\n"] {
        let (_folder, path) = tokens();
        put(&path, text);
        let store = FileStore::new(&path).unwrap();
        assert!(store.load().await.unwrap().is_none());
        assert!(store.load().await.unwrap().is_none(), "and at the second, as nothing was there");
        save(&store, record(1, "access", "refresh"), None).await;
        assert_eq!(load(&store).await.version(), 1);

        for seen in [store, FileStore::new(&path).unwrap()] {
            put(&path, serde_json::to_vec(&record(1, "access", "refresh")).unwrap());
            load(&seen).await;
            put(&path, text);
            for error in [
                seen.load().await.unwrap_err(),
                seen.clone().load().await.unwrap_err(),
                seen.save(record(2, "access", "refresh"), None).await.unwrap_err(),
            ] {
                assert!(error.to_string().contains("is empty: restore it"), "{error}");
            }
        }
        // A store that has saved and never read knows it too.
        let (_folder, path) = tokens();
        let store = FileStore::new(&path).unwrap();
        save(&store, record(1, "access", "refresh"), None).await;
        put(&path, text);
        store.load().await.unwrap_err();
    }
}

// S141: a token file that is mounted, shared with its group or empty is what its user can expect
#[tokio::test]
async fn a_file_that_is_a_mount_point_is_named_as_such() {
    let (folder, path) = tokens();
    let host = folder.path().join("host.json");
    put(&host, "");
    put(&path, "");
    let mount = |arguments: &[&std::ffi::OsStr]| {
        let status = std::process::Command::new(arguments[0]).args(&arguments[1..]).status();
        status.is_ok_and(|status| status.success())
    };
    if !mount(&["mount".as_ref(), "--bind".as_ref(), host.as_ref(), path.as_ref()]) {
        eprintln!("SKIPPED: this machine does not let a test mount a file");
        return;
    }
    let store = FileStore::new(&path).unwrap();
    let saved = store.save(record(1, "access", "s3cret"), None).await;
    assert!(mount(&["umount".as_ref(), path.as_ref()]));
    let error = saved.unwrap_err().to_string();
    assert!(error.contains("mount point") && error.contains("mount its folder"), "{error}");
    assert!(!error.contains("s3cret"), "{error}");
}
