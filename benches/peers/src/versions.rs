//! Which versions were measured, as the lock file has them.

use crate::table::Table;

const LOCK_FILE: &str = include_str!("../Cargo.lock");

const CONTENDERS: [&str; 6] = [
    "tower-refresh",
    "tower-http",
    "yup-oauth2",
    "google-cloud-auth",
    "azure_core",
    "azure_identity",
];

pub(crate) fn table() -> Table {
    let mut table = Table::new("Versions", ["crate", "version"]);
    for name in CONTENDERS {
        table.row([name.to_owned(), version(name).to_owned()]);
    }
    table
}

/// The newest version of a crate: somebody else may depend on an older one, which the lock file
/// lists first.
fn version(name: &str) -> &'static str {
    let package = format!("[[package]]\nname = \"{name}\"\nversion = \"");
    let (_, rest) = LOCK_FILE.rsplit_once(&package).expect("each contender is a dependency");
    rest.split('"').next().expect("a version ends with a quote")
}
