use std::{
    borrow::Cow,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

use crate::error::{BoxError, Error, ErrorKind};

/// The files of one store, and what holds for them.
#[derive(Clone)]
pub(super) struct Paths {
    pub(super) record: PathBuf,
    pub(super) lock: PathBuf,
    /// One name for all: only who has the lock writes.
    pub(super) temp: PathBuf,
    pub(super) reserve: PathBuf,
    pub(super) folder: PathBuf,
    /// Whether the file's group may use the files too.
    pub(super) group: bool,
    /// Whether a record was read or written here: an empty file is none by then.
    pub(super) had_record: Arc<AtomicBool>,
}

impl Paths {
    /// Resolves `path` so that all processes agree on the files beside it, whatever way and
    /// working folder they come from.
    pub(super) fn resolve(path: &Path) -> Result<Self, Error> {
        let record = match fs::canonicalize(path) {
            Ok(existing) => existing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing(path)?,
            Err(error) => {
                let message = format!("the token file {path:?} cannot be looked up: {error}");
                return Err(Error::with_source(ErrorKind::InvalidInput, message, error));
            }
        };
        if let Ok(found) = fs::metadata(&record) {
            if found.is_dir() {
                return Err(Error::invalid(format!(
                    "{path:?} is a folder: name a file in it, such as {:?}",
                    path.join("tokens.json")
                )));
            }
            if !found.is_file() {
                return Err(Error::invalid(format!("{path:?} is neither a file nor free")));
            }
        }
        let folder = record.parent().map(Path::to_owned).unwrap_or_default();
        let beside = |suffix: &str| {
            let mut name = OsString::from(&record);
            name.push(suffix);
            PathBuf::from(name)
        };
        let (lock, temp, reserve) = (beside(".lock"), beside(".tmp"), beside(".reserve"));
        let (group, had_record) = (false, Arc::default());
        Ok(Self { record, lock, temp, reserve, folder, group, had_record })
    }

    /// An error in doing what `doing` says.
    pub(super) fn failed(&self, doing: &str, error: io::Error) -> BoxError {
        let hint = match error.kind() {
            io::ErrorKind::NotFound if !self.folder.is_dir() => {
                format!(": {}", no_folder(&self.folder))
            }
            io::ErrorKind::PermissionDenied => {
                ": this process's user must own it, and be able to write to its folder".to_owned()
            }
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => {
                ": make room; what was stored before is still there".to_owned()
            }
            io::ErrorKind::ResourceBusy => {
                ": it is a mount point, as a single file is that is mounted into a container, and \
                 cannot be replaced: mount its folder instead, and name a file in that"
                    .to_owned()
            }
            io::ErrorKind::ReadOnlyFilesystem => ": choose a folder that can be written".to_owned(),
            _ => String::new(),
        };
        let message = format!("cannot {doing} the token file {:?}: {error}{hint}", self.record);
        Error::with_source(ErrorKind::Store, message, error).into()
    }
}

/// Where a file will be that is not there yet.
fn missing(path: &Path) -> Result<PathBuf, Error> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(Error::invalid(format!("{path:?} is a symbolic link that leads nowhere")));
    }
    let Some(name) = path.file_name() else {
        return Err(Error::invalid(format!("{path:?} does not name a file")));
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let folder = fs::canonicalize(folder).map_err(|error| {
        let hint = no_folder(folder);
        let message = format!("the token file {path:?} cannot be made: {error}: {hint}");
        Error::with_source(ErrorKind::InvalidInput, message, error)
    })?;
    Ok(folder.join(name))
}

fn no_folder(folder: &Path) -> String {
    format!("make its folder with `mkdir -p -m 700 {folder:?}`")
}

pub(super) fn failure(message: impl Into<Cow<'static, str>>) -> BoxError {
    Error::new(ErrorKind::Store, message).into()
}
