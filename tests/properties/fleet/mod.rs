//! Several processes that share one refresh token through one store, in all that can happen to
//! them.
//!
//! Read `plan` for what can happen, `world` and `open` for what must be true of the processes,
//! `server` for what must be true of their calls, and `shelf` for what must be true of the store.

mod open;
mod plan;
mod process;
mod server;
mod shelf;
mod world;

use proptest::prelude::*;

use self::{
    plan::{Operation, Start, operations, start},
    world::World,
};
use crate::{check, interleavings::run};

async fn play<'a>(start: &Start, operations: impl Iterator<Item = &'a Operation>) -> Vec<String> {
    let mut world = World::new(start);
    for operation in operations {
        world.step(operation).await;
        if !world.violations.all().is_empty() {
            return world.violations.all();
        }
    }
    world.end().await;
    world.close().await;
    world.violations.all()
}

#[test]
fn no_order_of_events_breaks_a_fleet() {
    check(64, &(start(), operations()), |(start, operations)| {
        let violations = run(start.seed, play(&start, operations.iter()));
        prop_assert!(violations.is_empty(), "{:#?}", violations);
        Ok(())
    });
}

// S46
#[test]
fn where_nothing_is_lost_no_refresh_token_is_spent_twice() {
    check(64, &(start(), operations()), |(start, operations)| {
        let harmless = operations.iter().filter(|operation| !operation.is_trouble());
        let violations = run(start.seed, play(&start, harmless));
        prop_assert!(violations.is_empty(), "{:#?}", violations);
        Ok(())
    });
}
