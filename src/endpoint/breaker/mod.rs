//! Leaving a token endpoint alone that fails for all.

mod circuit;

use std::{
    fmt,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt};
use http::StatusCode;
use tokio::time::{Instant, timeout};
use tower_layer::Layer;
use tower_service::Service;

use self::circuit::{Circuit, Outcome, Role};
use super::{EndpointError, FailureClass, RefreshRequest, TokenResponse};
use crate::error::{BoxError, chain};

/// Leaves a token endpoint alone that fails for several sessions in a row, so that an outage does
/// not cost a call for each of a hundred thousand.
///
/// A session of its own pauses after failures anyway. This layer is for endpoints that many sessions
/// call: its service and all clones of that share what they have learned. So put it around the
/// endpoint once, and give each session a clone.
///
/// ```
/// use tower::{ServiceBuilder, limit::ConcurrencyLimitLayer};
/// use tower_refresh::{Session, endpoint::{BreakerLayer, OAuth2Client, OAuth2Endpoint}};
///
/// # fn main() -> Result<(), tower_refresh::Error> {
/// let client = OAuth2Client::basic("billing", "7Fjfp0ZBr1KtDRbnfVdmIw");
/// let endpoint = ServiceBuilder::new()
///     .layer(BreakerLayer::new())
///     .layer(ConcurrencyLimitLayer::new(64))
///     .service(OAuth2Endpoint::refresh_token("https://auth.example.com/token", client)?);
/// let ann = Session::builder(endpoint.clone()).name("ann").build();
/// let ben = Session::builder(endpoint).name("ben").build();
/// # Ok(())
/// # }
/// ```
///
/// # When it opens
///
/// - After calls of **five different sessions in a row** brought no token, for whatever reason but
///   [`InvalidGrant`](FailureClass::InvalidGrant): that is an answer about one user, from an endpoint
///   that works. A session that fails again and again counts once.
/// - At once, if a 429 or 503 says `Retry-After`. What one session is told then counts for all.
///
/// A call that takes longer than ten seconds, or that is dropped without an answer, counts as one
/// that failed.
///
/// # While it is open
///
/// Calls fail at once and the endpoint is not asked, not even for its readiness. The failure is
/// [transient](FailureClass::Transient), says that
/// [nothing was spent](super::Spent::No), and has a `Retry-After` of the rest of the pause and up
/// to half of that at random. To a session it is no failed refresh of its own: its own pause does
/// not grow.
///
/// After a pause one call is let through. A token closes the breaker, and so does an
/// `InvalidGrant`; any other answer opens it again. The pause is 1 s and doubles to 30 s, of which
/// up to a half is taken off at random; a `Retry-After` is respected up to five minutes. A token
/// that an earlier call brings late closes it as well, unless the server has asked for the pause.
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "a layer does nothing before it is put around a service"]
pub struct BreakerLayer(());

impl BreakerLayer {
    /// A breaker for each service that the layer is put around.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<S> Layer<S> for BreakerLayer {
    type Service = Breaker<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Breaker { inner, is_readied: false, circuit: Arc::default() }
    }
}

/// A token endpoint that is left alone while it fails for all. See [`BreakerLayer`].
pub struct Breaker<S> {
    inner: S,
    /// `poll_ready` has asked inside. It does not while the circuit is open.
    is_readied: bool,
    circuit: Arc<Mutex<Circuit>>,
}

/// A call without an answer counts as a failure after this long.
const PATIENCE: Duration = Duration::from_secs(10);

impl Outcome {
    fn of(result: &Result<TokenResponse, BoxError>, sends_token: bool) -> Self {
        let error = match result {
            Ok(_) => return Self::Token,
            Err(error) => error,
        };
        let known = chain(error.as_ref()).find_map(|error| error.downcast_ref::<EndpointError>());
        let Some(known) = known else {
            return Self::Failed { why: error.to_string(), retry_after: None };
        };
        let overloaded = matches!(
            known.status(),
            Some(StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
        );
        let retry_after = known.retry_after().filter(|_| overloaded);
        match known.class() {
            _ if retry_after.is_some() => Self::Failed { why: known.to_string(), retry_after },
            // A grant that needs a refresh token sends nothing without one.
            FailureClass::InvalidGrant if !sends_token && known.status().is_none() => Self::Nothing,
            FailureClass::InvalidGrant => Self::Refused,
            _ => Self::Failed { why: known.to_string(), retry_after },
        }
    }
}

/// A call under way. Dropped without an answer it has failed.
struct Call {
    circuit: Arc<Mutex<Circuit>>,
    role: Role,
    session: Option<u64>,
    /// It has counted as failed, or was answered.
    counted: bool,
}

impl Call {
    fn end(&mut self, outcome: Outcome) {
        let fails = matches!(outcome, Outcome::Failed { retry_after: None, .. });
        if fails && self.counted {
            return;
        }
        self.counted = true;
        let mut circuit = lock(&self.circuit);
        circuit.on_outcome(self.role, self.session, outcome, Instant::now());
    }

    /// It counts as failed from now on. Its answer may come all the same.
    fn time_out(&mut self) {
        let why = format!("a call had no answer for {PATIENCE:?}");
        self.end(Outcome::Failed { why, retry_after: None });
        self.role = Role::Ordinary;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Outcome::Failed { why: "a call was given up".to_owned(), retry_after: None });
    }
}

fn lock(circuit: &Mutex<Circuit>) -> MutexGuard<'_, Circuit> {
    circuit.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S> Service<RefreshRequest> for Breaker<S>
where
    S: Service<RefreshRequest, Response = TokenResponse>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = TokenResponse;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<TokenResponse, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if !self.is_readied && lock(&self.circuit).rest(Instant::now()).is_none() {
            ready!(self.inner.poll_ready(cx)).map_err(Into::into)?;
            self.is_readied = true;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RefreshRequest) -> Self::Future {
        let admitted = {
            let (mut circuit, now) = (lock(&self.circuit), Instant::now());
            match self.is_readied {
                true => circuit.admit(now),
                // It was open then, and nothing inside is ready.
                false => Err(circuit.left_alone(circuit.rest(now).unwrap_or_default())),
            }
        };
        let role = match admitted {
            Ok(role) => role,
            Err(error) => return async { Err(error.into()) }.boxed(),
        };
        self.is_readied = false;
        let sends_token = request.refresh_token().is_some();
        let circuit = self.circuit.clone();
        let mut call = Call { circuit, role, session: request.session(), counted: false };
        // Its error may not be `Send`, and is not to be held.
        let answer = self.inner.call(request).map(|result| result.map_err(Into::into));
        async move {
            let mut answer = pin!(answer);
            let result = match timeout(PATIENCE, answer.as_mut()).await {
                Ok(result) => result,
                Err(_elapsed) => {
                    call.time_out();
                    answer.await
                }
            };
            call.end(Outcome::of(&result, sends_token));
            result
        }
        .boxed()
    }
}

/// Readiness is not cloned.
impl<S: Clone> Clone for Breaker<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), is_readied: false, circuit: self.circuit.clone() }
    }
}

impl<S: fmt::Debug> fmt::Debug for Breaker<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_open = lock(&self.circuit).is_open();
        f.debug_struct("Breaker")
            .field("inner", &self.inner)
            .field("is_open", &is_open)
            .finish_non_exhaustive()
    }
}
