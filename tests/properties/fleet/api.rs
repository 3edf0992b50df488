//! An API, the requests that a process sends to it, and what must be true of them.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::Full;
use tokio::{sync::watch, time::Instant};
use tower::{Service, ServiceExt};
use tower_refresh::{Refresh, Session, Tokens};

use super::{
    process::{Place, Process, STORE_TIMEOUT, Violations},
    server::Issuer,
};

/// An API that refuses what its issuer says, as one process reaches it.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) issuer: Issuer,
    pub(crate) held: watch::Sender<bool>,
    pub(crate) requests: Requests,
}

/// The requests of one process.
#[derive(Clone)]
pub(crate) struct Requests {
    process: Arc<Process>,
    hold: Violations,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    requests: Vec<Requested>,
    /// The newest place that any of them has carried.
    top: Place,
    /// The request whose first poll is under way.
    starting: Option<usize>,
}

/// A request, and what was true when it started.
struct Requested {
    at: Instant,
    /// No token before this place may be sent.
    least: Place,
    in_use: Option<String>,
    live: bool,
    /// The tokens that it has carried, and the last decision here when it did.
    sent: Vec<(String, u64)>,
    /// The API has refused it, and it has had no second sending yet.
    refused: bool,
    done: bool,
}

/// Which request of its process this is.
#[derive(Clone, Copy)]
struct Id(usize);

impl Requests {
    pub(crate) fn new(process: Arc<Process>, hold: Violations) -> Self {
        Self { process, hold, inner: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Sends one through the layer.
    pub(crate) async fn send(self, session: Session, client: Refresh<Api>) {
        let (in_use, live) = (access_token(&session), session.status().is_live());
        let id = {
            let mut inner = self.lock();
            let place = in_use.as_deref().map_or_else(Place::default, Place::of);
            let (at, least) = (Instant::now(), inner.top.max(place));
            let (sent, refused, done) = (Vec::new(), false, false);
            inner.requests.push(Requested { at, least, in_use, live, sent, refused, done });
            let id = inner.requests.len() - 1;
            inner.starting = Some(id);
            id
        };
        let mut request = Request::new(Full::from("hello"));
        *request.uri_mut() = "https://api.example/v1".parse().unwrap();
        request.extensions_mut().insert(Id(id));
        let _done = Done { requests: self.clone(), id };
        let mut response = Box::pin(client.oneshot(request));
        let first = futures::poll!(&mut response);
        self.lock().starting = None;
        if first.is_pending() {
            let _ = response.await;
        }
    }

    /// The API gets a request.
    fn sent(&self, id: usize, authorization: &[HeaderValue], issuer: &Issuer) {
        let token = match authorization {
            [only] => only.to_str().ok().and_then(|value| value.strip_prefix("Bearer ")),
            _ => None,
        };
        let Some(token) = token.map(str::to_owned) else {
            self.hold.unless(false, || format!("{} headers with a token", authorization.len()));
            return;
        };
        let (mut inner, place) = (self.lock(), Place::of(&token));
        let decided = self.process.lock().decided;
        inner.top = inner.top.max(place);
        let at_once = inner.starting == Some(id);
        let request = &mut inner.requests[id];
        let mut wrong = Vec::new();
        if issuer.left(&token).is_none() {
            wrong.push("was never issued");
        }
        if place.login < request.least.login {
            wrong.push("is of an earlier login than the request");
        }
        if place < request.least {
            wrong.push("is older than one that was in use when the request started");
        }
        let was_there = request.in_use.as_deref() == Some(&token);
        // A save may hold a token back for this long.
        if was_there && issuer.is_over(&token, request.at - STORE_TIMEOUT) {
            wrong.push("had expired when the request started");
        }
        if at_once && !request.live {
            wrong.push("was not live");
        }
        match request.sent.as_slice() {
            [] => {}
            [(first, login)] => {
                let first_place = Place::of(first);
                if !request.refused {
                    wrong.push("goes out a second time without a refusal");
                }
                // Where there is no refresh token, the names of tokens say nothing of the login.
                let named = place.turn > 0 && first_place.turn > 0;
                if *login != decided || named && place.login != first_place.login {
                    wrong.push("is of another login than the one that was refused");
                }
                if place < first_place || token == *first {
                    wrong.push("is no successor of the one that was refused");
                }
            }
            _ => wrong.push("goes out a third time"),
        }
        request.refused = false;
        request.sent.push((token.clone(), decided));
        for wrong in wrong {
            self.hold.unless(false, || format!("{token} of {} {wrong}", self.process.name));
        }
    }

    /// No task is ready to run, and no refresh is overdue.
    pub(crate) fn at_rest(&self, session: &Session) {
        let (in_use, live) = (access_token(session), session.status().is_live());
        let waits = self.lock().requests.iter().any(|request| {
            let is_current = request.sent.last().map(|(token, _)| token) == in_use.as_ref();
            request.sent.len() == 1 && request.refused && !request.done && is_current
        });
        self.hold.unless(!(waits && live), || {
            format!("{in_use:?} of {} is live while its successor is waited for", self.process.name)
        });
    }
}

pub(crate) fn access_token(session: &Session) -> Option<String> {
    let tokens = session.tokens();
    Some(tokens.as_ref().and_then(Tokens::access_token)?.expose().to_owned())
}

/// Tells when the request has no caller any more.
struct Done {
    requests: Requests,
    id: usize,
}

impl Drop for Done {
    fn drop(&mut self) {
        self.requests.lock().requests[self.id].done = true;
    }
}

impl Service<Request<Full<Bytes>>> for Api {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let api = self.clone();
        let Id(id) = *request.extensions().get().unwrap();
        let authorization: Vec<_> =
            request.headers().get_all(AUTHORIZATION).iter().cloned().collect();
        api.requests.sent(id, &authorization, &api.issuer);
        Box::pin(async move {
            // It decides when it answers, so that a refusal may come late.
            let _ = api.held.subscribe().wait_for(|&held| !held).await;
            let mut response = Response::new(Full::default());
            let token = authorization.first().and_then(|value| value.to_str().ok());
            let token = token.and_then(|value| value.strip_prefix("Bearer "));
            if token.is_some_and(|token| !api.issuer.accepts(token)) {
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                api.requests.lock().requests[id].refused = true;
            }
            Ok(response)
        })
    }
}
