use std::{collections::VecDeque, fmt, future, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt;

use super::{
    Dialect,
    body::{Endless, ServerBody, Truncated, whole},
    wire::Wire,
};
use crate::error::BoxError;

/// Something that goes wrong with a call to a token endpoint of an
/// [`AuthServer`](super::AuthServer).
///
/// On its own a fault keeps the call from doing anything: no refresh token is spent. With
/// [`after_spending`](Self::after_spending) the call is carried out first, and only its answer
/// suffers.
///
/// ```
/// use std::time::Duration;
/// use http::StatusCode;
/// use tower_refresh::testing::Fault;
///
/// let busy = Fault::status(StatusCode::TOO_MANY_REQUESTS).retry_after(Duration::from_secs(7));
/// let lost = Fault::drop_connection().after_spending();
/// let slow = Fault::late(Duration::from_millis(300));
/// ```
#[must_use = "a fault does nothing before a server has it"]
#[derive(Clone)]
pub struct Fault {
    after_spending: bool,
    delay: Duration,
    effect: Effect,
}

#[derive(Clone)]
enum Effect {
    /// The call's own answer, late.
    Late,
    Answer(Response<Bytes>),
    /// The call's own answer, otherwise put.
    Dialect(Box<Dialect>),
    Drop,
    Hang,
    Truncate,
    Endless,
}

impl Fault {
    /// No fault but time: the call is carried out and answered after `delay`. With
    /// [`after_spending`](Self::after_spending) it is carried out at once and only the answer is
    /// late.
    pub fn late(delay: Duration) -> Self {
        Self { delay, ..Self::new(Effect::Late) }
    }

    /// An answer with this status and an empty body.
    pub fn status(status: StatusCode) -> Self {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status;
        Self::answer(response)
    }

    /// A page of HTML with status 200, as a captive portal sends.
    pub fn garbage() -> Self {
        let mut response = Response::new(Bytes::from_static(b"<html>Welcome to the wifi!</html>"));
        let html = HeaderValue::from_static("text/html");
        response.headers_mut().insert(header::CONTENT_TYPE, html);
        Self::answer(response)
    }

    /// Status 200 with this body, said to be JSON.
    pub fn body(body: impl Into<Bytes>) -> Self {
        let mut response = Response::new(body.into());
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        Self::answer(response)
    }

    /// The call's own answer, in these words, over HTTP/1: the call is carried out.
    pub fn dialect(dialect: Dialect) -> Self {
        Self::new(Effect::Dialect(Box::new(dialect)))
    }

    /// Exactly this answer.
    pub fn answer(response: Response<Bytes>) -> Self {
        Self::new(Effect::Answer(response))
    }

    /// No answer: the connection is closed (over HTTP/2: the stream is reset).
    pub fn drop_connection() -> Self {
        Self::new(Effect::Drop)
    }

    /// No answer, and the connection stays open until the client gives up.
    pub fn hang() -> Self {
        Self::new(Effect::Hang)
    }

    /// Half of an answer: the connection is closed before the promised `Content-Length`.
    pub fn truncate() -> Self {
        Self::new(Effect::Truncate)
    }

    /// Status 200 with a body that never ends.
    pub fn endless() -> Self {
        Self::new(Effect::Endless)
    }

    /// Carries the call out before the fault strikes: the refresh token is spent, the family is
    /// rotated, and the client does not learn its new tokens.
    pub fn after_spending(mut self) -> Self {
        self.after_spending = true;
        self
    }

    /// Lets this much time pass before the fault strikes: `Fault::drop_connection().after(delay)`.
    ///
    /// Defaults to none; [`late`](Self::late) sets it too.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Adds a `Retry-After` header in seconds, with a fraction if there is one, to a fault that is an
    /// answer. For a date, see [`answer`](Self::answer).
    pub fn retry_after(mut self, delay: Duration) -> Self {
        if let Effect::Answer(response) = &mut self.effect {
            let seconds = match delay.subsec_nanos() {
                0 => HeaderValue::from(delay.as_secs()),
                _ => delay.as_secs_f64().to_string().parse().expect("digits"),
            };
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        self
    }

    fn new(effect: Effect) -> Self {
        Self { after_spending: false, delay: Duration::ZERO, effect }
    }

    /// Answers a call. `carry_out` is the call as it would go without the fault.
    pub(super) async fn strike(
        self,
        carry_out: impl Fn() -> Response<Bytes>,
        wire: Option<&Wire>,
    ) -> Result<Response<ServerBody>, BoxError> {
        let spent = self.after_spending.then(&carry_out);
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        match self.effect {
            Effect::Late => Ok(spent.unwrap_or_else(carry_out).map(whole)),
            Effect::Answer(response) => Ok(response.map(whole)),
            Effect::Dialect(dialect) => {
                let answer = spent.unwrap_or_else(carry_out);
                match wire {
                    Some(wire) => dialect.answer(answer, wire).await,
                    None => Ok(answer.map(whole)),
                }
            }
            Effect::Drop => Err("the test drops this connection".into()),
            Effect::Hang => future::pending().await,
            Effect::Truncate => {
                let answer = spent.unwrap_or_else(|| {
                    Response::new(Bytes::from_static(br#"{"access_token":"cut off"}"#))
                });
                Ok(answer.map(|body| Truncated::new(body).boxed_unsync()))
            }
            Effect::Endless => Ok(Response::new(Endless::default().boxed_unsync())),
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status;
        let effect = match &self.effect {
            Effect::Late => "late",
            Effect::Answer(response) => {
                status = response.status();
                status.as_str()
            }
            Effect::Dialect(_) => "dialect",
            Effect::Drop => "drop_connection",
            Effect::Hang => "hang",
            Effect::Truncate => "truncate",
            Effect::Endless => "endless",
        };
        f.debug_struct("Fault")
            .field("effect", &effect)
            .field("delay", &self.delay)
            .field("after_spending", &self.after_spending)
            .finish()
    }
}

/// Which fault strikes which call: first those queued, one call each; then the one that always
/// strikes; then the mix.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) queued: VecDeque<Fault>,
    pub(super) always: Option<Fault>,
    pub(super) mix: Option<Mix>,
}

#[derive(Debug)]
pub(super) struct Mix {
    random: fastrand::Rng,
    shares: Vec<(f64, Fault)>,
}

impl Faults {
    pub(super) fn next(&mut self) -> Option<Fault> {
        let queued = self.queued.pop_front();
        queued.or_else(|| self.always.clone()).or_else(|| self.mix.as_mut()?.draw())
    }
}

impl Mix {
    pub(super) fn new(seed: u64, shares: impl IntoIterator<Item = (f64, Fault)>) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), shares: shares.into_iter().collect() }
    }

    fn draw(&mut self) -> Option<Fault> {
        let mut left = self.random.f64();
        for (share, fault) in &self.shares {
            if left < *share {
                return Some(fault.clone());
            }
            left -= share;
        }
        None
    }
}
