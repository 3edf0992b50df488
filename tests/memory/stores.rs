//! A store that others use too, and one that cannot be reached.

use std::{sync::Arc, time::Duration};

use futures::future::{join, join_all};
use http::StatusCode;
use tokio::time::sleep;
use tower_refresh::{
    ErrorKind, Session, Tokens,
    endpoint::EndpointError,
    store::MemoryStore,
    testing::{GatedEndpoint, GatedStore, StoreCalls, StoreFault},
};

use crate::{
    stored::{aged_record, is_logged_out, record, refresh_token, tombstone},
    support::{World, error_of, expired, get, live, live_for},
};

fn world(tokens: Tokens, store: &GatedStore) -> World {
    let endpoint = GatedEndpoint::new();
    let session =
        Session::builder(endpoint.clone()).initial_tokens(tokens).store(store.clone()).build();
    World::of(endpoint, session)
}

// S44: a newer token in the store is adopted without a call
#[tokio::test(start_paused = true)]
async fn a_newer_token_in_the_store_is_adopted_without_a_call() {
    let store = GatedStore::new();
    let world = world(live(), &store);
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    store.put(record(9, "theirs", "refresh-theirs"));
    world.api.refuse("seed");
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens().pop().unwrap(), "theirs");
    assert_eq!(world.endpoint.calls(), 0);
}

// S44: a newer token in the store is adopted without a call
#[tokio::test(start_paused = true)]
async fn a_newer_token_that_has_expired_is_where_the_refresh_goes_on_from() {
    let store = GatedStore::new();
    let world = world(expired(), &store);
    store.put(aged_record(2, "theirs", "refresh-theirs", Duration::from_secs(7200)));
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    let presented = world.endpoint.presented();
    assert_eq!(presented[0].as_ref().unwrap().expose(), "refresh-theirs");
    assert_eq!(refresh_token(&store).unwrap(), "refresh-1");
}

// S45: `invalid_grant` because another process was faster ends no login
#[tokio::test(start_paused = true)]
async fn the_end_of_a_grant_that_another_process_has_renewed_logs_nobody_out() {
    let store = GatedStore::new();
    let world = world(expired(), &store);
    world.endpoint.answer(EndpointError::invalid_grant("over").with_code("invalid_grant"));
    let hold = world.endpoint.hold();
    let (status, ()) = join(world.get(), async {
        world.endpoint.calls_reached(1).await;
        store.put(record(9, "theirs", "refresh-theirs"));
        hold.release();
    })
    .await;
    assert_eq!(status.unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens(), ["theirs"]);
    assert_eq!(world.endpoint.calls(), 1);
}

// S45: `invalid_grant` because another process was faster ends no login
#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_after_another_process_has_saved_is_dropped_for_theirs() {
    let store = GatedStore::new();
    let world = world(expired(), &store);
    let hold = world.endpoint.hold();
    let (status, ()) = join(world.get(), async {
        world.endpoint.calls_reached(1).await;
        store.put(record(9, "theirs", "refresh-theirs"));
        hold.release();
    })
    .await;
    assert_eq!(status.unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens(), ["theirs"]);
    assert_eq!(refresh_token(&store).unwrap(), "refresh-theirs");
}

// S49: while the store is gone a live token serves, and an expired one is not refreshed
#[tokio::test(start_paused = true)]
async fn while_the_store_is_gone_a_valid_token_serves_and_no_other_is_bought() {
    for fault in [StoreFault::Fail, StoreFault::Hang] {
        let store = GatedStore::new();
        let world = world(live_for(Duration::from_secs(100)), &store);
        world.session.ready().await.unwrap();
        store.set_fault(StoreCalls::All, fault);
        tokio::time::advance(Duration::from_secs(92)).await;
        for _ in 0..10 {
            assert_eq!(world.get().await.unwrap(), StatusCode::OK, "{fault:?}");
        }
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(error_of(world.get().await).kind(), ErrorKind::Store, "{fault:?}");
        assert_eq!(world.endpoint.calls(), 0, "{fault:?}");

        store.set_fault(StoreCalls::All, None);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(world.get().await.unwrap(), StatusCode::OK, "{fault:?}");
        assert_eq!(world.endpoint.calls(), 1, "{fault:?}");
        assert_eq!(refresh_token(&store).unwrap(), "refresh-1", "{fault:?}");
    }
}

// S49: while the store is gone a live token serves, and an expired one is not refreshed
#[tokio::test(start_paused = true)]
async fn a_program_that_asks_for_it_refreshes_without_the_store() {
    for fault in [StoreFault::Fail, StoreFault::Hang] {
        let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
        let builder =
            Session::builder(endpoint.clone()).initial_tokens(expired()).store(store.clone());
        let world = World::of(endpoint, builder.refresh_without_store(true).build());
        store.set_fault(StoreCalls::All, fault);
        assert_eq!(world.get().await.unwrap(), StatusCode::OK, "{fault:?}");
        store.set_fault(StoreCalls::All, None);
        world.session.close().await.unwrap();
        assert_eq!(refresh_token(&store).unwrap(), "refresh-1", "{fault:?}");
    }
}

// S49: while the store is gone a live token serves, and an expired one is not refreshed
#[tokio::test(start_paused = true)]
async fn a_start_without_the_store_fails_early_and_recovers() {
    let store = GatedStore::new();
    let world = world(live(), &store);
    store.set_fault(StoreCalls::All, StoreFault::Fail);
    let error = world.session.ready().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    assert!(error.is_transient());
    store.set_fault(StoreCalls::All, None);
    sleep(Duration::from_secs(2)).await;
    world.session.ready().await.unwrap();
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.endpoint.calls(), 0);
}

// S63: the store wins against the seed, and eight processes that seed at once agree
#[tokio::test(start_paused = true)]
async fn the_store_wins_against_the_seed() {
    let store = GatedStore::holding(record(7, "stored", "refresh-stored"));
    let world = world(live(), &store);
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens(), ["stored"]);
    assert_eq!((store.record().unwrap().version(), store.calls(StoreCalls::Writes)), (7, 0));

    // A log-out is more than nothing: a seed does not undo it.
    let store = GatedStore::holding(tombstone(8));
    let world = self::world(live(), &store);
    assert!(error_of(world.get().await).is_login_required());
    assert!(is_logged_out(&store));
}

// S63: the store wins against the seed, and eight processes that seed at once agree
#[tokio::test(start_paused = true)]
async fn eight_sessions_that_seed_the_same_token_at_once_agree() {
    let (store, endpoint) = (Arc::new(MemoryStore::new()), GatedEndpoint::new());
    let worlds: Vec<_> = (0..8)
        .map(|_| {
            let builder = Session::builder(endpoint.clone()).initial_tokens(expired());
            World::of(endpoint.clone(), builder.store(store.clone()).build())
        })
        .collect();
    let hold = endpoint.hold();
    let tasks: Vec<_> = worlds.iter().map(|w| tokio::spawn(get(w.client.clone()))).collect();
    // A slow call: the others come for the lease again and again, for longer than it lives.
    sleep(Duration::from_secs(8)).await;
    hold.release();
    for status in join_all(tasks).await {
        assert_eq!(status.unwrap().unwrap(), StatusCode::OK);
    }
    assert_eq!(endpoint.calls(), 1);
    assert!(worlds.iter().all(|world| world.api.tokens() == ["access-1"]));
}

// S63: the store wins against the seed, and eight processes that seed at once agree
#[tokio::test(start_paused = true)]
async fn of_different_seeds_one_is_everybodys() {
    let store = GatedStore::new();
    let worlds: Vec<_> = (0..8)
        .map(|i| {
            let endpoint = GatedEndpoint::new();
            let builder = Session::builder(endpoint.clone())
                .initial_tokens(Tokens::new(format!("seed-{i}")).unwrap())
                .store(store.other());
            World::of(endpoint, builder.build())
        })
        .collect();
    let tasks = worlds.iter().map(|world| tokio::spawn(get(world.client.clone())));
    join_all(tasks.collect::<Vec<_>>()).await;
    let first = worlds[0].api.tokens();
    assert_eq!(first.len(), 1);
    assert!(worlds.iter().all(|world| world.api.tokens() == first));
}
