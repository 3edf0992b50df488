//! Work that takes too long to be done thousands of times, measured side by side.

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
