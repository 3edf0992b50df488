use std::{
    collections::VecDeque,
    fmt,
    future::pending,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::watch;
use tower_service::Service;

use super::gate::{Gate, Hold};
use crate::{
    endpoint::{EndpointError, RefreshRequest, TokenResponse},
    error::BoxError,
    token::RefreshToken,
};

/// A token endpoint in memory: no sockets, no clock of its own, so that it works in paused time.
///
/// Every clone is a handle to the same endpoint, and a service too: give one to the session and
/// keep one to steer with. Left alone it answers every call at once with the next of `access-1`,
/// `access-2`, … and `refresh-1`, `refresh-2`, …; see [`answer`](Self::answer) and
/// [`hold`](Self::hold) for the rest, and the [module](super) for an example.
///
/// As Tower's contract allows, `call` panics if the service was not made ready before.
pub struct GatedEndpoint {
    shared: Arc<Shared>,
    ready: bool,
}

/// What a [`GatedEndpoint`] answers to one call.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Answer {
    /// The next of the tokens that it counts up.
    #[default]
    Next,
    /// This answer.
    Tokens(TokenResponse),
    /// This error.
    Fail(BoxError),
    /// None: the call panics.
    Panic,
    /// None ever: the call waits until it is dropped.
    Never,
    /// The inner answer, after some Tokio time.
    After(Duration, Box<Answer>),
}

impl Answer {
    /// A failure: an [`EndpointError`], or any other error, which tells the session nothing.
    pub fn fail(error: impl Into<BoxError>) -> Self {
        Self::Fail(error.into())
    }

    /// The same answer, but this much Tokio time later.
    pub fn after(self, delay: Duration) -> Self {
        Self::After(delay, Box::new(self))
    }
}

impl From<TokenResponse> for Answer {
    fn from(response: TokenResponse) -> Self {
        Self::Tokens(response)
    }
}

impl From<EndpointError> for Answer {
    fn from(error: EndpointError) -> Self {
        Self::fail(error)
    }
}

struct Shared {
    gate: Gate,
    script: Mutex<Script>,
    traffic: watch::Sender<Traffic>,
}

/// It has a lock of its own, as it may ask and script the endpoint that asks it.
type Always = Arc<Mutex<dyn FnMut() -> Answer + Send>>;

struct Script {
    life: Option<Duration>,
    rotate: bool,
    issued: u64,
    queued: VecDeque<Answer>,
    always: Option<Always>,
    presented: Vec<Option<RefreshToken>>,
}

#[derive(Clone, Copy, Default)]
struct Traffic {
    calls: usize,
    in_flight: usize,
    max_in_flight: usize,
}

impl GatedEndpoint {
    /// An endpoint whose tokens live for an hour, and that rotates the refresh token.
    pub fn new() -> Self {
        let script = Script {
            life: Some(Duration::from_secs(60 * 60)),
            rotate: true,
            issued: 0,
            queued: VecDeque::new(),
            always: None,
            presented: Vec::new(),
        };
        let shared = Shared {
            gate: Gate::default(),
            script: Mutex::new(script),
            traffic: watch::Sender::default(),
        };
        Self { shared: Arc::new(shared), ready: false }
    }

    /// Changes how long the tokens live that it counts up (their `expires_in`); `None` says
    /// nothing about it. Defaults to an hour.
    pub fn set_life(&self, life: impl Into<Option<Duration>>) {
        self.script().life = life.into();
    }

    /// Changes whether a new refresh token comes with each access token. Defaults to `true`.
    pub fn set_rotate(&self, rotate: bool) {
        self.script().rotate = rotate;
    }

    /// Scripts the answer to the next call that passes the gate. Answers queue up, one a call.
    pub fn answer(&self, answer: impl Into<Answer>) {
        self.script().queued.push_back(answer.into());
    }

    /// Scripts the answers to all calls that no [queued](Self::answer) answer is left for.
    /// `|| Answer::Next` goes back to the default.
    pub fn answer_always(&self, answer: impl FnMut() -> Answer + Send + 'static) {
        self.script().always = Some(Arc::new(Mutex::new(answer)));
    }

    /// Holds calls: they arrive, and wait until the hold is released.
    pub fn hold(&self) -> Hold {
        self.shared.gate.hold()
    }

    /// How many calls have arrived.
    pub fn calls(&self) -> usize {
        self.traffic().calls
    }

    /// How many calls are under way: neither answered nor dropped.
    pub fn in_flight(&self) -> usize {
        self.traffic().in_flight
    }

    /// How many calls were ever under way at once.
    pub fn max_in_flight(&self) -> usize {
        self.traffic().max_in_flight
    }

    /// Waits until this many calls have arrived, since the start.
    pub async fn calls_reached(&self, calls: usize) {
        self.reached(|traffic| traffic.calls >= calls).await;
    }

    /// Waits until no call is under way.
    pub async fn idle(&self) {
        self.reached(|traffic| traffic.in_flight == 0).await;
    }

    /// The refresh tokens that the calls came with, in the order of their arrival.
    pub fn presented(&self) -> Vec<Option<RefreshToken>> {
        self.script().presented.clone()
    }

    async fn reached(&self, enough: impl FnMut(&Traffic) -> bool) {
        let mut traffic = self.shared.traffic.subscribe();
        let reached = traffic.wait_for(enough).await;
        reached.expect("the sender lives in `self`");
    }

    fn traffic(&self) -> Traffic {
        *self.shared.traffic.borrow()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.shared.script()
    }
}

impl Service<RefreshRequest> for GatedEndpoint {
    type Response = TokenResponse;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<TokenResponse, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RefreshRequest) -> Self::Future {
        assert!(self.ready, "the endpoint was called before it was ready");
        self.ready = false;
        self.script().presented.push(request.refresh_token().cloned());
        let call = Call::arrive(self.shared.clone());
        Box::pin(async move {
            call.shared.gate.pass().await;
            let mut answer = call.shared.next();
            loop {
                match answer {
                    Answer::Next => return call.shared.script().issue(),
                    Answer::Tokens(response) => return Ok(response),
                    Answer::Fail(error) => return Err(error),
                    Answer::Panic => panic!("the test makes this call panic"),
                    Answer::Never => pending().await,
                    Answer::After(delay, then) => {
                        tokio::time::sleep(delay).await;
                        answer = *then;
                    }
                }
            }
        })
    }
}

/// A call under way; it is over when this is dropped, however it ended.
struct Call {
    shared: Arc<Shared>,
}

impl Call {
    fn arrive(shared: Arc<Shared>) -> Self {
        shared.traffic.send_modify(|traffic| {
            traffic.calls += 1;
            traffic.in_flight += 1;
            traffic.max_in_flight = traffic.max_in_flight.max(traffic.in_flight);
        });
        Self { shared }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let traffic = &self.shared.traffic;
        traffic.send_modify(|traffic| traffic.in_flight -= 1);
    }
}

impl Shared {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Answer {
        let always = {
            let mut script = self.script();
            match script.queued.pop_front() {
                Some(queued) => return queued,
                None => script.always.clone(),
            }
        };
        always.map_or(Answer::Next, |always| {
            let mut answer = always.lock().unwrap_or_else(PoisonError::into_inner);
            answer()
        })
    }
}

impl Script {
    fn issue(&mut self) -> Result<TokenResponse, BoxError> {
        self.issued += 1;
        let mut response = TokenResponse::new(format!("access-{}", self.issued))?;
        if let Some(life) = self.life {
            response = response.with_expires_in(life);
        }
        if self.rotate {
            response = response.with_refresh_token(format!("refresh-{}", self.issued))?;
        }
        Ok(response)
    }
}

impl Clone for GatedEndpoint {
    fn clone(&self) -> Self {
        // Readiness belongs to one clone.
        Self { shared: self.shared.clone(), ready: false }
    }
}

impl Default for GatedEndpoint {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for GatedEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let traffic = self.traffic();
        f.debug_struct("GatedEndpoint")
            .field("calls", &traffic.calls)
            .field("in_flight", &traffic.in_flight)
            .field("max_in_flight", &traffic.max_in_flight)
            .finish_non_exhaustive()
    }
}
