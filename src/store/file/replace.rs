//! How a new record takes the place of the old one.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    sync::atomic::Ordering,
};

use super::paths::Paths;
use crate::{error::BoxError, store::record::Record};

/// What a new record may take at most on a disk that is full when it comes.
const RESERVE: usize = 64 * 1024;

/// Replaces the record by one with other tokens. On a full disk it takes the room that was reserved
/// when the record was leased: the refresh token before these is used up by now.
pub(super) fn replace(paths: &Paths, record: &Record) -> Result<(), BoxError> {
    let text = record.to_json()?;
    let replaced = match put(paths, &text) {
        Err(error) if is_full(&error) && fs::remove_file(&paths.reserve).is_ok() => {
            put(paths, &text)
        }
        replaced => replaced,
    };
    replaced.map_err(|error| paths.failed("write", error))
}

/// Replaces the record by the same with a lease, and reserves room for what the call will bring.
/// On a full disk this fails, and leaves the reserve alone: no call is made then.
pub(super) fn lease(paths: &Paths, record: &Record) -> Result<(), BoxError> {
    let text = record.to_json()?;
    let leased = reserve(paths).and_then(|()| put(paths, &text));
    leased.map_err(|error| paths.failed("write", error))
}

/// In steps of which each leaves the old record or the new one whole. Only the holder of the lock
/// may.
fn put(paths: &Paths, text: &[u8]) -> io::Result<()> {
    let put =
        write_new(paths, &paths.temp, text).and_then(|()| fs::rename(&paths.temp, &paths.record));
    if put.is_err() {
        // If this fails too, the next save does it.
        let _ = fs::remove_file(&paths.temp);
    }
    put?;
    // The new name is in the folder, and the folder has to reach the disk as well.
    flush_folder(&paths.folder)?;
    paths.had_record.store(true, Ordering::Release);
    Ok(())
}

fn reserve(paths: &Paths) -> io::Result<()> {
    let path = &paths.reserve;
    let is_there = |found: fs::Metadata| found.is_file() && found.len() == RESERVE as u64;
    if fs::symlink_metadata(path).is_ok_and(is_there) {
        return Ok(());
    }
    // A file system that compresses would give zeros no room.
    let mut filler = vec![0; RESERVE];
    fastrand::fill(&mut filler);
    let reserved = write_new(paths, path, &filler);
    if reserved.is_err() {
        let _ = fs::remove_file(path);
    }
    reserved
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn write_new(paths: &Paths, path: &Path, text: &[u8]) -> io::Result<()> {
    // A process may have died here. What it left must not be followed if it is a link, nor keep
    // the mode that it may have been given.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = paths.private().create_new(true).open(path)?;
    paths.share(&file)?;
    file.write_all(text)?;
    file.sync_all()
}

#[cfg(unix)]
fn flush_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

/// Elsewhere a folder cannot be opened as a file.
#[cfg(not(unix))]
fn flush_folder(_: &Path) -> io::Result<()> {
    Ok(())
}
