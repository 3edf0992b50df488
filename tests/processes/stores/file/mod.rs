//! A file, its neighbours and its processes.

mod child;
mod crash;
mod damage;
mod folder;
mod processes;
mod rounded;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use tower_refresh::store::{FileStore, Record, SaveOutcome, TokenStore};

async fn save(store: &FileStore, record: Record, expected: Option<u64>) {
    assert_eq!(store.save(record, expected).await.unwrap(), SaveOutcome::Stored);
}

async fn load(store: &FileStore) -> Record {
    store.load().await.unwrap().expect("there is a record")
}

/// Writes what nobody's save would have written.
fn put(path: &Path, text: impl AsRef<[u8]>) {
    fs::write(path, text).unwrap();
    set_mode(path, 0o600);
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}
