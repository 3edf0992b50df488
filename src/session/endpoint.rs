//! The services that a session calls, whatever their types were.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use tower::{ServiceExt, util::BoxCloneService};
use tower_service::Service;

use crate::{endpoint::host_of, error::BoxError};

/// A service of which each call has a clone of its own: readied, called and dropped. So no lock is
/// held while one is under way, and readiness is given back by dropping the clone.
///
/// The lock is there because a user's service need not be `Sync`. It is held for the clone alone.
pub(super) struct Endpoint<Request, Response> {
    service: Mutex<BoxCloneService<Request, Response, BoxError>>,
    /// Its host and port, if it is a ready-made one without layers around it.
    host: Option<String>,
}

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
        let host = host_of(&service);
        Self { service: Mutex::new(boxed_endpoint(service)), host }
    }

    pub(super) fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// A clone for one call.
    pub(super) fn instance(&self) -> BoxCloneService<Request, Response, BoxError> {
        self.service.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<Request, Response> fmt::Debug for Endpoint<Request, Response> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").finish_non_exhaustive()
    }
}

/// What messages call an endpoint: by its host and by the name of its session, where they are known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndpointName<'a> {
    pub(crate) what: &'static str,
    pub(crate) host: Option<&'a str>,
    pub(crate) session: Option<&'a str>,
}

impl fmt::Display for EndpointName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} endpoint", self.what)?;
        if let Some(host) = self.host {
            write!(f, " at {host}")?;
        }
        if let Some(session) = self.session {
            write!(f, " of session {session}")?;
        }
        Ok(())
    }
}
