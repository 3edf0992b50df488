//! What a store puts in its folder.

use std::{fs, os::unix::fs::symlink};

use tower_refresh::{
    Session,
    store::{FileStore, TokenStore},
    testing::GatedEndpoint,
};

use super::{load, mode, put, save, set_mode};
use crate::stores::support::{Folder, record, secrets};

#[tokio::test]
async fn all_its_files_are_the_owners_alone() {
    let folder = Folder::new();
    let store = FileStore::new(folder.join("tokens")).unwrap();
    assert!(folder.files().is_empty(), "nothing is made before it is needed");
    assert!(store.load().await.unwrap().is_none());
    assert!(folder.files().is_empty(), "reading makes nothing");
    save(&store, record(1, "access", "refresh"), None).await;
    save(&store, record(2, "access", "refresh"), Some(1)).await;
    // A refresh, with its lease, leaves nothing else.
    let session = Session::builder(GatedEndpoint::new()).store(store).build();
    session.refresh().await.unwrap();
    assert_eq!(folder.files(), ["tokens", "tokens.lock"]);
    for file in folder.files() {
        assert_eq!(mode(&folder.join(&file)), 0o600, "{file}");
        let text = fs::read_to_string(folder.join(&file)).unwrap();
        assert!(file == "tokens" || !text.contains("refresh"), "{file}");
    }
}

#[tokio::test]
async fn what_a_dead_process_left_is_replaced_and_not_followed() {
    let folder = Folder::new();
    let (victim, temp) = (folder.join("victim"), folder.join("tokens.tmp"));
    put(&victim, "untouched");
    let store = FileStore::new(folder.join("tokens")).unwrap();
    save(&store, record(1, "access-1", "refresh-1"), None).await;

    put(&temp, "half a rec");
    set_mode(&temp, 0o666);
    assert_eq!(secrets(&load(&store).await).0, "access-1");
    save(&store, record(2, "access-2", "refresh-2"), Some(1)).await;
    assert_eq!(mode(store.path()), 0o600);

    symlink(&victim, &temp).unwrap();
    save(&store, record(3, "access-3", "refresh-3"), Some(2)).await;
    assert_eq!(secrets(&load(&store).await).0, "access-3");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    assert_eq!(folder.files(), ["tokens", "tokens.lock", "victim"]);
}

#[tokio::test]
async fn what_is_in_the_lock_file_does_not_matter() {
    let folder = Folder::new();
    let store = FileStore::new(folder.join("tokens")).unwrap();
    put(&folder.join("tokens.lock"), "{\"owner\":\"so");
    save(&store, record(1, "access-1", "refresh-1"), None).await;
    assert_eq!(load(&store).await.version(), 1);
}

#[tokio::test]
async fn all_ways_to_a_file_lead_to_one_store() {
    let folder = Folder::new();
    fs::create_dir(folder.join("real")).unwrap();
    symlink(folder.join("real"), folder.join("folder")).unwrap();
    symlink("real/tokens", folder.join("link")).unwrap();
    let dangling = FileStore::new(folder.join("link")).unwrap_err().to_string();
    assert!(dangling.contains("leads nowhere"), "{dangling}");

    let real = FileStore::new(folder.join("real/tokens")).unwrap();
    save(&real, record(1, "access-1", "refresh-1"), None).await;
    for way in ["link", "folder/tokens", "real/../folder/tokens"] {
        let other = FileStore::new(folder.join(way)).unwrap();
        assert_eq!(other.path(), real.path());
        assert_eq!(load(&other).await.version(), 1, "{way}");
    }

    let link = FileStore::new(folder.join("link")).unwrap();
    save(&link, record(2, "access-2", "refresh-2"), Some(1)).await;
    assert!(fs::symlink_metadata(folder.join("link")).unwrap().is_symlink(), "it stays a link");
    assert_eq!(load(&real).await.version(), 2);
}
