//! Contenders measured side by side, so that noise meets all of them alike.

use std::time::{Duration, Instant};

/// One of those that are compared: does its work as often as it is told.
pub(crate) struct Contender<'a> {
    pub(crate) name: &'static str,
    work: Box<dyn FnMut(u64) + 'a>,
}

impl<'a> Contender<'a> {
    pub(crate) fn new(name: &'static str, mut once: impl FnMut() + 'a) -> Self {
        let work = move |times| (0..times).for_each(|_| once());
        Self { name, work: Box::new(work) }
    }

    pub(crate) fn work(&mut self, times: u64) {
        (self.work)(times);
    }
}

/// What each contender took for one piece of work, in nanoseconds, round by round.
pub(crate) struct Rounds {
    names: Vec<&'static str>,
    rounds: Vec<Vec<f64>>,
}

impl Rounds {
    /// In each round every contender works for about a millisecond, and each round begins with
    /// another of them.
    pub(crate) fn run(mut contenders: Vec<Contender<'_>>, rounds: usize) -> Self {
        let times: Vec<u64> = contenders.iter_mut().map(calibrate).collect();
        let mut run = Self {
            names: contenders.iter().map(|contender| contender.name).collect(),
            rounds: Vec::with_capacity(rounds),
        };
        for round in 0..rounds {
            let mut took = vec![0.0; contenders.len()];
            for turn in 0..contenders.len() {
                let who = (turn + round) % contenders.len();
                let elapsed = time(&mut contenders[who], times[who]);
                took[who] = elapsed.as_nanos() as f64 / times[who] as f64;
            }
            run.rounds.push(took);
        }
        run
    }

    /// The median of what `of` computes from the figures of one round.
    pub(crate) fn median(&self, of: impl Fn(&dyn Fn(&str) -> f64) -> f64) -> f64 {
        let mut values: Vec<f64> = self
            .rounds
            .iter()
            .map(|round| of(&|name| round[self.names.iter().position(|n| *n == name).unwrap()]))
            .collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }
}

fn calibrate(contender: &mut Contender<'_>) -> u64 {
    let mut times = 64;
    loop {
        let elapsed = time(contender, times);
        if elapsed > Duration::from_micros(500) {
            return times;
        }
        times *= 2;
    }
}

fn time(contender: &mut Contender<'_>, times: u64) -> Duration {
    let start = Instant::now();
    contender.work(times);
    start.elapsed()
}
