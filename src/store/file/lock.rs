//! The lock under which the files of a store change.

use std::{
    fs::{File, OpenOptions},
    io,
};

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
        let file = paths.private().create(true).truncate(false).open(&paths.lock);
        let file = file.map_err(failed)?;
        if paths.group {
            // It belongs to whichever user came first.
            let _ = paths.share(&file);
        }
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

impl Paths {
    /// To make a file that only its owner can read.
    pub(super) fn private(&self) -> OpenOptions {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options
    }

    /// Lets the file's group use it too, if that is wanted. The mode that a file is made with does
    /// not say so, as the process may mask it.
    pub(super) fn share(&self, file: &File) -> io::Result<()> {
        #[cfg(unix)]
        if self.group {
            use std::{fs::Permissions, os::unix::fs::PermissionsExt};
            file.set_permissions(Permissions::from_mode(0o660))?;
        }
        let _ = file;
        Ok(())
    }
}
