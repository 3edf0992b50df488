//! The future of a [`Refresh`](crate::Refresh) service.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::{FutureExt, future::BoxFuture};
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{cache::SnapshotCache, retry::RetryState};
use crate::{
    error::{BoxError, Error},
    replay::Policy,
    session::{Session, Token, TokenId},
};

pin_project! {
    /// The response of a [`Refresh`](crate::Refresh) service.
    ///
    /// `F` is the future of the service inside, and `R` its response.
    //
    // These follow from `S` and `B`, and are named all the same: a bound `S: Service<Request<B>>`
    // on the type would have to hold wherever rustc asks whether an `async` block that awaits it is
    // `Send`, and there it cannot be proven for a `B` with a `Box<dyn Error>` in it
    // (rust-lang/rust#110338).
    pub struct ResponseFuture<S, P, B, F, R> {
        #[pin]
        state: State<S, P, B, F, R>,
        // What a second sending takes, from the first on. `None` if there will be none. It is not
        // part of the state, as it would then be moved once more for each request.
        retry: Option<RetryState<S, P, B>>,
    }
}

pin_project! {
    // Whatever comes after the first sending is boxed: nearly every request is answered by then,
    // and should not have to move the room for it.
    #[project = StateProj]
    enum State<S, P, B, F, R> {
        /// The request is under way.
        Calling { #[pin] call: F },
        /// There is no live token yet.
        Waiting { token: Wait, next: Option<Box<Next<S, P, B>>> },
        /// The token was refused. The refusal is kept: it is the answer if there is nothing to
        /// retry with.
        Refreshing { token: Wait, refusal: Option<Box<R>> },
        /// There is a token, and the service has to be ready for the call.
        Readying { token: Token, next: Option<Box<Next<S, P, B>>> },
        /// Nothing was sent.
        Failed { error: Option<Error> },
        /// The refused call's future is gone, and with it what it held.
        Refused,
    }
}

type Wait = BoxFuture<'static, Result<Token, Error>>;

/// A request that is to be sent once there is a token.
struct Next<S, P, B> {
    service: S,
    cache: Arc<SnapshotCache<P>>,
    request: Request<B>,
    is_retry: bool,
}

impl<S, P, B, F, R> ResponseFuture<S, P, B, F, R> {
    /// The usual way: the request is signed, and sent.
    #[inline(always)]
    pub(crate) fn signed(call: F, retry: RetryState<S, P, B>) -> Self {
        Self { state: State::Calling { call }, retry: Some(retry) }
    }

    /// The request is none of our business.
    pub(crate) fn unsigned(call: F) -> Self {
        State::Calling { call }.into()
    }

    /// There is no live token yet.
    pub(crate) fn wait(service: S, request: Request<B>, cache: Arc<SnapshotCache<P>>) -> Self {
        State::wait(Box::new(Next { service, cache, request, is_retry: false })).into()
    }

    /// Nothing is sent.
    pub(crate) fn failed(error: Error) -> Self {
        State::Failed { error: Some(error) }.into()
    }
}

/// Nothing is kept of the request.
impl<S, P, B, F, R> From<State<S, P, B, F, R>> for ResponseFuture<S, P, B, F, R> {
    fn from(state: State<S, P, B, F, R>) -> Self {
        Self { state, retry: None }
    }
}

impl<S, P, B, F, R> State<S, P, B, F, R> {
    fn wait(next: Box<Next<S, P, B>>) -> Self {
        let session = next.cache.config.session.clone();
        let token = async move { session.token().await }.boxed();
        Self::Waiting { token, next: Some(next) }
    }

    fn refresh(session: Session, refused: TokenId, refusal: R) -> Self {
        let token = async move { session.replace(refused).await }.boxed();
        Self::Refreshing { token, refusal: Some(Box::new(refusal)) }
    }
}

impl<S, P, B, R> Future for ResponseFuture<S, P, B, S::Future, Response<R>>
where
    S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>> + Clone,
    P: Policy<B>,
{
    type Output = Result<Response<R>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mut this = self.as_mut().project();
            match this.state.as_mut().project() {
                StateProj::Calling { call } => {
                    let response = ready!(call.poll(cx)).map_err(Into::into)?;
                    let refused = this.retry.as_ref().filter(|retry| retry.is_refused(&response));
                    let Some(retry) = refused else {
                        // Nothing is kept of a request that need not be sent again.
                        *this.retry = None;
                        return Poll::Ready(Ok(response));
                    };
                    // A permit may live in the call's future, and the refresh may need it.
                    this.state.set(State::Refused);
                    let session = &retry.cache.config.session;
                    if retry.body.is_unavailable() {
                        // For the next request.
                        session.refused_in_background(retry.token);
                        return Poll::Ready(Ok(response));
                    }
                    let next = State::refresh(session.clone(), retry.token, response);
                    this.state.set(next);
                }
                StateProj::Waiting { token, next } => {
                    let token = ready!(token.poll_unpin(cx))?;
                    let next = State::Readying { token, next: next.take() };
                    this.state.set(next);
                }
                StateProj::Refreshing { token, refusal } => {
                    let successor = ready!(token.poll_unpin(cx));
                    let refusal = refusal.take().expect("polled after completion");
                    let retry = this.retry.take().expect("it was refused");
                    let Ok(token) = successor else {
                        return Poll::Ready(Ok(*refusal));
                    };
                    let Some((service, cache, request)) = retry.into_retry() else {
                        return Poll::Ready(Ok(*refusal));
                    };
                    // Its connection may be the one that the retry needs.
                    drop(refusal);
                    let next = Box::new(Next { service, cache, request, is_retry: true });
                    this.state.set(State::Readying { token, next: Some(next) });
                }
                StateProj::Readying { token, next } => {
                    let pending = next.as_mut().expect("polled after completion");
                    ready!(pending.service.poll_ready(cx)).map_err(Into::into)?;
                    let mut next = next.take().expect("just readied");
                    let next = if !next.is_retry && next.cache.config.session.has_outlived(token) {
                        // A login or a log-out happened while it waited to be ready.
                        next.service = next.service.clone();
                        State::wait(next).into()
                    } else {
                        next.send(token)
                    };
                    self.set(next);
                }
                StateProj::Failed { error } => {
                    let error = error.take().expect("polled after completion");
                    return Poll::Ready(Err(error.into()));
                }
                StateProj::Refused => panic!("polled after completion"),
            }
        }
    }
}

impl<S, P, B> Next<S, P, B>
where
    S: Service<Request<B>> + Clone,
    P: Policy<B>,
{
    fn send(mut self, token: &Token) -> ResponseFuture<S, P, B, S::Future, S::Response> {
        if self.is_retry {
            // Its answer is the caller's, whatever it is.
            self.cache.config.rules.put(token, self.request.headers_mut());
            return ResponseFuture::unsigned(self.service.call(self.request));
        }
        let retry = RetryState::sign(&mut self.request, token, self.service.clone(), &self.cache);
        ResponseFuture::signed(self.service.call(self.request), retry)
    }
}

impl<S, P, B, F, R> fmt::Debug for ResponseFuture<S, P, B, F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Calling { .. } => "Calling",
            State::Waiting { .. } => "Waiting",
            State::Refreshing { .. } => "Refreshing",
            State::Readying { .. } => "Readying",
            State::Failed { .. } => "Failed",
            State::Refused => "Refused",
        };
        f.debug_struct("ResponseFuture").field("state", &state).finish_non_exhaustive()
    }
}
