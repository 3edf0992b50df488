//! When: the deadlines of a token, and how many refreshes refusals may cause.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::config::Config;
use crate::token::Tokens;

/// The deadlines of one token on the monotonic clock; `None` if nothing says when it expires.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    pub(super) stale_at: Instant,
    pub(super) expires_at: Instant,
    /// Both clocks when they last agreed.
    agreed: (Instant, SystemTime),
}

/// More than this between the clocks is a suspended machine or a clock that was set.
const DRIFT: Duration = Duration::from_secs(30);

impl Deadlines {
    /// Fixes the deadlines, once per token, by what is left of its life now.
    ///
    /// Both margins shrink with the life, or a token that lives 20 s would be refreshed on each
    /// request. The window for refreshing ahead is cut by a random part, so that a fleet whose
    /// tokens were made together does not come back together.
    pub(super) fn of(tokens: &Tokens, config: &Config) -> Option<Self> {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let life = tokens.life?;
        // The wall clock is asked only if this process has not seen the token arrive.
        let (from, left) = match tokens.arrived {
            Some(arrived) => (arrived, life),
            None => (now, tokens.left(wall)?),
        };
        let leeway = config.leeway.min(life.mul_f64(0.05));
        let ahead = config.refresh_ahead.min(life.mul_f64(0.20));
        let ahead = ahead.mul_f64(1.0 - fastrand::f64() / 2.0).max(leeway);
        Some(Self {
            stale_at: from + left.saturating_sub(ahead),
            expires_at: from + left.saturating_sub(leeway),
            agreed: (now, wall),
        })
    }

    /// The monotonic clock stands still while a machine is suspended. If the wall clock has run
    /// ahead of it, the token is stale: it may well be expired by now, but that clock is no better
    /// a witness, so it is not thrown away.
    pub(super) fn follow_wall_clock(&mut self, now: Instant, wall: SystemTime) {
        let ran = now.duration_since(self.agreed.0);
        let passed = wall.duration_since(self.agreed.1).unwrap_or_default();
        if passed.saturating_sub(ran) > DRIFT {
            self.stale_at = self.stale_at.min(now);
            self.agreed = (now, wall);
        }
    }
}

/// How many refreshes refusals have caused lately. It bounds what an API costs that refuses
/// every token it is shown.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    caused: VecDeque<Instant>,
}

impl Refusals {
    /// Whether a refusal may cause one more refresh; if so, it is counted.
    pub(super) fn admit(&mut self, now: Instant, (most, window): (u32, Duration)) -> bool {
        while self.caused.front().is_some_and(|&at| now.duration_since(at) >= window) {
            self.caused.pop_front();
        }
        let admitted = self.caused.len() < most as usize;
        if admitted {
            self.caused.push_back(now);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, test_runner::RngSeed};

    use super::*;
    use crate::token::LONGEST_LIFE;

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
            let deadlines = Deadlines::of(&tokens, &config).unwrap();
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
            let mut deadlines = Deadlines::of(&tokens, &Config::default()).unwrap();
            let (mut now, wall) = deadlines.agreed;
            for (ran, jump, ahead) in steps {
                now += Duration::from_secs(ran);
                let wall = if ahead { wall.checked_add(jump) } else { wall.checked_sub(jump) };
                let before = deadlines;
                deadlines.follow_wall_clock(now, wall.unwrap_or(SystemTime::UNIX_EPOCH));
                prop_assert!(deadlines.stale_at <= before.stale_at);
                prop_assert_eq!(deadlines.expires_at, before.expires_at);
            }
        }

        #[test]
        fn refusals_are_bounded_in_every_window(
            most in 0..5u32,
            window in 1..100u64,
            steps in prop::collection::vec(0..50u64, 0..100),
        ) {
            let (mut refusals, mut now) = (Refusals::default(), Instant::now());
            let limit = (most, Duration::from_secs(window));
            let mut admitted = Vec::new();
            for step in steps {
                now += Duration::from_secs(step);
                let recent = admitted.iter().filter(|&&at| now - at < limit.1).count();
                let admits = refusals.admit(now, limit);
                prop_assert_eq!(admits, recent < most as usize);
                admitted.extend(admits.then_some(now));
            }
        }
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
        let deadlines = Deadlines::of(&living(hour, Duration::ZERO), &config).unwrap();
        let left = deadlines.expires_at - now;
        assert!(left <= hour - config.leeway && left > hour - config.leeway * 2);
        let ahead = now + hour - deadlines.stale_at;
        assert!(ahead >= config.refresh_ahead / 2);
        assert!(ahead <= config.refresh_ahead + Duration::from_secs(1));
    }

    // S12
    #[tokio::test(start_paused = true)]
    async fn a_life_shorter_than_the_leeway_shrinks_the_margins() {
        let (now, config) = (Instant::now(), Config::default());
        let life = Duration::from_secs(5);
        let deadlines = Deadlines::of(&living(life, Duration::ZERO), &config).unwrap();
        assert!(deadlines.expires_at - now > life.mul_f64(0.9));
        assert!(deadlines.stale_at - now > life.mul_f64(0.7));
        assert!(deadlines.stale_at < deadlines.expires_at);
    }

    #[tokio::test(start_paused = true)]
    async fn a_life_that_is_over_is_over_now() {
        let (now, config) = (Instant::now(), Config::default());
        for life in [Duration::ZERO, Duration::from_secs(60), crate::token::LONGEST_LIFE] {
            let deadlines = Deadlines::of(&living(life, life), &config).unwrap();
            assert_eq!((deadlines.stale_at, deadlines.expires_at), (now, now), "{life:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_slept_finds_its_token_stale() {
        let config = Config::default();
        let mut deadlines =
            Deadlines::of(&living(Duration::from_secs(3600), Duration::ZERO), &config).unwrap();
        let (now, wall) = deadlines.agreed;
        let (stale_at, expires_at) = (deadlines.stale_at, deadlines.expires_at);

        deadlines.follow_wall_clock(now, wall + DRIFT);
        deadlines.follow_wall_clock(now + DRIFT, wall + DRIFT * 2);
        deadlines.follow_wall_clock(now, wall - Duration::from_secs(3600));
        deadlines.follow_wall_clock(now + Duration::from_secs(3000), wall);
        assert_eq!(deadlines.stale_at, stale_at, "within what clocks do");

        let woke = now + Duration::from_secs(60);
        deadlines.follow_wall_clock(woke, wall + Duration::from_secs(60 + 31));
        assert_eq!((deadlines.stale_at, deadlines.expires_at), (woke, expires_at));
    }

    #[tokio::test(start_paused = true)]
    async fn the_window_of_refusals_slides() {
        let (mut refusals, limit) = (Refusals::default(), (2, Duration::from_secs(30)));
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        assert!(refusals.admit(at(0), limit));
        assert!(refusals.admit(at(20), limit));
        assert!(!refusals.admit(at(29), limit));
        assert!(refusals.admit(at(30), limit));
        assert!(!refusals.admit(at(49), limit));
        assert!(refusals.admit(at(50), limit));
    }
}
