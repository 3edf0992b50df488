//! What a store puts in its folder.

use std::{fs, os::unix::fs::symlink, time::Duration};

use tower_refresh::store::{FileStore, TokenStore};

use super::{load, mode, put, save, set_mode};
use crate::support::{Folder, record, secrets};

const LIFE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn all_its_files_are_the_owners_alone() {
    let folder = Folder::new();
    let store = FileStore::new(folder.join("tokens")).unwrap();
    assert!(folder.files().is_empty(), "nothing is made before it is needed");
    assert!(store.load().await.unwrap().is_none());
    assert!(folder.files().is_empty(), "reading makes nothing");
    save(&store, record(1, "access", "refresh"), None).await;
    save(&store, record(2, "access", "refresh"), Some(1)).await;
    assert!(store.lease("me", LIFE).await.unwrap());
    assert_eq!(folder.files(), ["tokens", "tokens.lease", "tokens.lock"]);
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
async fn a_lock_file_of_nonsense_is_nobodys_lease() {
    let folder = Folder::new();
    let store = FileStore::new(folder.join("tokens")).unwrap();
    for nonsense in ["{\"owner\":\"so", "\0\0\0", "[]"] {
        put(&folder.join("tokens.lock"), nonsense.repeat(40));
        assert!(store.lease("me", LIFE).await.unwrap(), "{nonsense}");
        assert!(!store.lease("another", LIFE).await.unwrap(), "{nonsense}");
        store.release("me").await.unwrap();
    }
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
    assert!(real.lease("me", LIFE).await.unwrap());
    for way in ["link", "folder/tokens", "real/../folder/tokens"] {
        let other = FileStore::new(folder.join(way)).unwrap();
        assert_eq!(other.path(), real.path());
        assert!(!other.lease("another", LIFE).await.unwrap(), "{way}");
    }

    let link = FileStore::new(folder.join("link")).unwrap();
    save(&link, record(2, "access-2", "refresh-2"), Some(1)).await;
    assert!(fs::symlink_metadata(folder.join("link")).unwrap().is_symlink(), "it stays a link");
    assert_eq!(load(&real).await.version(), 2);
}

#[tokio::test]
async fn the_lease_of_a_store_that_is_gone_is_free() {
    let folder = Folder::new();
    let store = || FileStore::new(folder.join("tokens")).unwrap();
    let (one, two) = (store(), store());
    assert!(one.lease("one", LIFE).await.unwrap());
    assert!(!two.lease("two", LIFE).await.unwrap());
    drop(one);
    assert!(two.lease("two", LIFE).await.unwrap());
}

#[tokio::test]
async fn a_lease_from_a_clock_that_was_set_back_is_free() {
    let folder = Folder::new();
    let store = || FileStore::new(folder.join("tokens")).unwrap();
    let (one, two) = (store(), store());
    assert!(one.lease("one", LIFE).await.unwrap());
    let lock = folder.join("tokens.lock");
    let mut holder: serde_json::Value = serde_json::from_slice(&fs::read(&lock).unwrap()).unwrap();
    holder["until"] = (holder["until"].as_u64().unwrap() + 3_600_000).into();
    put(&lock, holder.to_string());
    assert!(two.lease("two", LIFE).await.unwrap());
    assert!(!one.lease("one", LIFE).await.unwrap(), "who held it notices");
}
