//! The services that a session calls, whatever their types were.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use tower::{ServiceExt, util::BoxCloneService};
use tower_service::Service;

use crate::error::BoxError;

/// A service of which each call has a clone of its own: readied, called and dropped. So no lock is
/// held while one is under way, and readiness is given back by dropping the clone.
///
/// The lock is there because a user's service need not be `Sync`. It is held for the clone alone.
pub(super) struct Endpoint<Request, Response>(Mutex<BoxCloneService<Request, Response, BoxError>>);

/// A service for one call, whatever its type was.
pub(crate) fn boxed_endpoint<S, Request: 'static, Response>(
    service: S,
) -> BoxCloneService<Request, Response, BoxError>
where
    S: Service<Request, Response = Response> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    BoxCloneService::new(service.map_err(Into::into))
}

impl<Request: 'static, Response> Endpoint<Request, Response> {
    pub(super) fn new<S>(service: S) -> Self
    where
        S: Service<Request, Response = Response> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
    {
        Self(Mutex::new(boxed_endpoint(service)))
    }

    /// A clone for one call.
    pub(super) fn instance(&self) -> BoxCloneService<Request, Response, BoxError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<Request, Response> fmt::Debug for Endpoint<Request, Response> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").finish_non_exhaustive()
    }
}
