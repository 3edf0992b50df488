//! What a breaker knows of its endpoint, without I/O and a clock.

use std::time::Duration;

use tokio::time::Instant;

use crate::endpoint::EndpointError;

/// How many different sessions have to fail in a row.
const SESSIONS: usize = 5;

/// The pause after the first opening and the longest after any.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How much of a server's `Retry-After` is respected at most.
const RETRY_AFTER_LIMIT: Duration = Duration::from_secs(5 * 60);

#[derive(Debug, Default)]
pub(super) struct Circuit {
    /// The callers that have failed since the last answer; `None` stands for one without a session.
    failed: Vec<Option<u64>>,
    open: Option<Open>,
    /// Pauses in a row.
    pauses: u32,
}

#[derive(Debug)]
struct Open {
    until: Instant,
    /// The server has asked for the pause.
    demanded: bool,
    /// The call that was let through after the pause is out.
    probing: bool,
    /// The last failure, in words.
    why: String,
}

/// What became of a call, to the breaker.
pub(super) enum Outcome {
    Token,
    /// An answer about one user. It comes from an endpoint that works.
    Refused,
    /// Nothing was asked.
    Nothing,
    Failed {
        why: String,
        retry_after: Option<Duration>,
    },
}

impl Circuit {
    /// How long calls are to be left alone from now on. `None` if one may go out.
    pub(super) fn rest(&self, now: Instant) -> Option<Duration> {
        let open = self.open.as_ref()?;
        match open.until.saturating_duration_since(now) {
            Duration::ZERO if open.probing => Some(PAUSE.0),
            Duration::ZERO => None,
            rest => Some(rest),
        }
    }

    /// Lets a call through, or says why not.
    pub(super) fn admit(&mut self, now: Instant) -> Result<Role, EndpointError> {
        if let Some(rest) = self.rest(now) {
            return Err(self.left_alone(rest));
        }
        let Some(open) = &mut self.open else { return Ok(Role::Ordinary) };
        open.probing = true;
        Ok(Role::Probe)
    }

    /// The error of a call that is not made.
    pub(super) fn left_alone(&self, rest: Duration) -> EndpointError {
        let why = self.open.as_ref().map_or("it did until now", |open| &open.why);
        let secs = rest.as_secs_f64().ceil();
        let message = format!("it is left alone for {secs} s, as it fails for all: {why}");
        // Or all would come back at once.
        EndpointError::held_back(message, rest.mul_f64(1.0 + fastrand::f64() / 2.0))
    }

    pub(super) fn on_outcome(
        &mut self,
        role: Role,
        session: Option<u64>,
        outcome: Outcome,
        now: Instant,
    ) {
        let is_probe = role == Role::Probe;
        match outcome {
            Outcome::Token | Outcome::Refused => {
                // What was asked before an outage says nothing of now, unless it is a token.
                let is_token = matches!(outcome, Outcome::Token);
                let closes = |open: &Open| is_probe || (is_token && !open.demanded);
                if self.open.as_ref().is_none_or(closes) {
                    *self = Self::default();
                }
            }
            Outcome::Nothing => {
                if let Some(open) = self.open.as_mut().filter(|_| is_probe) {
                    open.probing = false;
                }
            }
            Outcome::Failed { why, retry_after: Some(asked) } => {
                self.open_for(asked.min(RETRY_AFTER_LIMIT), true, is_probe, why, now);
            }
            Outcome::Failed { why, retry_after: None } if is_probe => {
                self.open_for(Duration::ZERO, false, is_probe, why, now);
            }
            Outcome::Failed { why, retry_after: None } if self.open.is_none() => {
                if session.is_none() || !self.failed.contains(&session) {
                    self.failed.push(session);
                }
                if self.failed.len() >= SESSIONS {
                    self.open_for(Duration::ZERO, false, is_probe, why, now);
                }
            }
            // Of calls that fail together one is enough.
            Outcome::Failed { .. } => {}
        }
    }

    /// Opens it, or opens it again, for what is asked and at least the next pause.
    fn open_for(
        &mut self,
        asked: Duration,
        demanded: bool,
        is_probe: bool,
        why: String,
        now: Instant,
    ) {
        let mut open = Open { until: now + asked, demanded, probing: false, why };
        match self.open.take() {
            // One that was out already, as are those beside it: the pause does not double.
            Some(before) if !is_probe => {
                open.until = open.until.max(before.until);
                open.probing = before.probing;
            }
            _ => {
                let pause = PAUSE.1.min(PAUSE.0 * 2u32.pow(self.pauses.min(16)));
                let pause = pause.mul_f64(1.0 - fastrand::f64() / 2.0);
                open.until = open.until.max(now + pause);
                self.pauses = self.pauses.saturating_add(1);
            }
        }
        self.failed.clear();
        self.open = Some(open);
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Ordinary,
    /// The one call after a pause.
    Probe,
}
