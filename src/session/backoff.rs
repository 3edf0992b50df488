//! How long to leave a failing endpoint alone.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

/// The delays between tries: doubling from `first` up to `most`, each with full jitter (a random
/// part of the delay, from nothing to all of it), so that those who failed together do not come
/// back together.
pub(super) fn delays((first, most): (Duration, Duration)) -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::new()
        .with_min_delay(first)
        .with_max_delay(most)
        .without_max_times()
        .build()
        .map(|delay| delay.mul_f64(fastrand::f64()))
}

/// The pause after so many failed rounds in a row (at least one).
pub(super) fn pause(limits: (Duration, Duration), failures: u32) -> Duration {
    // By then even a nanosecond has doubled to the most that there is; each step takes time.
    let skip = failures.saturating_sub(1).min(64) as usize;
    delays(limits).nth(skip).unwrap_or(limits.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_limit_and_are_spread_over_their_whole_width() {
        let limits = (Duration::from_secs(1), Duration::from_secs(30));
        for (failures, most) in [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (u32::MAX, 30)] {
            let most = Duration::from_secs(most);
            let pauses: Vec<_> = (0..200).map(|_| pause(limits, failures)).collect();
            assert!(pauses.iter().all(|&p| p <= most), "{failures}");
            assert!(pauses.iter().any(|&p| p < most / 4), "{failures}");
            assert!(pauses.iter().any(|&p| p > most * 3 / 4), "{failures}");
        }
    }
}
