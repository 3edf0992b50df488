//! Telling the server that a refresh token is to end.

use std::sync::Arc;

use tokio::time::timeout;
use tower::ServiceExt;
use tower_service::Service;

use super::{cell::Cell, failure::Failure};
use crate::{
    endpoint::RevokeRequest,
    error::{Error, ErrorKind},
    token::RefreshToken,
};

/// What a refresh has brought for a login that has ended meanwhile in a log-out.
pub(super) async fn revoke_late(cell: &Arc<Cell>, refresh_token: RefreshToken) {
    // There is no caller left to be told.
    let _ = revoke(cell, refresh_token).await;
}

/// Tells the revocation endpoint, if there is one, that this refresh token is to end.
pub(super) async fn revoke(cell: &Arc<Cell>, refresh_token: RefreshToken) -> Result<(), Error> {
    let Some(mut revocation) = cell.backend.revocation() else { return Ok(()) };
    let call = async { revocation.ready().await?.call(RevokeRequest::new(refresh_token)).await };
    let limit = cell.backend.config().attempt_timeout;
    let error = match timeout(limit, call).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => Failure::of(error, cell.backend.revocation_name()).error,
        Err(_elapsed) => Failure::timed_out(limit, cell.backend.revocation_name()).error,
    };
    let message = "logged out here, but the server did not revoke the refresh token";
    // Whatever else went wrong, no user has to log in for it.
    let kind = match error.kind() {
        ErrorKind::Misconfigured => ErrorKind::Misconfigured,
        _ => ErrorKind::Unavailable,
    };
    Err(Error::with_source(kind, message, error))
}
