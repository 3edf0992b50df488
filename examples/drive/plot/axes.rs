//! Round numbers for the axes, with units.

use std::time::Duration;

/// The unit of an axis of time.
pub(super) struct Unit {
    pub(super) name: &'static str,
    seconds: f64,
}

const UNITS: [Unit; 4] = [
    Unit { name: "h", seconds: 3600.0 },
    Unit { name: "min", seconds: 60.0 },
    Unit { name: "s", seconds: 1.0 },
    Unit { name: "ms", seconds: 0.001 },
];

impl Unit {
    /// The largest of which `span` has two at least.
    pub(super) fn of(span: Duration) -> &'static Self {
        let [.., smallest] = &UNITS;
        let fits = |unit: &&Self| span.as_secs_f64() >= 2.0 * unit.seconds;
        UNITS.iter().find(fits).unwrap_or(smallest)
    }

    pub(super) fn count(&self, time: Duration) -> f64 {
        time.as_secs_f64() / self.seconds
    }
}

/// From just below `low` to just above `high`, on a logarithmic scale.
pub(super) fn logarithmic(low: f64, high: f64) -> Vec<f64> {
    let digits: &[f64] = if high / low < 1e4 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let below = steps(digits).take_while(|step| *step <= low).last().unwrap_or(low);
    let ticks: Vec<_> = steps(digits).skip_while(|step| *step < below).collect();
    // Two ticks are needed to read a scale.
    let above = ticks.iter().position(|tick| *tick >= high).unwrap_or(ticks.len() - 1).max(1);
    ticks[..=above].to_vec()
}

/// Without the noise of floating point.
pub(super) fn label(value: &f64) -> String {
    ((value * 1e6).round() / 1e6).to_string()
}

fn steps(digits: &[f64]) -> impl Iterator<Item = f64> {
    (-6..=9).flat_map(move |power| digits.iter().map(move |digit| digit * 10f64.powi(power)))
}
