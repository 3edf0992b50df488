use std::time::Duration;

use super::scheme::AuthScheme;
use crate::{origin::Origin, token::LONGEST_LIFE};

/// The settings of a session; their meaning and defaults stand at the builder's setters.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) scheme: AuthScheme,
    /// Where its tokens may go. `None` is anywhere.
    pub(super) origins: Option<Box<[Origin]>>,
    pub(super) attempt_timeout: Duration,
    pub(super) attempts: u32,
    pub(super) backoff: (Duration, Duration),
    pub(super) pause: (Duration, Duration),
    pub(super) rejected_pause: Duration,
    pub(super) retry_after_limit: Duration,
    pub(super) wait_limit: Duration,
    pub(super) store_timeout: Duration,
    pub(super) refusals: (u32, Duration),
    pub(super) refresh_ahead: Duration,
    pub(super) leeway: Duration,
    pub(super) min_interval: Duration,
    pub(super) lease: Duration,
    pub(super) refresh_without_store: bool,
    pub(super) keep_fresh: bool,
}

/// A store's watch looks at it several times per lease, and a shorter one would have ended before
/// it was taken.
const SHORTEST_LEASE: Duration = Duration::from_millis(100);

impl Config {
    /// The same without times that no clock can be ahead by: `Duration::MAX` is how one says
    /// "for ever".
    pub(super) fn bounded(mut self) -> Self {
        for time in [
            &mut self.attempt_timeout,
            &mut self.backoff.0,
            &mut self.backoff.1,
            &mut self.pause.0,
            &mut self.pause.1,
            &mut self.rejected_pause,
            &mut self.retry_after_limit,
            &mut self.wait_limit,
            &mut self.store_timeout,
            &mut self.min_interval,
            &mut self.lease,
        ] {
            *time = LONGEST_LIFE.min(*time);
        }
        self.lease = SHORTEST_LEASE.max(self.lease);
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
            attempts: 3,
            backoff: (Duration::from_millis(200), secs(5)),
            pause: (secs(1), secs(30)),
            rejected_pause: secs(5 * 60),
            retry_after_limit: secs(5 * 60),
            wait_limit: secs(30),
            store_timeout: secs(2),
            refusals: (3, secs(30)),
            refresh_ahead: secs(60),
            leeway: secs(10),
            min_interval: secs(1),
            lease: secs(5),
            refresh_without_store: false,
            keep_fresh: false,
        }
    }
}
