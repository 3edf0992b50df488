//! The lock under which the files of a store change.

use std::fs::{File, OpenOptions};

use fs4::{FileExt, TryLockError};

use super::paths::Paths;
use crate::error::BoxError;

/// Held for one read and one write, and given back on drop, or by the operating system when the
/// process dies.
///
/// It is on a file of its own, which is never replaced: a process that locked a file which is
/// replaced later would hold the lock on something that no other process looks at. The lock belongs
/// to the opened file, so two stores in one process exclude each other as two processes do.
pub(super) struct Lock(File);

impl Lock {
    /// The lock, unless another has it. Never waits: a thread that waits cannot be called back.
    pub(super) fn try_take(paths: &Paths) -> Result<Option<Self>, BoxError> {
        let failed = |error| paths.failed("lock", error);
        let file = private().create(true).truncate(false).open(&paths.lock).map_err(failed)?;
        // Named through the trait, because newer versions of Rust have a method of the same name
        // and another type.
        match FileExt::try_lock(&file) {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file does it too, unless another thread is about to start a program: then
        // the child has the file open until it becomes that program.
        let _ = FileExt::unlock(&self.0);
    }
}

/// To open a file that only its owner can read.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}
