use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicUsize, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::json;
use tower_refresh::store::Record;

/// A folder of a test's own, which goes with it.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = path.join(format!("stores-{}-{next}", process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The names of all files in it.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Tokens that are live for an hour.
pub(crate) fn record(version: u64, access: &str, refresh: &str) -> Record {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    serde_json::from_value(json!({
        "format": "tower-refresh/1",
        "version": version,
        "turn": version,
        "tokens": {
            "access_token": access,
            "refresh_token": refresh,
            "obtained_at": now.as_millis() as u64,
            "life": 3_600_000,
        },
    }))
    .unwrap()
}

pub(crate) fn tombstone(version: u64) -> Record {
    serde_json::from_value(
        json!({ "format": "tower-refresh/1", "version": version, "turn": version, "logged_out": true }),
    )
    .unwrap()
}

/// Both tokens as they are in a record.
pub(crate) fn secrets(record: &Record) -> (String, String) {
    let tokens = record.tokens().expect("there are tokens");
    let access = tokens.access_token().unwrap().expose().to_owned();
    (access, tokens.refresh_token().unwrap().expose().to_owned())
}
