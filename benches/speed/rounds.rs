//! Work that takes too long to be done thousands of times, measured side by side.

use std::time::Duration;

/// In each round every contender has one turn, and each round begins with another of them. Returns
/// what each measured, round by round, in the order of the contenders.
pub(crate) fn interleaved<T>(
    rounds: usize,
    contenders: &mut [&mut dyn FnMut() -> T],
) -> Vec<Vec<T>> {
    let mut figures: Vec<Vec<T>> = contenders.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for turn in 0..contenders.len() {
            let who = (turn + round) % contenders.len();
            figures[who].push(contenders[who]());
        }
    }
    figures
}

pub(crate) fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// How long this thread has worked, in the kernel too. What else runs on its core does not count,
/// and neither does waiting.
#[cfg(unix)]
pub(crate) fn worked() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.try_into().expect("it does not run backwards")
}

/// The next best, where there is no such clock.
#[cfg(not(unix))]
pub(crate) fn worked() -> Duration {
    static START: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed()
}
