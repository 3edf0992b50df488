//! When: the deadlines of a token, and the pause after a failure.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{Now, State};
use crate::{
    error::Error,
    session::config::Config,
    token::{LONGEST_LIFE, Tokens},
};

/// The deadlines of one token on the monotonic clock; `None` if nothing says when it expires.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    pub(super) stale_at: Instant,
    pub(super) expires_at: Instant,
    /// Both clocks when they last agreed.
    agreed: (Instant, SystemTime),
    /// How far the wall clock has run ahead in all.
    slept: Duration,
}

/// Two ends of one life are no farther apart than this, however they are computed.
const SLACK: Duration = Duration::from_secs(1);

/// More than this between the clocks is a suspended machine or a clock that was set.
const DRIFT: Duration = Duration::from_secs(30);

impl Deadlines {
    /// Fixes the deadlines, once per token, by what is left of its life now.
    ///
    /// Both margins shrink with the life, or a token that lives 20 s would be refreshed on each
    /// request. The window for refreshing ahead is cut by a random part, so that a fleet whose
    /// tokens were made together does not come back together.
    pub(super) fn of(tokens: &Tokens, config: &Config, now: &Now) -> Option<Self> {
        let life = tokens.life?;
        // The wall clock is asked only if this process has not seen the token arrive.
        let (from, left) = match tokens.arrived {
            Some(arrived) => (arrived, life),
            None => (now.mono, tokens.left(now.wall)?),
        };
        let leeway = config.leeway.min(life.mul_f64(0.05));
        let ahead = config.refresh_ahead.min(life.mul_f64(0.20));
        let ahead = ahead.mul_f64(1.0 - now.chance / 2.0).max(leeway);
        Some(Self {
            stale_at: from + left.saturating_sub(ahead),
            expires_at: from + left.saturating_sub(leeway),
            agreed: (now.mono, now.wall),
            slept: Duration::ZERO,
        })
    }

    /// Whether these are the deadlines of a later life.
    pub(super) fn is_later_than(&self, other: &Self) -> bool {
        self.expires_at > other.expires_at + SLACK
    }

    /// The monotonic clock stands still while a machine is suspended. If the wall clock has run
    /// ahead of it, the token is stale: it may well be expired by now, but that clock is no better
    /// a witness, so it is not thrown away.
    fn follow_wall_clock(&mut self, now: &Now) {
        let drift = self.drift(now);
        if drift > DRIFT {
            self.slept = self.slept.saturating_add(drift);
            self.stale_at = self.stale_at.min(now.mono);
            self.agreed = (now.mono, now.wall);
        }
    }

    /// How far the wall clock has run ahead of the monotonic one.
    fn drift(&self, now: &Now) -> Duration {
        let ran = now.mono.duration_since(self.agreed.0);
        let passed = now.wall.duration_since(self.agreed.1).unwrap_or_default();
        passed.saturating_sub(ran)
    }
}

impl State {
    /// Makes a token stale if the wall clock has gone on without the monotonic one: the machine
    /// was suspended, and for the server time has passed.
    pub(super) fn notice_drift(&mut self, now: &Now) {
        if let Some(deadlines) = self.deadlines_mut() {
            deadlines.follow_wall_clock(now);
        }
    }

    /// Whether the token has expired while the machine was suspended, if the wall clock is right.
    pub(in crate::session) fn has_slept_past_expiry(&self, now: &Now) -> bool {
        let deadlines = self.slot.current.as_ref().and_then(|current| current.deadlines);
        deadlines.is_some_and(|deadlines| {
            let drift = Some(deadlines.drift(now)).filter(|&drift| drift > DRIFT);
            let slept = deadlines.slept.saturating_add(drift.unwrap_or_default());
            !slept.is_zero() && now.mono + slept.min(LONGEST_LIFE) >= deadlines.expires_at
        })
    }

    fn deadlines_mut(&mut self) -> Option<&mut Deadlines> {
        self.slot.current.as_mut()?.deadlines.as_mut()
    }
}

/// After a failed refresh no other starts before `until`, and callers that need a token get `error`.
pub(super) struct Pause {
    pub(super) until: Instant,
    pub(super) error: Error,
    /// Invariant: it is not after `until`. Before it the server wants no call, so that nothing cuts
    /// the pause short: neither a refresh by hand, nor the end of the live token.
    pub(super) asked_until: Instant,
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, test_runner::RngSeed};

    use super::{super::Beginning, *};

    /// From nothing to all there is, the small ones as often as the large.
    fn durations() -> impl Strategy<Value = Duration> {
        let spread = (any::<u64>(), 0..64u32, 0..1_000_000_000u32);
        let spread = spread.prop_map(|(secs, shift, nanos)| Duration::new(secs >> shift, nanos));
        prop_oneof![1 => Just(Duration::ZERO), 1 => Just(Duration::MAX), 8 => spread]
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(0),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn deadlines_keep_their_order_and_their_margins(
            life in durations(),
            age in durations(),
            from_the_future in any::<bool>(),
            (refresh_ahead, leeway) in (durations(), durations()),
        ) {
            let wall = SystemTime::now();
            let obtained_at = match from_the_future {
                true => wall.checked_add(age),
                false => wall.checked_sub(age),
            };
            let life = life.min(LONGEST_LIFE);
            let tokens = Tokens {
                life: Some(life),
                obtained_at: obtained_at.unwrap_or(SystemTime::UNIX_EPOCH),
                ..Tokens::new("token").unwrap()
            };
            let left = tokens.left(wall).unwrap();
            prop_assert!(left <= life);

            let config = Config { refresh_ahead, leeway, ..Config::default() };
            let before = Instant::now();
            let deadlines = Deadlines::of(&tokens, &config, &Now::read()).unwrap();
            let (stale, over) = (deadlines.stale_at, deadlines.expires_at);
            prop_assert!(before <= stale && stale <= over);
            // The clock goes on while this is computed.
            let slack = Duration::from_secs(5);
            prop_assert!(over <= before + left + slack);
            let twentieth = life.mul_f64(0.05);
            prop_assert!(over + leeway.min(twentieth) + slack >= before + left);
            let ahead = refresh_ahead.min(life.mul_f64(0.2));
            prop_assert!(stale + ahead.max(leeway.min(twentieth)) + slack >= before + left);
            if left > ahead + slack {
                // At most a half is taken off at random.
                prop_assert!(stale <= before + left - ahead / 2 + slack);
            }
        }

        #[test]
        fn a_wall_clock_that_jumps_only_makes_a_token_stale_earlier(
            steps in prop::collection::vec((0..1_000_000u64, durations(), any::<bool>()), 0..8),
        ) {
            let hour = Duration::from_secs(3600);
            let tokens = living(hour, Duration::ZERO);
            let mut deadlines = Deadlines::of(&tokens, &Config::default(), &Now::read()).unwrap();
            let (mut now, wall) = deadlines.agreed;
            for (ran, jump, ahead) in steps {
                now += Duration::from_secs(ran);
                let wall = if ahead { wall.checked_add(jump) } else { wall.checked_sub(jump) };
                let before = deadlines;
                let wall = wall.unwrap_or(SystemTime::UNIX_EPOCH);
                deadlines.follow_wall_clock(&at(now, wall));
                prop_assert!(deadlines.stale_at <= before.stale_at);
                prop_assert_eq!(deadlines.expires_at, before.expires_at);
            }
        }
    }

    fn at(mono: Instant, wall: SystemTime) -> Now {
        Now { mono, wall, chance: 0.5 }
    }

    fn living(life: Duration, age: Duration) -> Tokens {
        Tokens {
            life: Some(life),
            obtained_at: SystemTime::now() - age,
            ..Tokens::new("token").unwrap()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_life_has_the_full_margins() {
        let (now, config) = (Instant::now(), Config::default());
        let hour = Duration::from_secs(3600);
        let deadlines =
            Deadlines::of(&living(hour, Duration::ZERO), &config, &Now::read()).unwrap();
        let left = deadlines.expires_at - now;
        assert!(left <= hour - config.leeway && left > hour - config.leeway * 2);
        let ahead = now + hour - deadlines.stale_at;
        assert!(ahead >= config.refresh_ahead / 2);
        assert!(ahead <= config.refresh_ahead + Duration::from_secs(1));
    }

    // S12: a token that lives shorter than the leeway costs one refresh a life
    #[tokio::test(start_paused = true)]
    async fn a_life_shorter_than_the_leeway_shrinks_the_margins() {
        let (now, config) = (Instant::now(), Config::default());
        let life = Duration::from_secs(5);
        let deadlines =
            Deadlines::of(&living(life, Duration::ZERO), &config, &Now::read()).unwrap();
        assert!(deadlines.expires_at - now > life.mul_f64(0.9));
        assert!(deadlines.stale_at - now > life.mul_f64(0.7));
        assert!(deadlines.stale_at < deadlines.expires_at);
    }

    #[tokio::test(start_paused = true)]
    async fn a_life_that_is_over_is_over_now() {
        let (now, config) = (Instant::now(), Config::default());
        for life in [Duration::ZERO, Duration::from_secs(60), crate::token::LONGEST_LIFE] {
            let deadlines = Deadlines::of(&living(life, life), &config, &Now::read()).unwrap();
            assert_eq!((deadlines.stale_at, deadlines.expires_at), (now, now), "{life:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_slept_finds_its_token_stale() {
        let config = Config::default();
        let mut deadlines = Deadlines::of(
            &living(Duration::from_secs(3600), Duration::ZERO),
            &config,
            &Now::read(),
        )
        .unwrap();
        let (now, wall) = deadlines.agreed;
        let (stale_at, expires_at) = (deadlines.stale_at, deadlines.expires_at);

        deadlines.follow_wall_clock(&at(now, wall + DRIFT));
        deadlines.follow_wall_clock(&at(now + DRIFT, wall + DRIFT * 2));
        deadlines.follow_wall_clock(&at(now, wall - Duration::from_secs(3600)));
        deadlines.follow_wall_clock(&at(now + Duration::from_secs(3000), wall));
        assert_eq!(deadlines.stale_at, stale_at, "within what clocks do");

        let woke = now + Duration::from_secs(60);
        deadlines.follow_wall_clock(&at(woke, wall + Duration::from_secs(60 + 31)));
        assert_eq!((deadlines.stale_at, deadlines.expires_at), (woke, expires_at));
    }

    // S79: a token that expired during a suspend is not used before a refresh was tried
    #[tokio::test(start_paused = true)]
    async fn a_token_that_expired_while_the_machine_slept_is_known_by_the_wall_clock() {
        let config = Config::default();
        let begin = Now::read();
        let beginning = Beginning {
            session: 0,
            initial_tokens: living(Duration::from_secs(3600), Duration::ZERO),
            is_stored: false,
            is_shared: false,
            has_login: false,
            keep_fresh: false,
            identity: None,
            is_swept: false,
            asks: false,
        };
        let state = State::new(beginning, &config, &begin);
        let slept = |secs| at(begin.mono, begin.wall + Duration::from_secs(secs));
        assert!(!state.has_slept_past_expiry(&slept(0)));
        assert!(!state.has_slept_past_expiry(&slept(3000)), "it is live by either clock");
        assert!(state.has_slept_past_expiry(&slept(3600)));
        // A clock that was set back, or ran as far as the other, proves nothing.
        assert!(
            !state.has_slept_past_expiry(&at(begin.mono, begin.wall - Duration::from_secs(3600)))
        );
        let both = Duration::from_secs(3000);
        assert!(!state.has_slept_past_expiry(&at(begin.mono + both, begin.wall + both)));
    }
}
