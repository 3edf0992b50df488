//! What may be read from the file.
//!
//! Errors never quote what was read, nor what the parser says of it: that may be half a token.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    sync::atomic::Ordering,
};

use zeroize::Zeroizing;

use super::paths::{Paths, failure};
use crate::{
    error::BoxError,
    store::record::{Record, Unreadable},
};

/// A file larger than this holds something else.
const LARGEST: u64 = 16 * 1024 * 1024;

/// The record, if there is one.
pub(super) fn read(paths: &Paths) -> Result<Option<Record>, BoxError> {
    let mut file = match File::open(&paths.record) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound && paths.folder.is_dir() => {
            return Ok(None);
        }
        Err(error) => return Err(paths.failed("read", error)),
    };
    let metadata = file.metadata().map_err(|error| paths.failed("read", error))?;
    check(paths, &metadata)?;
    // Large enough that it need not grow: what it would leave behind is not wiped.
    let room = usize::try_from(metadata.len()).unwrap_or_default() + 1;
    let mut text = Zeroizing::new(Vec::with_capacity(room));
    file.read_to_end(&mut text).map_err(|error| paths.failed("read", error))?;
    // One that a platform or an installer has made beforehand. A file that has lost its record is
    // damage, and must not pass for a log-out.
    if text.trim_ascii().is_empty() && !paths.had_record.load(Ordering::Acquire) {
        return Ok(None);
    }
    let record = parse(paths, &text)?;
    paths.had_record.store(true, Ordering::Release);
    Ok(Some(record))
}

fn check(paths: &Paths, metadata: &Metadata) -> Result<(), BoxError> {
    let path = &paths.record;
    if !metadata.is_file() {
        return Err(failure(format!("the token file {path:?} is no file")));
    }
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777;
        let (others, private) = if paths.group { (0o007, "660") } else { (0o077, "600") };
        if mode & others != 0 {
            let on_purpose = match mode & 0o007 {
                0 => ". If its group is to use it, permit that with `FileStore::group_access`",
                _ => "",
            };
            return Err(failure(format!(
                "the token file {path:?} can be read or written by others (mode {mode:04o}): run \
                 `chmod {private} {path:?}`, and log in again if another user may have read \
                 it{on_purpose}"
            )));
        }
    }
    if metadata.len() > LARGEST {
        return Err(failure(format!("the token file {path:?} is too large to hold tokens")));
    }
    Ok(())
}

fn parse(paths: &Paths, text: &[u8]) -> Result<Record, BoxError> {
    let path = &paths.record;
    let hint = "restore it, or delete it and log in again";
    if text.trim_ascii().is_empty() {
        return Err(failure(format!("the token file {path:?} is empty: {hint}")));
    }
    Record::from_json(text).map_err(|error| match error {
        Unreadable::Damaged { line, .. } => {
            failure(format!("the token file {path:?} is damaged at line {line}: {hint}"))
        }
        Unreadable::CutOff => failure(format!("the token file {path:?} is cut off: {hint}")),
        Unreadable::Foreign => {
            failure(format!("the file {path:?} {error}: name another file, or move it away"))
        }
        _ => failure(format!("the token file {path:?} {error}")),
    })
}
