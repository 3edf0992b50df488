//! The lock under which the files of a store change.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, Write},
};

use fs4::{FileExt, TryLockError};
use serde::{Deserialize, Serialize};

use super::paths::Paths;
use crate::error::BoxError;

/// Held for one read and one write, and given back on drop, or by the operating system when the
/// process dies.
///
/// It is on a file of its own, which is never replaced: who locked a file that is replaced later
/// would hold the lock on something that nobody else looks at. The lock belongs to the opened
/// file, so two stores in one process exclude each other as two processes do.
pub(super) struct Lock {
    file: Locked,
}

/// Who took the lease last, written in the lock file.
#[derive(Serialize, Deserialize)]
pub(super) struct Holder {
    pub(super) owner: String,
    /// Milliseconds since the Unix epoch.
    pub(super) until: u64,
    /// Milliseconds.
    pub(super) life: u64,
}

impl Lock {
    /// The lock, unless somebody has it. Never waits: a thread that waits cannot be called back.
    pub(super) fn try_take(paths: &Paths) -> Result<Option<Self>, BoxError> {
        let file = private().create(true).truncate(false).open(&paths.lock);
        let file = file.map_err(|error| paths.failed("lock", error))?;
        let locked = Locked::try_lock(file).map_err(|error| paths.failed("lock", error))?;
        Ok(locked.map(|file| Self { file }))
    }

    /// Who took the lease last. What cannot be read was written by a process that died over it: then
    /// nobody does.
    pub(super) fn holder(&mut self) -> io::Result<Option<Holder>> {
        let mut text = Vec::new();
        let mut file = &self.file.0;
        file.rewind()?;
        file.take(MOST).read_to_end(&mut text)?;
        Ok(serde_json::from_slice(&text).ok())
    }

    pub(super) fn set_holder(&mut self, holder: &Holder) -> io::Result<()> {
        let text = serde_json::to_vec(holder)?;
        let mut file = &self.file.0;
        file.rewind()?;
        file.write_all(&text)?;
        file.set_len(text.len() as u64)
    }
}

/// A file that nobody else has locked. The lock ends with this.
pub(super) struct Locked(File);

impl Locked {
    /// Locks `file`, unless somebody has.
    pub(super) fn try_lock(file: File) -> io::Result<Option<Self>> {
        // Named through the trait, because newer versions of Rust have a method of the same name
        // and another type.
        match FileExt::try_lock(&file) {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing the file does it too, unless another thread is about to start a program: then
        // the child has the file open until it becomes that program.
        let _ = FileExt::unlock(&self.0);
    }
}

/// To open a file that nobody else can read.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// More than any holder takes, in bytes.
const MOST: u64 = 64 * 1024;
