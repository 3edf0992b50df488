//! What a request costs while the token is live.

use std::time::{Duration, Instant};

use tokio::runtime;

use super::median;
use crate::{
    BoxError, Scale, allocations,
    contenders::{Azure, Contender, Fixed, FixedAzure, Google, TowerRefresh, Yup},
    endpoint::{Answer, TokenEndpoint},
    table::Table,
};

/// The requests of one turn.
const REQUESTS: u32 = 1_000;

pub(crate) fn run(scale: &Scale) -> Result<Table, BoxError> {
    let mut racers = [
        racer::<Fixed>()?,
        racer::<TowerRefresh>()?,
        racer::<Yup>()?,
        racer::<Google>()?,
        racer::<FixedAzure>()?,
        racer::<Azure>()?,
    ];
    // All of them in each round, so that a machine that is busy for a while is so for everybody.
    let rounds: Vec<Vec<Cost>> = (0..scale.rounds)
        .map(|_| racers.iter_mut().map(|racer| (racer.turn)()).collect())
        .collect();

    let columns = ["contender", "ns per request", "× the floor", "allocations per request"];
    let mut table = Table::new("A request with a live token", columns);
    for (nth, racer) in racers.iter().enumerate() {
        let column = |value: fn(&[Cost], usize) -> f64| {
            median(rounds.iter().map(|round| value(round, nth)).collect())
        };
        table.row([
            racer.name.to_owned(),
            format!("{:.0}", column(|round, nth| round[nth].nanoseconds)),
            format!("{:.2}", column(|round, nth| round[nth].nanoseconds / round[0].nanoseconds)),
            format!("{:.1}", column(|round, nth| round[nth].allocations)),
        ]);
    }
    Ok(table.note(format!(
        "One task. Medians of {} rounds of {REQUESTS} requests each, and of the ratios within each \
         round. The floor is the first row; azure_core's requests are a type of its own, with a \
         floor of its own.",
        scale.rounds
    )))
}

struct Racer {
    name: &'static str,
    /// Sends requests, one after the other.
    turn: Box<dyn FnMut() -> Cost>,
}

/// Of one request.
struct Cost {
    nanoseconds: f64,
    allocations: f64,
}

fn racer<C: Contender>() -> Result<Racer, BoxError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let endpoint = TokenEndpoint::start(Answer::Token, Duration::ZERO)?;
    let mut client = runtime.block_on(async {
        let mut client = C::connect(&endpoint).await?;
        client.send().await.map(|()| client)
    })?;
    let turn = move || {
        let cost = runtime.block_on(cost(&mut client));
        assert!(endpoint.calls() <= 1, "{} refreshed a live token", C::NAME);
        cost
    };
    Ok(Racer { name: C::NAME, turn: Box::new(turn) })
}

async fn cost(client: &mut impl Contender) -> Cost {
    let (start, allocated) = (Instant::now(), allocations::so_far());
    for _ in 0..REQUESTS {
        client.send().await.expect("the token is live");
    }
    let (took, allocated) = (start.elapsed(), allocations::so_far() - allocated);
    Cost {
        nanoseconds: took.as_secs_f64() * 1e9 / f64::from(REQUESTS),
        allocations: allocated as f64 / f64::from(REQUESTS),
    }
}
