//! Many callers at once, and no token.

use std::time::{Duration, Instant};

use tokio::{runtime, task::JoinSet, time::timeout};

use crate::{
    BoxError,
    contenders::Contender,
    endpoint::{Answer, TokenEndpoint},
    table,
};

/// How long the endpoint takes over an answer.
pub(super) const DELAY: Duration = Duration::from_millis(50);

/// What came of it.
pub(super) struct Outcome {
    /// How long it took until the last caller had an answer; `None` if that was not awaited.
    took: Option<Duration>,
    /// How many calls the endpoint got.
    calls: usize,
    answered: usize,
    failed: usize,
}

impl Outcome {
    pub(super) fn calls(&self) -> String {
        self.calls.to_string()
    }

    /// When the last caller had its answer.
    pub(super) fn last(&self, callers: usize, patience: Duration) -> String {
        match self.took {
            Some(took) => table::time(took),
            None => {
                format!("> {} ({} of {callers} answered)", table::time(patience), self.answered)
            }
        }
    }

    /// How many callers got an error.
    pub(super) fn failed(&self) -> usize {
        self.failed
    }
}

/// Has so many callers send a request each, at once. Of a few tries it is the median by time; a
/// try that takes long is not repeated, as chance has no great part in it.
pub(super) fn rush<C: Contender>(
    callers: usize,
    answer: Answer,
    patience: Duration,
) -> Result<Outcome, BoxError> {
    const TRIES: usize = 5;
    const LONG: Duration = Duration::from_secs(1);

    let mut outcomes = Vec::new();
    while outcomes.len() < TRIES {
        let outcome = rush_once::<C>(callers, answer, patience)?;
        if outcome.took.is_none_or(|took| took > LONG) {
            return Ok(outcome);
        }
        outcomes.push(outcome);
    }
    outcomes.sort_by_key(|outcome| outcome.took);
    Ok(outcomes.swap_remove(TRIES / 2))
}

fn rush_once<C: Contender>(
    callers: usize,
    answer: Answer,
    patience: Duration,
) -> Result<Outcome, BoxError> {
    let endpoint = TokenEndpoint::start(answer, DELAY)?;
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(async {
        let client = C::connect(&endpoint).await?;
        let start = Instant::now();
        let mut tasks: JoinSet<_> = (0..callers)
            .map(|_| {
                let mut client = client.clone();
                async move { client.send().await }
            })
            .collect();
        let (mut answered, mut failed) = (0, 0);
        let all = async {
            while let Some(sent) = tasks.join_next().await {
                answered += 1;
                failed += usize::from(sent.expect("no contender panics").is_err());
            }
        };
        let took = timeout(patience, all).await.ok().map(|()| start.elapsed());
        Ok(Outcome { took, calls: endpoint.calls(), answered, failed })
    });
    // Some have tasks that never end.
    runtime.shutdown_background();
    outcome
}
