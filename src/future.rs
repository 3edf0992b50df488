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
    replay::{Spare, Split},
    session::{Stamp, Token},
};

pin_project! {
    /// The response of a [`Refresh`](crate::Refresh) service.
    pub struct ResponseFuture<S, P, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B>,
        // `None` if nothing comes after the first answer.
        policy: Option<Arc<Policy<P>>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B>
    where
        S: Service<Request<B>>,
    {
        /// The request is under way. A refusal of it is the caller's if it is not `refusable`.
        Calling { #[pin] call: S::Future, refusable: Option<Sent<S, B>> },
        /// Waiting for a token: the first, or after `refusal` another. It is boxed, as its type
        /// cannot be named; a request that need not wait never gets here.
        Refreshing {
            token: BoxFuture<'static, Result<Token, Error>>,
            next: Option<Next<S, B>>,
            refusal: Option<S::Response>,
        },
        /// There is a token, and the service has to be ready for the call.
        Readying { token: Token, next: Option<Next<S, B>> },
        /// Nothing was sent.
        Failed { error: Option<Error> },
        /// The refused call's future is gone, and with it whatever it held.
        Answered,
    }
}

/// What remains of a request that was sent.
struct Sent<S, B> {
    service: S,
    token: Stamp,
    /// `None` if the body cannot be sent twice: then the rest need not be kept either.
    copy: Option<(Parts, Spare<B>)>,
}

/// A request that is to be sent once there is a token.
struct Next<S, B> {
    service: S,
    request: Request<B>,
    is_retry: bool,
}

impl<S, P, B, R> ResponseFuture<S, P, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    P: Split<B>,
{
    /// Nothing is sent.
    pub(crate) fn failed(error: Error) -> Self {
        Self {
            state: State::Failed { error: Some(error) },
            policy: None,
        }
    }

    /// The request is none of our business.
    pub(crate) fn unsigned(mut service: S, request: Request<B>) -> Self {
        let call = service.call(request);
        Self {
            state: State::Calling {
                call,
                refusable: None,
            },
            policy: None,
        }
    }

    /// The usual way: the token is live and the service ready.
    pub(crate) fn send(
        service: S,
        request: Request<B>,
        token: &Token,
        policy: &Arc<Policy<P>>,
    ) -> Self {
        Self {
            state: State::send(service, request, token, policy),
            policy: Some(policy.clone()),
        }
    }

    /// There is no live token yet.
    pub(crate) fn wait(service: S, request: Request<B>, policy: &Arc<Policy<P>>) -> Self {
        let session = policy.session.clone();
        let token = async move { session.token().await }.boxed();
        let next = Next {
            service,
            request,
            is_retry: false,
        };
        let state = State::Refreshing {
            token,
            next: Some(next),
            refusal: None,
        };
        Self {
            state,
            policy: Some(policy.clone()),
        }
    }
}

impl<S, B> State<S, B>
where
    S: Service<Request<B>>,
{
    fn send<P: Split<B>>(
        mut service: S,
        request: Request<B>,
        token: &Token,
        policy: &Policy<P>,
    ) -> Self {
        let (mut head, body) = request.into_parts();
        let (body, spare) = policy.split.split(body);
        // The copy is made before the header is put in, so a retry starts from what the caller
        // sent.
        let copy = (!spare.is_none()).then(|| (head.clone(), spare));
        head.headers
            .insert(&policy.rules.header, token.header_value().clone());
        let call = service.call(Request::from_parts(head, body));
        State::Calling {
            call,
            refusable: Some(Sent {
                service,
                token: token.stamp(),
                copy,
            }),
        }
    }

    /// The second sending, whose answer is the caller's whatever it is.
    fn resend<P>(
        mut service: S,
        mut request: Request<B>,
        token: &Token,
        policy: &Policy<P>,
    ) -> Self {
        let header = policy.rules.header.clone();
        request
            .headers_mut()
            .insert(header, token.header_value().clone());
        State::Calling {
            call: service.call(request),
            refusable: None,
        }
    }
}

impl<S, P, B, R> Future for ResponseFuture<S, P, B>
where
    S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>>,
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
                    if !policy.rules.refuses(response.status(), response.headers()) {
                        return Poll::Ready(Ok(response));
                    }
                    // A permit may live in the call's future, and the refresh may need it.
                    this.state.set(State::Answered);
                    let Sent {
                        service,
                        token,
                        copy,
                    } = sent;
                    let copy = copy.and_then(|(head, spare)| Some((head, spare.take()?)));
                    let Some((head, body)) = copy else {
                        policy.session.refused_in_background(token);
                        return Poll::Ready(Ok(response));
                    };
                    let session = policy.session.clone();
                    let successor = async move { session.successor_of(token).await }.boxed();
                    let request = Request::from_parts(head, body);
                    State::Refreshing {
                        token: successor,
                        next: Some(Next {
                            service,
                            request,
                            is_retry: true,
                        }),
                        refusal: Some(response),
                    }
                }
                StateProj::Refreshing {
                    token,
                    next,
                    refusal,
                } => {
                    match (ready!(token.poll_unpin(cx)), refusal.take()) {
                        // The refusal is dropped here: its connection may be the one that the
                        // retry waits for.
                        (Ok(token), _) => State::Readying {
                            token,
                            next: next.take(),
                        },
                        (Err(_), Some(refusal)) => return Poll::Ready(Ok(refusal)),
                        (Err(error), None) => return Poll::Ready(Err(error.into())),
                    }
                }
                StateProj::Readying { token, next } => {
                    let pending = next.as_mut().expect("polled after completion");
                    ready!(pending.service.poll_ready(cx)).map_err(Into::into)?;
                    let policy = this.policy.as_ref().expect("set with the state");
                    match next.take() {
                        Some(Next {
                            service,
                            request,
                            is_retry: true,
                        }) => State::resend(service, request, token, policy),
                        Some(Next {
                            service,
                            request,
                            is_retry: false,
                        }) => State::send(service, request, token, policy),
                        None => unreachable!("it was there to be readied"),
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

impl<S, P, B> fmt::Debug for ResponseFuture<S, P, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Calling { .. } => "Calling",
            State::Refreshing { .. } => "Refreshing",
            State::Readying { .. } => "Readying",
            State::Failed { .. } => "Failed",
            State::Answered => "Answered",
        };
        f.debug_struct("ResponseFuture")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
