//! What two threads cost each other that share a live token.

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::{self, Runtime};

use crate::{
    BoxError, Scale,
    contenders::{Azure, Contender, Fixed, FixedAzure, Google, TowerRefresh, Yup},
    endpoint::{Answer, TokenEndpoint},
    table::Table,
};

/// The requests of each thread in one turn: enough that it counts for little which thread is the
/// first to start, and few enough that some turns have the machine for themselves.
const REQUESTS: u32 = 2_000;

pub(crate) fn run(scale: &Scale) -> Result<Table, BoxError> {
    let racers = [
        racer::<Fixed>()?,
        racer::<TowerRefresh>()?,
        racer::<Yup>()?,
        racer::<Google>()?,
        racer::<FixedAzure>()?,
        racer::<Azure>()?,
    ];
    let rounds: Vec<Vec<[f64; 2]>> = (0..scale.rounds)
        .map(|_| racers.iter().map(|racer| [1, 2].map(|threads| (racer.rate)(threads))).collect())
        .collect();

    let columns = ["contender", "one thread, requests/s", "two threads, requests/s", "gain"];
    let mut table = Table::new("Two threads, one live token", columns);
    for (nth, racer) in racers.iter().enumerate() {
        let [alone, both] = [0, 1]
            .map(|column| best_tenth(rounds.iter().map(|round| round[nth][column]).collect()));
        table.row([
            racer.name.to_owned(),
            format!("{:.2} M", alone / 1e6),
            format!("{:.2} M", both / 1e6),
            format!("× {:.2}", both / alone),
        ]);
    }
    Ok(table.note(format!(
        "What one in ten of {} rounds of {REQUESTS} requests by each thread reached or surpassed: \
         what other programs take away is nobody's fault here. Every thread has a clone of the \
         same client. A gain of 2 is what threads have that share nothing, on two idle cores.",
        scale.rounds
    )))
}

/// The rate that one in ten reaches. For two threads the median says more about who else is using
/// the machine.
fn best_tenth(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() * 9 / 10]
}

struct Racer {
    name: &'static str,
    /// The requests per second of so many threads.
    rate: Box<dyn Fn(usize) -> f64>,
}

fn racer<C: Contender>() -> Result<Racer, BoxError> {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let endpoint = TokenEndpoint::start(Answer::Token, Duration::ZERO)?;
    let client = runtime.block_on(async {
        let mut client = C::connect(&endpoint).await?;
        client.send().await.map(|()| client)
    })?;
    let rate = move |threads| {
        let rate = rate(&runtime, &client, threads);
        assert!(endpoint.calls() <= 1, "{} refreshed a live token", C::NAME);
        rate
    };
    Ok(Racer { name: C::NAME, rate: Box::new(rate) })
}

fn rate(runtime: &Runtime, client: &impl Contender, threads: usize) -> f64 {
    let together = Barrier::new(threads);
    let run = || {
        let mut client = client.clone();
        together.wait();
        let start = Instant::now();
        runtime.block_on(async {
            for _ in 0..REQUESTS {
                client.send().await.expect("the token is live");
            }
        });
        (start, Instant::now())
    };
    let spans: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no request fails")).collect()
    });
    let start = spans.iter().map(|&(start, _)| start).min().expect("a thread");
    let end = spans.iter().map(|&(_, end)| end).max().expect("a thread");
    (threads as f64) * f64::from(REQUESTS) / (end - start).as_secs_f64()
}
