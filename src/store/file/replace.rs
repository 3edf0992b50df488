//! How a new record takes the place of the old one.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    sync::atomic::Ordering,
};

use super::paths::Paths;
use crate::{error::BoxError, store::record::Record};

/// Replaces the record, in steps of which each leaves the old one or the new one whole. Only who
/// has the lock may.
pub(super) fn replace(paths: &Paths, record: &Record) -> Result<(), BoxError> {
    let text = record.to_json()?;
    let replaced = write_new(paths, &text).and_then(|()| fs::rename(&paths.temp, &paths.record));
    if let Err(error) = replaced {
        // If this fails too, the next save does it.
        let _ = fs::remove_file(&paths.temp);
        return Err(paths.failed("write", error));
    }
    // The new name is in the folder, and the folder has to reach the disk as well.
    flush_folder(&paths.folder).map_err(|error| paths.failed("write", error))?;
    paths.had_record.store(true, Ordering::Release);
    Ok(())
}

fn write_new(paths: &Paths, text: &[u8]) -> io::Result<()> {
    let path = &paths.temp;
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
