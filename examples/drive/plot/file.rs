//! Where the picture goes, tried out before the load and not after it.

use std::{
    fmt::{self, Display},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

#[derive(Clone)]
pub(crate) struct PlotFile(PathBuf);

impl PlotFile {
    pub(crate) fn check(path: PathBuf) -> Result<Self, String> {
        let shown = path.display();
        if !path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("svg")) {
            return Err(format!("--plot {shown}: it draws SVG: write a name that ends in .svg"));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        if !folder.is_dir() {
            let folder = folder.display();
            return Err(format!("--plot {shown}: there is no folder {folder}: make it first"));
        }
        if path.is_dir() {
            return Err(format!("--plot {shown} is a folder: write the name of a file in it"));
        }
        try_out(&path).map_err(|error| format!("--plot {shown} cannot be written: {error}"))?;
        Ok(Self(path))
    }

    pub(crate) fn write(&self, svg: &str) -> io::Result<()> {
        fs::write(&self.0, svg)
    }
}

/// Leaves an older picture as it is, and no empty file if the run ends without one.
fn try_out(path: &Path) -> io::Result<()> {
    match File::create_new(path) {
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            File::options().write(true).open(path).map(drop)
        }
        Err(error) => Err(error),
    }
}

impl Display for PlotFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}
