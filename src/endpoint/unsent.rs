//! What the failure of a transport means: whether the server can have read the request.

use std::{error::Error as StdError, io};

use super::error::{EndpointError, IS_IT_UP, Spent};
#[cfg(feature = "transport")]
use super::transport::hint;
use crate::error::BoxError;

/// A transport's failure. One that is an [`EndpointError`] already knows best.
pub(super) fn unsent_or_lost(error: BoxError) -> EndpointError {
    let error = match error.downcast::<EndpointError>() {
        Ok(error) => return *error,
        Err(error) => error,
    };
    if is_unsent(&*error) {
        EndpointError::transient(unconnected(&*error)).with_spent(Spent::No)
    } else {
        let hint = hint(&*error).map(|hint| format!(": {hint}")).unwrap_or_default();
        EndpointError::transient(format!("the call to the token endpoint broke off{hint}"))
    }
    .with_source(error)
}

/// Whether `error` proves that no byte of the request left: the connection, its TLS handshake
/// included, never came to be. Everything else, and every error that we do not know, may have
/// struck after the server had read it.
fn is_unsent(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        #[cfg(feature = "transport")]
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect();
        }
        #[cfg(feature = "reqwest")]
        if let Some(error) = error.downcast_ref::<reqwest::Error>() {
            return error.is_connect();
        }
        next = match error.downcast_ref::<io::Error>() {
            Some(error) if error.kind() == io::ErrorKind::ConnectionRefused => return true,
            // `source` would skip the very error that is wrapped.
            Some(error) => error.get_ref().map(|inner| inner as _),
            None => error.source(),
        };
    }
    false
}

/// Says what to do about a connection that never came to be.
fn unconnected(error: &(dyn StdError + 'static)) -> String {
    let hint = hint(error).unwrap_or_else(|| IS_IT_UP.to_owned());
    format!("no connection to the token endpoint: {hint}")
}

/// Without the transport there is nothing to know more by.
#[cfg(not(feature = "transport"))]
fn hint(_: &(dyn StdError + 'static)) -> Option<String> {
    None
}
