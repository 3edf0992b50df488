//! The contenders, one file each.

mod api;
mod azure;
mod fixed;
mod google;
mod ours;
mod yup;

use crate::{BoxError, endpoint::TokenEndpoint, table::Table};

pub(crate) use self::{
    azure::{Azure, FixedAzure},
    fixed::Fixed,
    google::Google,
    ours::TowerRefresh,
    yup::Yup,
};

/// A way to put a token on requests, by a library's public interface alone. Clones share the
/// token, as the library's own clients do.
pub(crate) trait Contender: Clone + Send + Sync + 'static {
    const NAME: &'static str;
    /// What it was set up with, and what it does about a token that is about to expire and about
    /// a 401.
    const ABOUT: [&'static str; 3];

    /// Sets a client up as its documentation does. It has no token yet.
    fn connect(endpoint: &TokenEndpoint) -> impl Future<Output = Result<Self, BoxError>> + Send;

    /// Makes a request, puts a live token on it and hands it on to what would send it, which does
    /// nothing.
    fn send(&mut self) -> impl Future<Output = Result<(), BoxError>> + Send;
}

/// What was compared.
pub(crate) fn table() -> Table {
    let columns = ["contender", "set up with", "a token about to expire", "a 401"];
    let mut table = Table::new("Contenders", columns);
    let mut row = |name: &str, [setup, expiry, refusal]: [&str; 3]| {
        table.row([name, setup, expiry, refusal].map(str::to_owned));
    };
    row(Fixed::NAME, Fixed::ABOUT);
    row(TowerRefresh::NAME, TowerRefresh::ABOUT);
    row(Yup::NAME, Yup::ABOUT);
    row(Google::NAME, Google::ABOUT);
    row(FixedAzure::NAME, FixedAzure::ABOUT);
    row(Azure::NAME, Azure::ABOUT);
    table.note("What they do is told from their documentation and sources; it is not measured.")
}
