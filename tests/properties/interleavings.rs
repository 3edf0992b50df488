//! Orders of events that are worth a name.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::sleep;
use tower_refresh::{
    Session, Tokens,
    endpoint::{EndpointError, Spent},
    testing::GatedEndpoint,
};

use crate::{
    check,
    fleet::{
        plan::{Health, Keeper, Life, Operation, Server, Start, Weather, time},
        run,
        world::World,
    },
};

fn start(seed: u64, processes: usize, keeper: Keeper) -> Start {
    Start {
        seed,
        processes,
        keeper,
        server: Server::Rotates { grace: Duration::ZERO },
        life: Duration::from_secs(1_000_000),
        access: None,
        keep_fresh: false,
        leases: [Duration::from_secs(5); 3],
        skews: [0; 3],
        in_a_hurry: false,
    }
}

// S27: an API that refuses everything causes a bounded number of refreshes
#[test]
fn an_api_that_refuses_everything_costs_three_calls_in_half_a_minute() {
    let requests = prop::collection::vec((1..20usize, time()), 1..60);
    check(32, &(any::<u64>(), requests), |(seed, requests)| {
        let called = run(seed, async {
            let access = Some(Life::Of(Duration::from_secs(1_000_000)));
            let mut world = World::new(&Start { access, ..start(seed, 1, Keeper::None) });
            world.step(&Operation::RefuseAll(true)).await;
            for (times, pause) in requests {
                (0..times).for_each(|_| world.open[0].ask());
                world.rest().await;
                sleep(pause.min(Duration::from_secs(60))).await;
            }
            let called = world.server.when_called();
            world.end().await;
            world.close().await;
            let violations = world.violations.all();
            assert!(violations.is_empty(), "{violations:#?}");
            called
        });
        for four in called.windows(4) {
            // A refresh may start up to a second after the refusal that caused it.
            prop_assert!(four[3] - four[0] >= Duration::from_secs(29), "{:?}", four);
        }
        Ok(())
    });
}

// S40: what is set or cleared during a refresh wins
#[test]
fn a_login_outranks_what_another_process_saved_in_the_meantime() {
    run(0, async {
        let mut world = World::new(&start(0, 2, Keeper::Shared { news: false }));
        world.open[0].session.token().await.unwrap();
        for _ in 0..3 {
            world.open[1].session.refresh().await.unwrap();
        }
        let failing = Weather { health: Health::Failing, ..Weather::FINE };
        world.open[0].process.lock().store = failing;
        world.log_in(0, None);
        world.rest().await;
        assert!(world.open[0].session.status().is_unsaved());

        world.heal();
        let token = world.open[0].session.token().await.unwrap();
        assert!(token.expose().starts_with("access.2.1."), "the login is what is presented");
        world.end().await;
        let violations = world.violations.all();
        assert!(violations.is_empty(), "{violations:#?}");
    });
}

#[test]
fn a_log_out_is_not_undone_by_a_store_that_goes_back_to_an_earlier_one() {
    for first in [0, 1] {
        run(0, async {
            let mut world = World::new(&start(0, 2, Keeper::Shared { news: false }));
            world.log_out(0);
            sleep(Duration::from_secs(5)).await;
            world.log_in(1, None);
            sleep(Duration::from_secs(5)).await;
            let earlier = world.shelf.place();
            world.log_out(0);
            sleep(Duration::from_secs(5)).await;
            assert!(world.shelf.is_logged_out());
            while world.shelf.place() >= earlier {
                world.shelf.lose(1, false);
            }
            assert!(world.shelf.is_logged_out(), "it is the earlier one");
            for process in [first, 1 - first] {
                let _ = world.open[process].session.token().await;
                sleep(Duration::from_secs(5)).await;
            }
            let _ = world.open[0].session.token().await;
            world.end().await;
            let violations = world.violations.all();
            assert!(violations.is_empty(), "{violations:#?}");
        });
    }
}

#[test]
fn for_ever_is_a_time_like_any_other() {
    const EVER: Duration = Duration::MAX;
    run(0, async {
        let endpoint = GatedEndpoint::new();
        let session = Session::builder(endpoint.clone())
            .initial_tokens(Tokens::from_refresh_token("r").unwrap())
            .attempt_timeout(EVER)
            .call_limit(EVER)
            .backoff(EVER, EVER)
            .pause(EVER, EVER)
            .wait_limit(EVER)
            .store_timeout(EVER)
            .refusal_limit(u32::MAX, EVER)
            .refresh_ahead(EVER)
            .leeway(EVER)
            .min_interval(EVER)
            .lease(EVER)
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
