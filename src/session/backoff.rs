//! How long to leave a failing endpoint alone.

use std::time::Duration;

/// The delays between tries: doubling from `first` up to `most`, each with full jitter (a random
/// part of the delay, from nothing to all of it), so that those who failed together do not come
/// back together.
pub(super) fn delays(limits: (Duration, Duration)) -> impl Iterator<Item = Duration> + Send {
    (1..).map(move |failures| pause(limits, failures, fastrand::f64()))
}

/// The pause after this many failures in a row (at least one), of which `chance` is the random part.
pub(super) fn pause((first, most): (Duration, Duration), failures: u32, chance: f64) -> Duration {
    let factor = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    let delay = if first.is_zero() { first } else { first.max(Duration::from_nanos(1)) };
    delay.saturating_mul(factor).min(most).mul_f64(chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_limit_and_are_spread_over_their_whole_width() {
        let limits = (Duration::from_secs(1), Duration::from_secs(30));
        for (failures, most) in [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (u32::MAX, 30)] {
            let most = Duration::from_secs(most);
            assert_eq!(pause(limits, failures, 0.0), Duration::ZERO);
            assert_eq!(pause(limits, failures, 0.5), most / 2, "{failures}");
            assert!(pause(limits, failures, 0.999) < most);
        }
        let mut delays = delays(limits);
        assert!(delays.next().unwrap() <= limits.0 && delays.next().unwrap() <= limits.0 * 2);
    }
}
