use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::{FutureExt, future::BoxFuture};
use http::{Request, Response, request::Parts};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    error::{BoxError, Error},
    layer::Policy,
    origin::is_elsewhere,
    replay::{Spare, Split},
    session::{Stamp, Token},
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
        state: State<S, B, F, R>,
        // `None` if nothing comes after the first answer.
        policy: Option<Arc<Policy<P>>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, F, R> {
        /// The request is under way. A refusal of it is the caller's if it is not `refusable`.
        Calling { #[pin] call: F, refusable: Option<Sent<S, B>> },
        /// There is no live token yet. The wait is boxed, as its type cannot be named; a request
        /// that need not wait never gets here.
        Waiting { token: Wait, next: Option<Next<S, B>> },
        /// The token was refused. The refusal is kept: it is the answer if there is nothing to
        /// retry with.
        Refreshing { token: Wait, sent: Option<Sent<S, B>>, refusal: Option<R> },
        /// There is a token, and the service has to be ready for the call.
        Readying { token: Token, next: Option<Next<S, B>> },
        /// Nothing was sent.
        Failed { error: Option<Error> },
        /// The refused call's future is gone, and with it whatever it held.
        Answered,
    }
}

type Wait = BoxFuture<'static, Result<Token, Error>>;

/// What remains of a request that was sent.
struct Sent<S, B> {
    service: S,
    token: Stamp,
    /// As the caller made it.
    head: Parts,
    body: Spare<B>,
}

impl<S, B> Sent<S, B> {
    /// The request to send again. From here on the first sending is given up: what it has not
    /// read of the body yet, the second takes over.
    fn again(self) -> Option<Next<S, B>> {
        let request = Request::from_parts(self.head, self.body.take()?);
        Some(Next { service: self.service, request, is_retry: true })
    }
}

/// A request that is to be sent once there is a token.
struct Next<S, B> {
    service: S,
    request: Request<B>,
    is_retry: bool,
}

impl<S, P, B> ResponseFuture<S, P, B, S::Future, S::Response>
where
    S: Service<Request<B>>,
    P: Split<B>,
{
    /// Nothing is sent.
    pub(crate) fn failed(error: Error) -> Self {
        Self { state: State::Failed { error: Some(error) }, policy: None }
    }

    /// The request is none of our business.
    pub(crate) fn unsigned(mut service: S, request: Request<B>) -> Self {
        let call = service.call(request);
        Self { state: State::Calling { call, refusable: None }, policy: None }
    }

    /// The usual way: the token is live and the service ready.
    pub(crate) fn send(
        service: S,
        request: Request<B>,
        token: &Token,
        policy: &Arc<Policy<P>>,
    ) -> Self {
        Self { state: State::send(service, request, token, policy), policy: Some(policy.clone()) }
    }

    /// There is no live token yet.
    pub(crate) fn wait(service: S, request: Request<B>, policy: &Arc<Policy<P>>) -> Self {
        let state = State::wait(Next { service, request, is_retry: false }, policy);
        Self { state, policy: Some(policy.clone()) }
    }
}

impl<S, B> State<S, B, S::Future, S::Response>
where
    S: Service<Request<B>>,
{
    fn wait<P>(next: Next<S, B>, policy: &Policy<P>) -> Self {
        let session = policy.session.clone();
        let token = async move { session.token().await }.boxed();
        Self::Waiting { token, next: Some(next) }
    }

    fn send<P: Split<B>>(
        mut service: S,
        request: Request<B>,
        token: &Token,
        policy: &Policy<P>,
    ) -> Self {
        let (mut head, mut body) = request.into_parts();
        let spare = policy.split.keep(&mut body);
        // The copy is made before the header is put in, so a retry starts from what the caller
        // sent.
        let copy = head.clone();
        head.headers.insert(&policy.rules.header, token.header_value().clone());
        let call = service.call(Request::from_parts(head, body));
        let sent = Sent { service, token: token.stamp(), head: copy, body: spare };
        State::Calling { call, refusable: Some(sent) }
    }

    /// The second sending, whose answer is the caller's whatever it is.
    fn resend<P>(
        mut service: S,
        mut request: Request<B>,
        token: &Token,
        policy: &Policy<P>,
    ) -> Self {
        let header = policy.rules.header.clone();
        request.headers_mut().insert(header, token.header_value().clone());
        State::Calling { call: service.call(request), refusable: None }
    }
}

impl<S, P, B, R> Future for ResponseFuture<S, P, B, S::Future, Response<R>>
where
    S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>> + Clone,
    P: Split<B>,
{
    type Output = Result<Response<R>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Calling { call, refusable } => {
                    let response = ready!(call.poll(cx)).map_err(Into::into)?;
                    let (Some(policy), Some(sent)) = (&*this.policy, refusable.take()) else {
                        return Poll::Ready(Ok(response));
                    };
                    let elsewhere = || is_elsewhere(&sent.head.uri, response.extensions());
                    if !policy.is_refused(response.status(), response.headers(), elsewhere) {
                        return Poll::Ready(Ok(response));
                    }
                    // A permit may live in the call's future, and the refresh may need it.
                    this.state.set(State::Answered);
                    let (session, refused) = (policy.session.clone(), sent.token);
                    if sent.body.is_lost() {
                        // For the next request.
                        session.refused_in_background(refused);
                        return Poll::Ready(Ok(response));
                    }
                    let token = async move { session.successor_of(refused).await }.boxed();
                    State::Refreshing { token, sent: Some(sent), refusal: Some(response) }
                }
                StateProj::Waiting { token, next } => {
                    let token = ready!(token.poll_unpin(cx))?;
                    State::Readying { token, next: next.take() }
                }
                StateProj::Refreshing { token, sent, refusal } => {
                    let successor = ready!(token.poll_unpin(cx));
                    let refusal = refusal.take().expect("polled after completion");
                    let Some((token, next)) = successor.ok().zip(sent.take().and_then(Sent::again))
                    else {
                        return Poll::Ready(Ok(refusal));
                    };
                    // Its connection may be the one that the retry needs.
                    drop(refusal);
                    State::Readying { token, next: Some(next) }
                }
                StateProj::Readying { token, next } => {
                    let pending = next.as_mut().expect("polled after completion");
                    ready!(pending.service.poll_ready(cx)).map_err(Into::into)?;
                    let policy = this.policy.as_ref().expect("set with the state");
                    let mut next = next.take().expect("just readied");
                    if next.is_retry {
                        let Next { service, request, .. } = next;
                        State::resend(service, request, token, policy)
                    } else if policy.session.snapshot().has_outlived(token) {
                        // Somebody logged in or out while it waited to be ready.
                        next.service = next.service.clone();
                        State::wait(next, policy)
                    } else {
                        State::send(next.service, next.request, token, policy)
                    }
                }
                StateProj::Failed { error } => {
                    let error = error.take().expect("polled after completion");
                    return Poll::Ready(Err(error.into()));
                }
                StateProj::Answered => panic!("polled after completion"),
            };
            this.state.set(next);
        }
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
            State::Answered => "Answered",
        };
        f.debug_struct("ResponseFuture").field("state", &state).finish_non_exhaustive()
    }
}
