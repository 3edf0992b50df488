//! How long an outage of the endpoint lasts for those who want a token.

use std::time::{Duration, Instant};

use tokio::{
    runtime,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{median, rush::DELAY};
use crate::{
    BoxError, Scale,
    contenders::{Azure, Contender, Google, TowerRefresh, Yup},
    endpoint::{Answer, TokenEndpoint},
    table::{self, Table},
};

/// How long the endpoint fails.
const OUTAGE: Duration = Duration::from_secs(2);

/// When a caller asks again that got an error.
const AGAIN: Duration = Duration::from_millis(10);

/// Pauses are random for some. The tries run at once, as there is nothing to do but wait.
const TRIES: usize = 9;

pub(crate) fn run(scale: &Scale) -> Result<Table, BoxError> {
    let columns = ["contender", "calls during the outage", "first answer after it", "at worst"];
    let mut table = Table::new("The endpoint works again", columns);
    row::<TowerRefresh>(&mut table, scale)?;
    row::<Yup>(&mut table, scale)?;
    row::<Google>(&mut table, scale)?;
    row::<Azure>(&mut table, scale)?;
    Ok(table.note(format!(
        "It was unavailable (503) for {} and takes {} over each answer. One caller, without a \
         token, asks again {} after each error. Medians of {TRIES} tries, and the worst of them.",
        table::time(OUTAGE),
        table::time(DELAY),
        table::time(AGAIN),
    )))
}

fn row<C: Contender>(table: &mut Table, scale: &Scale) -> Result<(), BoxError> {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut tries = JoinSet::new();
    for _ in 0..TRIES {
        let endpoint = TokenEndpoint::start(Answer::Unavailable, DELAY)?;
        tries.spawn_on(outlast::<C>(endpoint, scale.patience), runtime.handle());
    }
    let outcomes: Vec<Outcome> =
        runtime.block_on(tries.join_all()).into_iter().collect::<Result<_, _>>()?;
    // Some have tasks that never end.
    runtime.shutdown_background();

    let took: Vec<_> = outcomes.iter().map(|outcome| outcome.took).collect();
    let worst = *took.iter().max().expect("there are tries");
    let time = |took| match took {
        Duration::MAX => format!("> {}", table::time(scale.patience)),
        took => table::time(took),
    };
    table.row([
        C::NAME.to_owned(),
        median(outcomes.iter().map(|outcome| outcome.calls).collect()).to_string(),
        time(median(took)),
        time(worst),
    ]);
    Ok(())
}

struct Outcome {
    /// How many calls the endpoint got while it failed.
    calls: usize,
    /// From its end to the first answer; `MAX` if that was not awaited.
    took: Duration,
}

async fn outlast<C: Contender>(
    endpoint: TokenEndpoint,
    patience: Duration,
) -> Result<Outcome, BoxError> {
    let mut client = C::connect(&endpoint).await?;
    let outage = async {
        sleep(OUTAGE).await;
        endpoint.set_answer(Answer::Token);
        (endpoint.calls(), Instant::now())
    };
    let answered = async {
        while client.send().await.is_err() {
            sleep(AGAIN).await;
        }
        Instant::now()
    };
    let ((calls, end), answered) = tokio::join!(outage, timeout(OUTAGE + patience, answered));
    let took = answered.map_or(Duration::MAX, |answered| answered - end);
    Ok(Outcome { calls, took })
}
