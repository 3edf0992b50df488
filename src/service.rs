use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tokio::time::Instant;
use tower_service::Service;

use crate::{
    error::BoxError,
    future::ResponseFuture,
    lane::{Lane, Read},
    layer::Policy,
    replay::ByBody,
    replay::Split,
    sent::Sent,
    session::Readiness,
};

/// An HTTP service whose requests carry a live access token. See
/// [`RefreshLayer`](crate::RefreshLayer).
///
/// Request and response types are those of `S`. Its errors come through boxed; those of the
/// session beside them are found by [`Error::find`](crate::Error::find).
pub struct Refresh<S, P = ByBody> {
    inner: S,
    lane: Arc<Lane<P>>,
    // Whether it was called before: this one, not what it was cloned from.
    used: bool,
}

impl<S, P> Refresh<S, P> {
    pub(crate) fn new(inner: S, policy: Policy<P>) -> Self {
        Self { inner, lane: Arc::new(Lane::new(policy)), used: false }
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

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.lane.rules.sign(request.uri(), request.headers(), request.extensions()) {
            Ok(true) => {}
            Ok(false) => return ResponseFuture::unsigned(self.inner.call(request)),
            Err(error) => {
                give_back(&mut self.inner);
                return ResponseFuture::failed(error);
            }
        }

        let snapshot = match self.lane.own() {
            Some(own) => Read::Own(own),
            None if self.used => {
                self.lane = Arc::new(self.lane.anew());
                self.lane.read()
            }
            None => {
                self.used = true;
                self.lane.read()
            }
        };
        let token = match snapshot.at(Instant::now()) {
            Readiness::Fresh(token) => token,
            Readiness::Stale(token) => {
                self.lane.session.refresh_ahead();
                token
            }
            Readiness::Wait => {
                give_back(&mut self.inner);
                return ResponseFuture::wait(self.inner.clone(), request, self.lane.clone());
            }
            Readiness::LoginRequired(error) => {
                self.lane.session.start_tasks();
                give_back(&mut self.inner);
                return ResponseFuture::failed(error.clone());
            }
        };
        let sent = Sent::sign(&mut request, token, self.inner.clone(), &self.lane);
        ResponseFuture::sent(self.inner.call(request), sent)
    }
}

impl<S: Clone, P> Clone for Refresh<S, P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), lane: self.lane.clone(), used: false }
    }
}

impl<S: fmt::Debug, P> fmt::Debug for Refresh<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refresh")
            .field("inner", &self.inner)
            .field("session", &self.lane.session)
            .finish_non_exhaustive()
    }
}

/// What a service holds by being ready (a permit, a place in a queue) may be what the refresh
/// needs, and nobody is to keep it while nothing is sent.
fn give_back<S: Clone>(ready: &mut S) {
    *ready = ready.clone();
}
