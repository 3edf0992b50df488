//! Processes that share one identity, in all that can happen to them. A fleet of one is the first.
//!
//! Read `plan` for what can happen; `judge` for what must be true of calls to the token endpoint,
//! `shelf` and `connection` of the store, `api` of requests, `events` of what is told, and `world`,
//! `rest` and `takeover` of the processes. `server`, `process` and `open` are what they are made of.

mod api;
mod connection;
mod events;
mod judge;
mod open;
pub(crate) mod plan;
mod process;
mod rest;
mod server;
mod shelf;
mod takeover;
pub(crate) mod world;

use proptest::prelude::*;
use tokio::runtime::Builder;

use self::{
    plan::{Operation, Start, alone, operations, several},
    world::World,
};
use crate::check;

/// Runs a case in paused time and on one thread, so that it runs the same way each time.
pub(crate) fn run<F: Future>(seed: u64, case: F) -> F::Output {
    fastrand::seed(seed);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(case)
}

async fn play<'a>(start: &Start, operations: impl Iterator<Item = &'a Operation>) -> Vec<String> {
    let mut world = World::new(start);
    for operation in operations {
        world.step(operation).await;
        if !world.violations.all().is_empty() {
            return world.violations.all();
        }
    }
    if !start.in_a_hurry {
        world.end().await;
    }
    world.close().await;
    world.violations.all()
}

fn check_all(cases: u32, start: impl Strategy<Value = Start>, trouble: bool) {
    check(cases, &(start, operations()), |(start, operations)| {
        let operations = operations.iter().filter(|operation| trouble || !operation.is_trouble());
        let violations = run(start.seed, play(&start, operations));
        prop_assert!(violations.is_empty(), "{:#?}", violations);
        Ok(())
    });
}

#[test]
fn no_order_of_events_breaks_a_fleet_of_one() {
    check_all(96, alone(), true);
}

#[test]
fn no_order_of_events_breaks_a_fleet() {
    check_all(96, several(), true);
}

// S46: processes share one rotating refresh token without a re-use: the lease is in the record
#[test]
fn where_nothing_is_lost_no_refresh_token_is_spent_twice() {
    check_all(96, several(), false);
}
