use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tokio::time::Instant;
use tower_service::Service;

use crate::{
    error::BoxError, future::ResponseFuture, layer::Policy, replay::ByBody, replay::Split,
    session::Readiness,
};

/// An HTTP service whose requests carry a live access token. See
/// [`RefreshLayer`](crate::RefreshLayer).
///
/// Request and response types are those of `S`. Its errors come through boxed; those of the
/// session beside them are found by [`Error::find`](crate::Error::find).
pub struct Refresh<S, P = ByBody> {
    inner: S,
    policy: Arc<Policy<P>>,
}

impl<S, P> Refresh<S, P> {
    pub(crate) fn new(inner: S, policy: Policy<P>) -> Self {
        Self { inner, policy: Arc::new(policy) }
    }

    /// The service inside.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service inside.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service inside.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, P, B, R> Service<Request<B>> for Refresh<S, P>
where
    S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>> + Clone,
    P: Split<B>,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = ResponseFuture<S, P, B, S::Future, S::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The readied service is the one to call; the clone has to be readied anew.
        let clone = self.inner.clone();
        let ready = mem::replace(&mut self.inner, clone);

        match self.policy.rules.sign(request.uri(), request.headers(), request.extensions()) {
            Ok(true) => {}
            Ok(false) => return ResponseFuture::unsigned(ready, request),
            Err(error) => return ResponseFuture::failed(error),
        }

        let session = &self.policy.session;
        match session.snapshot().at(Instant::now()) {
            Readiness::Fresh(token) => ResponseFuture::send(ready, request, token, &self.policy),
            Readiness::Stale(token) => {
                session.refresh_ahead();
                ResponseFuture::send(ready, request, token, &self.policy)
            }
            Readiness::Wait => {
                // What it holds by being ready (a permit, a place in a queue) may be what the
                // refresh needs.
                drop(ready);
                ResponseFuture::wait(self.inner.clone(), request, &self.policy)
            }
            Readiness::LoginRequired(error) => ResponseFuture::failed(error.clone()),
        }
    }
}

impl<S: Clone, P> Clone for Refresh<S, P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), policy: self.policy.clone() }
    }
}

impl<S: fmt::Debug, P> fmt::Debug for Refresh<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refresh")
            .field("inner", &self.inner)
            .field("session", &self.policy.session)
            .finish_non_exhaustive()
    }
}
