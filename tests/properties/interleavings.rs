//! A session in all that can happen to it.

use std::time::Duration;

use futures::FutureExt;
use proptest::prelude::*;
use tokio::{runtime::Builder, time::sleep};
use tower_refresh::{
    Session, Tokens,
    endpoint::{EndpointError, Spent},
    testing::GatedEndpoint,
};

use crate::{
    check,
    operation::{Health, Life, Operation, Start, operations, start, time},
    store::Fragile,
    world::World,
};

/// Runs a case in paused time and on one thread, so that it runs the same way each time.
pub(crate) fn run<F: Future>(seed: u64, case: F) -> F::Output {
    fastrand::seed(seed);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(case)
}

#[test]
fn no_order_of_events_breaks_a_promise() {
    check(128, &(start(), operations()), |(start, operations)| {
        let violations = run(start.seed, async {
            let mut world = World::new(&start);
            for operation in &operations {
                world.step(operation).await;
            }
            if !start.in_a_hurry {
                world.end().await;
            }
            world.close().await;
            let most = world.endpoint.max_in_flight();
            let mut model = world.model.lock();
            model.hold(most <= 1, || format!("{most} calls at once"));
            model.violations()
        });
        prop_assert!(violations.is_empty(), "{:#?}", violations);
        Ok(())
    });
}

// S27
#[test]
fn an_api_that_refuses_everything_costs_three_calls_in_half_a_minute() {
    let requests = prop::collection::vec((1..20usize, time()), 1..60);
    check(32, &(any::<u64>(), requests), |(seed, requests)| {
        let called = run(seed, async {
            let hour = Life::Of(Duration::from_secs(1_000_000));
            let start = Start {
                seed,
                access: Some(hour),
                refresh: true,
                store: None,
                keep_fresh: false,
                in_a_hurry: false,
            };
            let mut world = World::new(&start);
            world.endpoint.set_life(Duration::from_secs(1_000_000));
            world.step(&Operation::RefuseAll(true)).await;
            for (times, pause) in requests {
                (0..times).for_each(|_| world.request());
                world.rest().await;
                sleep(pause.min(Duration::from_secs(60))).await;
            }
            world.end().await;
            let mut model = world.model.lock();
            let violations = model.violations();
            assert!(violations.is_empty(), "{violations:#?}");
            model.when_called().collect::<Vec<_>>()
        });
        for four in called.windows(4) {
            // A round may start up to a second after the refusal that caused it.
            prop_assert!(four[3] - four[0] >= Duration::from_secs(29), "{:?}", four);
        }
        Ok(())
    });
}

// S40
#[test]
fn a_login_outranks_what_another_process_saved_in_the_meantime() {
    run(0, async {
        let (endpoint, store) = (GatedEndpoint::new(), Fragile::new(true));
        let session = Session::builder(endpoint.clone())
            .initial_tokens(Tokens::from_refresh_token("old").unwrap())
            .store(store.clone())
            .build();
        session.token().await.unwrap();
        let other = Session::builder(GatedEndpoint::new()).store(store.inner.clone());
        let other = other.build();
        for _ in 0..3 {
            other.refresh().await.unwrap();
        }

        store.set(Health::Failing);
        let login = Tokens::from_refresh_token("login").unwrap();
        let _ = session.set_tokens(login).now_or_never();
        tokio::task::yield_now().await;
        store.set(Health::Well);
        session.token().await.unwrap();
        assert_eq!(endpoint.presented().pop().unwrap().unwrap().expose(), "login");
    });
}

#[test]
fn for_ever_is_a_time_like_any_other() {
    const EVER: Duration = Duration::MAX;
    run(0, async {
        let endpoint = GatedEndpoint::new();
        let session = Session::builder(endpoint.clone())
            .initial_tokens(Tokens::from_refresh_token("r").unwrap())
            .attempt_timeout(EVER)
            .backoff(EVER, EVER)
            .pause(EVER, EVER)
            .wait_limit(EVER)
            .store_timeout(EVER)
            .refusal_limit(u32::MAX, EVER)
            .refresh_ahead(EVER)
            .leeway(EVER)
            .min_interval(EVER)
            .build();
        let busy = EndpointError::transient("busy").with_spent(Spent::No).with_retry_after(EVER);
        endpoint.answer(busy);
        session.token().await.unwrap_err();
        session.set_tokens(Tokens::from_refresh_token("s").unwrap()).await.unwrap();
        endpoint.answer(EndpointError::misconfigured("who are you?"));
        session.token().await.unwrap_err();
        session.set_tokens(Tokens::from_refresh_token("t").unwrap()).await.unwrap();
        session.token().await.unwrap();
        session.close().await.unwrap();
    });
}
