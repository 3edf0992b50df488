//! What the test programs over sockets have in common.

use std::{future::Future, time::Duration};

use tower_refresh::Tokens;

/// An end for what would otherwise be a test that hangs.
pub(crate) async fn in_time<F: Future>(work: F) -> F::Output {
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, work).await.expect("this should have ended long ago")
}

/// The access token `seed` and the refresh token `refresh-0`.
pub(crate) fn seed() -> Tokens {
    Tokens::new("seed").unwrap().with_refresh_token("refresh-0").unwrap()
}
