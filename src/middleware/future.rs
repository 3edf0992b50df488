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
use tokio::time::Instant;
use tower_service::Service;

use super::{cache::SnapshotCache, kept::Kept, retry::RetryState};
use crate::{
    error::{BoxError, Error},
    replay::Policy,
    session::Token,
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
        /// The request is under way once more.
        Retrying { #[pin] call: F, again: Option<Box<Again<R>>> },
        /// There is no live token yet.
        Waiting { token: Wait, next: Option<Box<Next<S, P, B, R>>> },
        /// The token was refused. The refusal is kept: it is the answer if there is nothing to
        /// retry with.
        Refreshing { token: Wait, refusal: Option<Box<R>>, again: Option<Box<Again<R>>> },
        /// There is a token, and the service has to be ready for the call.
        Readying { token: Token, next: Option<Box<Next<S, P, B, R>>> },
        /// Nothing was sent.
        Failed { error: Option<Error> },
        /// The refused call's future is gone, and with it what it held.
        Refused,
    }
}

type Wait = BoxFuture<'static, Result<Token, Error>>;

/// A request that is to be sent once there is a token.
struct Next<S, P, B, R> {
    service: S,
    cache: Arc<SnapshotCache<P>>,
    request: Request<B>,
    again: Option<Box<Again<R>>>,
}

/// A request that was refused before.
struct Again<R> {
    /// When it was sent with the successor of the refused token, and not with the same.
    retried_at: Option<Instant>,
    kept: Option<Kept<R>>,
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
        State::wait(Box::new(Next { service, cache, request, again: None })).into()
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
    fn wait(next: Box<Next<S, P, B, R>>) -> Self {
        let session = next.cache.config.session.clone();
        let token = async move { session.token().await }.boxed();
        Self::Waiting { token, next: Some(next) }
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
                    let mut response = ready!(call.poll(cx)).map_err(Into::into)?;
                    let Some(retry) = this.retry else { return Poll::Ready(Ok(response)) };
                    if !retry.is_refused(&response) {
                        retry.accepted(&mut response, None);
                        // Nothing is kept of a request that need not be sent again.
                        *this.retry = None;
                        return Poll::Ready(Ok(response));
                    }
                    if let Some(answer) = self.as_mut().refused(response, None) {
                        return Poll::Ready(Ok(answer));
                    }
                }
                StateProj::Retrying { call, again } => {
                    if let Some(kept) = again.as_mut().and_then(|again| again.kept.as_mut()) {
                        kept.poll(cx);
                    }
                    let mut response = ready!(call.poll(cx)).map_err(Into::into)?;
                    let Some(retry) = this.retry else { return Poll::Ready(Ok(response)) };
                    let again = again.take();
                    if !retry.is_refused(&response) {
                        let retried_at = again.and_then(|again| again.retried_at);
                        retry.accepted(&mut response, retried_at);
                        *this.retry = None;
                        return Poll::Ready(Ok(response));
                    }
                    if let Some(answer) = self.as_mut().refused(response, again) {
                        return Poll::Ready(Ok(answer));
                    }
                }
                StateProj::Waiting { token, next } => {
                    let token = ready!(token.poll_unpin(cx))?;
                    let next = State::Readying { token, next: next.take() };
                    this.state.set(next);
                }
                StateProj::Refreshing { token, refusal, again } => {
                    let successor = ready!(token.poll_unpin(cx));
                    let mut refusal = *refusal.take().expect("polled after completion");
                    let retry = this.retry.take().expect("it was refused");
                    retry.report(&mut refusal);
                    let Ok(token) = successor else {
                        return Poll::Ready(Ok(refusal));
                    };
                    let (again, id) = (again.take(), retry.token);
                    let Some((service, cache, request)) = retry.into_retry() else {
                        return Poll::Ready(Ok(refusal));
                    };
                    let is_retry =
                        token.id() != id || again.is_some_and(|again| again.retried_at.is_some());
                    let version = refusal.version();
                    let again = Again {
                        retried_at: is_retry.then(Instant::now),
                        kept: Kept::new(refusal, version),
                    };
                    let next =
                        Box::new(Next { service, cache, request, again: Some(Box::new(again)) });
                    this.state.set(State::Readying { token, next: Some(next) });
                }
                StateProj::Readying { token, next } => {
                    let pending = next.as_mut().expect("polled after completion");
                    if let Some(kept) = pending.again.as_mut().and_then(|again| again.kept.as_mut())
                    {
                        kept.poll(cx);
                    }
                    ready!(pending.service.poll_ready(cx)).map_err(Into::into)?;
                    let mut next = next.take().expect("just readied");
                    let next =
                        if next.again.is_none() && next.cache.config.session.has_outlived(token) {
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

impl<S, P, B, F, R> ResponseFuture<S, P, B, F, Response<R>> {
    /// Asks for a successor of the refused token. Returns the refusal if it is the answer.
    #[cold]
    #[inline(never)]
    fn refused(
        self: Pin<&mut Self>,
        mut refusal: Response<R>,
        again: Option<Box<Again<Response<R>>>>,
    ) -> Option<Response<R>> {
        let mut this = self.project();
        // A permit may live in the call's future, and the refresh may need it.
        this.state.set(State::Refused);
        let retry = this.retry.as_ref().expect("it was refused");
        let config = &retry.cache.config;
        let retried_at = again.as_ref().and_then(|again| again.retried_at);
        let delay = config.rules.acceptance_delay;
        let Some(token) = config.session.after_refusal(retry.refused(), retried_at, delay) else {
            retry.report(&mut refusal);
            return Some(refusal);
        };
        let refusal = Some(Box::new(refusal));
        this.state.set(State::Refreshing { token: token.boxed(), refusal, again });
        None
    }
}

impl<S, P, B> Next<S, P, B, S::Response>
where
    S: Service<Request<B>> + Clone,
    P: Policy<B>,
{
    fn send(mut self, token: &Token) -> ResponseFuture<S, P, B, S::Future, S::Response> {
        let mut again = self.again;
        let is_retry = again.as_mut().and_then(|again| again.retried_at.as_mut());
        let is_last = is_retry.is_some() && self.cache.config.rules.acceptance_delay.is_zero();
        if let Some(at) = is_retry {
            *at = Instant::now();
        }
        let service = self.service.clone();
        let retry = RetryState::sign(&mut self.request, token, service, &self.cache, !is_last);
        let call = self.service.call(self.request);
        let state = match again {
            None => State::Calling { call },
            again => State::Retrying { call, again },
        };
        ResponseFuture { state, retry: Some(retry) }
    }
}

impl<S, P, B, F, R> fmt::Debug for ResponseFuture<S, P, B, F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Calling { .. } => "Calling",
            State::Retrying { .. } => "Retrying",
            State::Waiting { .. } => "Waiting",
            State::Refreshing { .. } => "Refreshing",
            State::Readying { .. } => "Readying",
            State::Failed { .. } => "Failed",
            State::Refused => "Refused",
        };
        f.debug_struct("ResponseFuture").field("state", &state).finish_non_exhaustive()
    }
}
