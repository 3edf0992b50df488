//! Tokens in a file: one machine, many processes.
//!
//! Read `lock` for how processes keep out of each other's way, `content` for what may be read, and
//! `replace` for how a new record takes the old one's place.

mod content;
mod lock;
mod paths;
mod replace;

use std::{fmt, path::Path, sync::Arc, time::Duration};

use futures_util::future::FutureExt;
use tokio::{runtime::Handle, time::sleep};

use self::{
    lock::Lock,
    paths::{Paths, failure},
};
use super::{BoxFuture, Record, SaveOutcome, TokenStore};
use crate::error::{BoxError, Error};

/// Keeps the tokens in a file, for all processes of one machine that are given the same path.
///
/// ```
/// use tower_refresh::{Session, store::FileStore};
/// # use tower_refresh::{BoxError, endpoint::{RefreshRequest, TokenResponse}};
/// # fn doc(folder: &std::path::Path) -> Result<(), BoxError> {
/// # let endpoint = tower::service_fn(|_: RefreshRequest| async { Ok::<_, BoxError>(TokenResponse::new("t")?) });
///
/// let store = FileStore::new(folder.join("tokens.json"))?;
/// let session = Session::builder(endpoint).store(store).build();
/// # Ok(())
/// # }
/// # doc(&std::env::temp_dir()).unwrap();
/// ```
///
/// # What it promises
///
/// - A reader sees the old record or the new one, whole, whenever a process is killed, the disk is
///   full or the machine loses its power: a record is written beside the file, flushed to the disk
///   and moved into its place.
/// - Saves are compare-and-swap among all tasks and processes, under a lock of the operating
///   system that is held for one read and one write.
/// - Nothing here blocks the runtime: files are used on Tokio's threads for blocking calls, and
///   who waits for a lock sleeps between tries. A call that is dropped starts nothing new; what
///   has begun is finished on its thread, so that a save is done or not begun, and a lock that it
///   took is given back.
///
/// # The files
///
/// | file | |
/// |---|---|
/// | `PATH` | the record, in JSON, with the secrets in it |
/// | `PATH.lock` | empty; locked by the process that saves, for one read and one write |
/// | `PATH.tmp` | a record on its way to the disk; one that a dead process left is replaced |
/// | `PATH.reserve` | 64 KiB of room, taken before a session calls the token endpoint, so that a disk that is full by then can still take the new tokens |
///
/// All are made with mode 0600. A `PATH` that others can read or write is refused, on Unix, and
/// the error says how to repair it; [`group_access`](Self::group_access) permits its group. A `PATH`
/// that is empty when it is first looked at is a store without tokens; one that becomes empty is
/// damaged, and an error. The folder must exist, and should be one that no other user can
/// write to (mode 0700): who can replace files there can replace the tokens. The lock file may be
/// deleted while no process uses it.
///
/// `PATH` is resolved once, by [`new`](Self::new): if it is a symbolic link, the file that it
/// leads to is the store, and stays the store if the link is changed later.
///
/// # What it is not for
///
/// A single file that is mounted into a container: a mount point cannot be replaced. Mount its
/// folder.
///
/// Network file systems (NFS, SMB), whose locks do not exclude reliably; nor containers that share
/// the file from several machines. Who can run programs as the same user can read the file;
/// `Encrypted` (feature `encrypted`) helps if the key is elsewhere.
#[derive(Clone)]
pub struct FileStore {
    paths: Arc<Paths>,
}

impl FileStore {
    /// A store in the file at `path`, which need not exist yet. Looks at the file system, but
    /// opens nothing: a file that cannot be used is an error of the first use.
    ///
    /// # Errors
    ///
    /// If `path` is a folder or something else that is no file, if its folder does not exist, or
    /// if it is a symbolic link that leads nowhere.
    pub fn new(path: impl AsRef<Path>) -> Result<Self, Error> {
        let paths = Paths::resolve(path.as_ref())?;
        Ok(Self { paths: Arc::new(paths) })
    }

    /// Lets the file's group use it as well: for platforms that start a program as one user or
    /// another and give it its files by a group (Kubernetes' `fsGroup`). The files are made with
    /// mode 0660, and one that its group can read or write is not refused. Who is in that group can
    /// read the tokens.
    ///
    /// Defaults to the owner alone.
    pub fn group_access(self) -> Self {
        let paths = Paths { group: true, ..Paths::clone(&self.paths) };
        Self { paths: Arc::new(paths) }
    }

    /// The file, with symbolic links resolved.
    pub fn path(&self) -> &Path {
        &self.paths.record
    }

    /// Does `work` alone among all processes, on a thread that may block.
    ///
    /// The lock is taken, used and given back in one go: if this is dropped, either the work was
    /// not begun, or it goes on to its end without us.
    async fn alone<T, W>(&self, mut work: W) -> Result<T, BoxError>
    where
        T: Send + 'static,
        W: FnOnce(&Paths) -> Result<T, BoxError> + Send + 'static,
    {
        loop {
            let paths = self.paths.clone();
            let tried = blocking(move || match Lock::try_take(&paths)? {
                Some(_lock) => Ok(Tried::Done(work(&paths)?)),
                None => Ok(Tried::Busy(work)),
            });
            match tried.await? {
                Tried::Done(result) => return Ok(result),
                Tried::Busy(again) => work = again,
            }
            sleep(RETRY.mul_f64(0.5 + fastrand::f64())).await;
        }
    }
}

enum Tried<T, W> {
    Done(T),
    /// Another handle has the lock.
    Busy(W),
}

/// Between tries for the lock, which is held as long as a write takes; give or take a half.
const RETRY: Duration = Duration::from_millis(4);

impl TokenStore for FileStore {
    fn load(&self) -> BoxFuture<'_, Result<Option<Record>, BoxError>> {
        let paths = self.paths.clone();
        // A reader needs no lock: the file is replaced as a whole.
        blocking(move || content::read(&paths)).boxed()
    }

    fn save(
        &self,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'_, Result<SaveOutcome, BoxError>> {
        self.alone(move |paths| {
            let stored = content::read(paths)?;
            if stored.as_ref().map(Record::version) != expected {
                return Ok(SaveOutcome::Conflict);
            }
            // A lease on what is stored already. What comes with a new turn can be told by its
            // process alone.
            let is_lease = record.lease().is_some()
                && stored.is_none_or(|stored| stored.turn() == record.turn());
            match is_lease {
                true => replace::lease(paths, &record)?,
                false => replace::replace(paths, &record)?,
            }
            Ok(SaveOutcome::Stored)
        })
        .boxed()
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore").field("path", &self.path()).finish_non_exhaustive()
    }
}

/// Runs `work` where it may block. It runs to its end even if its caller has stopped waiting.
async fn blocking<T, W>(work: W) -> Result<T, BoxError>
where
    T: Send + 'static,
    W: FnOnce() -> Result<T, BoxError> + Send + 'static,
{
    let runtime = Handle::try_current()
        .map_err(|_| failure("a token file can be used in a Tokio runtime only"))?;
    match runtime.spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(failure(format!("the token file was not used: {error}"))),
    }
}
