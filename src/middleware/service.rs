use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tokio::time::Instant;
use tower_service::Service;

use super::{
    cache::SnapshotCache,
    future::ResponseFuture,
    retry::RetryState,
    rules::{Config, Rules},
};
use crate::{
    error::BoxError,
    replay::{Policy, Standard},
    session::{Readiness, Session},
};

/// An HTTP service whose requests carry a live access token. See
/// [`RefreshLayer`](crate::RefreshLayer).
///
/// Request and response types are those of `S`. Its errors come through boxed; those of the
/// session beside them are found by [`Error::find`](crate::Error::find).
///
/// # Clone
///
/// The service inside has to be [`Clone`]. A clone of it is stored in the future of each request,
/// and sends the request again if its token is refused. Clones of a `Refresh` share one session, so
/// clone it for each request or each task as you like.
pub struct Refresh<S, P = Standard> {
    inner: S,
    cache: Arc<SnapshotCache<P>>,
    // Whether it was called before: this one, not what it was cloned from.
    used: bool,
}

impl<S> Refresh<S> {
    /// Puts `session` in front of `inner`, with the defaults of a
    /// [`RefreshLayer`](crate::RefreshLayer).
    ///
    /// ```
    /// # use http::{Request, Response, header::AUTHORIZATION};
    /// # use tower::ServiceExt;
    /// # use tower_refresh::{BoxError, Refresh, Session, Tokens, testing::GatedEndpoint};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), BoxError> {
    /// # let client = tower::service_fn(|request: Request<String>| async move {
    /// #     Ok::<_, BoxError>(Response::new(request.headers()[AUTHORIZATION].clone()))
    /// # });
    /// # let tokens = Tokens::new("t")?;
    /// # let session = Session::builder(GatedEndpoint::new()).initial_tokens(tokens).build();
    /// let client = Refresh::new(client, session);
    /// # let request = Request::get("https://api.example.com/").body(String::new())?;
    /// # assert_eq!(client.oneshot(request).await?.into_body(), "Bearer t");
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(inner: S, session: Session) -> Self {
        let config = Config { session, rules: Rules::default(), policy: Standard };
        Self::with_config(inner, config)
    }
}

impl<S, P> Refresh<S, P> {
    pub(crate) fn with_config(inner: S, config: Config<P>) -> Self {
        Self { inner, cache: Arc::new(SnapshotCache::new(config)), used: false }
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
    P: Policy<B>,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = ResponseFuture<S, P, B, S::Future, S::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.cache.config.signs(request.uri(), request.headers(), request.extensions()) {
            Ok(true) => {}
            Ok(false) => return ResponseFuture::unsigned(self.inner.call(request)),
            Err(error) => {
                release_readiness(&mut self.inner);
                return ResponseFuture::failed(error);
            }
        }

        let (cache, snapshot) = SnapshotCache::load(&mut self.cache, &mut self.used);
        let token = match snapshot.at(Instant::now()) {
            Readiness::Fresh(token) => token,
            Readiness::Stale(token) => {
                cache.config.session.refresh_ahead();
                token
            }
            Readiness::Wait => {
                release_readiness(&mut self.inner);
                return ResponseFuture::wait(self.inner.clone(), request, cache.clone());
            }
            Readiness::LoginRequired(error) => {
                release_readiness(&mut self.inner);
                return ResponseFuture::failed(error.clone());
            }
        };
        let retry = RetryState::sign(&mut request, token, self.inner.clone(), cache, true);
        ResponseFuture::signed(self.inner.call(request), retry)
    }
}

impl<S: Clone, P> Clone for Refresh<S, P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), cache: self.cache.clone(), used: false }
    }
}

impl<S: fmt::Debug, P> fmt::Debug for Refresh<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refresh")
            .field("inner", &self.inner)
            .field("session", &self.cache.config.session)
            .finish_non_exhaustive()
    }
}

/// A readied service may hold a permit or a place in a queue that the refresh itself needs: replace
/// it with a clone that has not been polled.
fn release_readiness<S: Clone>(ready: &mut S) {
    *ready = ready.clone();
}
