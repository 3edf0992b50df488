use std::{sync::Arc, time::Duration};

use super::scheme::AuthScheme;
use crate::{origin::Origin, token::LONGEST_LIFE};

/// The settings of a session; their meaning and defaults stand at the builder's setters.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) scheme: AuthScheme,
    /// Where its tokens may go. `None` is anywhere.
    pub(crate) origins: Option<Arc<[Origin]>>,
    pub(crate) attempt_timeout: Duration,
    pub(crate) call_limit: Duration,
    pub(crate) attempts: u32,
    pub(crate) backoff: (Duration, Duration),
    pub(crate) pause: (Duration, Duration),
    pub(crate) wait_limit: Duration,
    pub(crate) store_timeout: Duration,
    pub(crate) refusals: (u32, Duration),
    pub(crate) refresh_ahead: Duration,
    pub(crate) leeway: Duration,
    pub(crate) min_interval: Duration,
    pub(crate) lease: Duration,
    pub(crate) refresh_without_store: bool,
    pub(crate) keep_fresh: bool,
    /// How old the last look at the store may be when the session is used. `None` for a part of the
    /// lease.
    pub(crate) look_after: Option<Duration>,
}

/// A store's watch looks at it several times per lease, and a shorter one would have ended before
/// it was taken.
const SHORTEST_LEASE: Duration = Duration::from_millis(100);

/// The pause after the endpoint refused a call for a fault of configuration: the first one, and the
/// longest.
pub(super) const MISCONFIGURED_PAUSES: (Duration, Duration) =
    (Duration::from_secs(30), Duration::from_secs(5 * 60));

/// How much of a server's `Retry-After` is respected at most.
pub(super) const RETRY_AFTER_LIMIT: Duration = Duration::from_secs(5 * 60);

/// What a reader respects of a stored lease at most.
const LONGEST_LEASE: Duration = Duration::from_secs(60);

impl Config {
    /// The same without times that no clock can be ahead by: `Duration::MAX` is how one says
    /// "for ever".
    pub(crate) fn bounded(mut self) -> Self {
        for time in [
            &mut self.attempt_timeout,
            &mut self.call_limit,
            &mut self.backoff.0,
            &mut self.backoff.1,
            &mut self.pause.0,
            &mut self.pause.1,
            &mut self.wait_limit,
            &mut self.store_timeout,
            &mut self.min_interval,
            &mut self.lease,
        ] {
            *time = LONGEST_LIFE.min(*time);
        }
        self.lease = self.lease.clamp(SHORTEST_LEASE, LONGEST_LEASE);
        self.call_limit = self.call_limit.max(self.attempt_timeout);
        self
    }
}

impl Default for Config {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self {
            scheme: AuthScheme::BEARER,
            origins: None,
            attempt_timeout: secs(10),
            call_limit: secs(60),
            attempts: 3,
            backoff: (Duration::from_millis(200), secs(5)),
            pause: (secs(1), secs(30)),
            wait_limit: secs(30),
            store_timeout: secs(2),
            refusals: (3, secs(30)),
            refresh_ahead: secs(60),
            leeway: secs(10),
            min_interval: secs(1),
            lease: secs(5),
            refresh_without_store: false,
            keep_fresh: false,
            look_after: None,
        }
    }
}
