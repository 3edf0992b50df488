//! Sessions of several processes over one store: who refreshes, and who waits.

use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep};
use tower_refresh::{
    Session,
    endpoint::{EndpointError, Spent},
    testing::{Answer, GatedEndpoint, GatedStore, StoreCalls, StoreFault},
};

use crate::{
    stored::{refresh_into, refresh_token},
    support::{error_of, expired, live, process},
};

/// Another process has the lease on the record from now on, for a minute.
fn lease_to_another(store: &GatedStore) {
    let mut record = serde_json::to_value(store.record()).unwrap();
    record["version"] = (record["version"].as_u64().unwrap() + 1).into();
    record["lease"] = serde_json::json!({ "owner": "another", "life": 60_000 });
    store.put(serde_json::from_value(record).unwrap());
}

// S46: processes share one rotating refresh token without a re-use: the lease is in the record
#[tokio::test(start_paused = true)]
async fn the_store_says_who_is_spending_the_token_while_it_is_spent() {
    let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
    let world = process(&store, &endpoint);
    let hold = endpoint.hold();
    let request = world.start();
    endpoint.calls_reached(1).await;
    assert!(store.record().unwrap().lease().is_some());
    hold.release();
    assert_eq!(request.await.unwrap().unwrap(), StatusCode::OK);
    assert!(store.record().unwrap().lease().is_none());
}

/// A fork hands random numbers on to the child, and a program may begin its own anew.
// S46: processes share one rotating refresh token without a re-use: the lease is in the record
#[tokio::test(start_paused = true)]
async fn processes_that_draw_the_same_random_numbers_are_not_taken_for_one() {
    let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
    let process = || {
        fastrand::seed(7);
        process(&store, &endpoint)
    };
    let (here, there) = (process(), process());
    let hold = endpoint.hold();
    let first = here.start();
    endpoint.calls_reached(1).await;
    let second = there.start();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(endpoint.calls(), 1, "both spend the token");
    hold.release();
    assert_eq!(first.await.unwrap().unwrap(), StatusCode::OK);
    assert_eq!(second.await.unwrap().unwrap(), StatusCode::OK);
    assert_eq!(endpoint.calls(), 1, "the second has the first's token");
}

// S46: processes share one rotating refresh token without a re-use: the lease is in the record
// S48: the lease of a slow refresh is renewed
#[tokio::test(start_paused = true)]
async fn a_token_that_is_being_used_is_left_alone() {
    let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
    let (here, there) = (process(&store, &endpoint), process(&store, &endpoint));
    let hold = endpoint.hold();
    let first = here.start();
    endpoint.calls_reached(1).await;
    let second = there.start();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(endpoint.calls(), 1);
    hold.release();
    assert_eq!(first.await.unwrap().unwrap(), StatusCode::OK);
    assert_eq!(second.await.unwrap().unwrap(), StatusCode::OK);
    assert_eq!(endpoint.calls(), 1, "the second has the first's token");
}

// S47: when the holder of the lease dies, another takes over within its life
#[tokio::test(start_paused = true)]
async fn when_the_holder_dies_another_takes_over_within_the_life_of_the_lease() {
    let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
    let there = process(&store, &endpoint);
    let hold = endpoint.hold();
    let dying = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let here = process(&store, &endpoint).session;
    std::thread::spawn(move || {
        let call = async {
            tokio::select! {
                _ = here.token() => {}
                () = endpoint.calls_reached(1) => {}
            }
        };
        dying.block_on(call);
        drop(dying);
    })
    .join()
    .unwrap();
    drop(hold);
    let start = Instant::now();
    assert_eq!(there.get().await.unwrap(), StatusCode::OK);
    let took = start.elapsed();
    // The lease of the dead, and a look.
    assert!(took <= Duration::from_millis(6_600), "{took:?}");
}

// S48: the lease of a slow refresh is renewed
#[tokio::test(start_paused = true)]
async fn the_lease_of_a_slow_refresh_is_renewed() {
    let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
    let (here, there) = (process(&store, &endpoint), process(&store, &endpoint));
    endpoint.answer(Answer::Next.after(Duration::from_secs(9)));
    let (first, second) = futures::join!(here.get(), there.get());
    assert_eq!((first.unwrap(), second.unwrap()), (StatusCode::OK, StatusCode::OK));
    assert_eq!(endpoint.calls(), 1);
}

// S47: when the holder of the lease dies, another takes over within its life
#[tokio::test(start_paused = true)]
async fn whoever_has_lost_the_lease_starts_no_further_attempt() {
    let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
    let world = process(&store, &endpoint);
    let down = || EndpointError::transient("down").with_spent(Spent::No);
    endpoint.answer(Answer::from(down()).after(Duration::from_secs(4)));
    let request = world.start();
    endpoint.calls_reached(1).await;
    lease_to_another(&store);
    assert!(error_of(request.await.unwrap()).is_transient());
    assert_eq!(endpoint.calls(), 1);
}

// S46: processes share one rotating refresh token without a re-use: the lease is in the record
#[tokio::test(start_paused = true)]
async fn a_store_that_was_wiped_gets_the_newest_tokens_back_before_older_ones_are_spent() {
    let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
    let (newest, older) = (process(&store, &endpoint), process(&store, &endpoint));
    assert_eq!(older.get().await.unwrap(), StatusCode::OK);
    assert_eq!(newest.get().await.unwrap(), StatusCode::OK);
    // The older one does not hear of the next refresh before the store is gone.
    newest.api.refuse("access-1");
    older.api.refuse("access-1");
    tokio::join!(async { assert_eq!(newest.get().await.unwrap(), StatusCode::OK) }, async {
        endpoint.calls_reached(2).await;
        endpoint.idle().await;
        tokio::task::yield_now().await;
        store.wipe();
    });
    // The newest is in use, and looks.
    let (status, ()) = tokio::join!(older.get(), async {
        for _ in 0..8 {
            sleep(Duration::from_secs(1)).await;
            assert_eq!(newest.get().await.unwrap(), StatusCode::OK);
        }
    });
    assert_eq!(status.unwrap(), StatusCode::OK);
    let presented: Vec<_> =
        endpoint.presented().into_iter().map(|token| token.unwrap().expose().to_owned()).collect();
    let mut once = presented.clone();
    once.dedup();
    assert_eq!(presented, once, "no refresh token is spent twice");
    assert_eq!(endpoint.calls(), 2, "the older one got the newest token");
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_no_time_is_one_all_the_same() {
    let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
    let session = |store: GatedStore| {
        let builder = Session::builder(endpoint.clone()).initial_tokens(expired()).store(store);
        builder.lease(Duration::ZERO).build()
    };
    let (here, there) = (session(store.clone()), session(store.other()));
    let hold = endpoint.hold();
    let tokens = tokio::spawn(async move { futures::join!(here.token(), there.token()) });
    endpoint.calls_reached(1).await;
    // Time does not go on here while somebody looks at the store without a pause.
    sleep(Duration::from_secs(1)).await;
    assert_eq!(endpoint.calls(), 1, "one of them waits for the other");
    hold.release();
    let (first, second) = tokens.await.unwrap();
    assert_eq!(first.unwrap().expose(), second.unwrap().expose());
}

// S43: tokens that cannot be saved are used, and saved later
// S46: processes share one rotating refresh token without a re-use: the lease is in the record
#[tokio::test(start_paused = true)]
async fn a_rotation_that_is_not_saved_yet_outlives_the_mark_of_another_on_the_old_token() {
    let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
    let builder = Session::builder(endpoint.clone()).initial_tokens(live());
    let here = builder.store(store.clone()).build();
    here.ready().await.unwrap();
    refresh_into(StoreCalls::All, StoreFault::Fail, &here, &endpoint, &store).await;
    // Longer than the lease, which cannot be renewed.
    sleep(Duration::from_secs(11)).await;
    let down = GatedEndpoint::new();
    down.answer_always(|| EndpointError::transient("down").with_spent(Spent::No).into());
    let there = Session::builder(down).attempts(1).store(store.other()).build();
    there.ready().await.unwrap();
    assert!(there.refresh().await.is_err());
    store.set_fault(StoreCalls::All, None);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(here.tokens().unwrap().refresh_token().unwrap().expose(), "refresh-1");
    assert_eq!(refresh_token(&store).unwrap(), "refresh-1");
}

// S43: tokens that cannot be saved are used, and saved later
// S48: the lease of a slow refresh is renewed
#[tokio::test(start_paused = true)]
async fn the_lease_is_kept_while_what_a_refresh_has_brought_is_saved_however_slowly() {
    let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
    store.set_delay(StoreCalls::Loads, Duration::from_millis(1900));
    let builder = Session::builder(endpoint.clone()).initial_tokens(live());
    let session = builder.store(store.clone()).build();
    session.ready().await.unwrap();
    let hold = endpoint.hold();
    let refresh = tokio::spawn(async move { session.refresh().await });
    endpoint.calls_reached(1).await;
    let saving = store.hold(StoreCalls::Writes);
    hold.release();
    for _ in 0..600 {
        assert!(store.record().unwrap().lease().is_some());
        sleep(Duration::from_millis(100)).await;
    }
    saving.release();
    assert_eq!(refresh.await.unwrap().unwrap().expose(), "access-1");
    sleep(Duration::from_secs(10)).await;
    assert_eq!(refresh_token(&store).unwrap(), "refresh-1");
    assert!(store.record().unwrap().lease().is_none());
}

// S46: processes share one rotating refresh token without a re-use: the lease is in the record
#[tokio::test(start_paused = true)]
async fn a_wiped_store_gets_the_newest_tokens_back_although_their_holder_waits_for_the_lease() {
    let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
    let (newest, older) = (process(&store, &endpoint), process(&store, &endpoint));
    assert_eq!(older.get().await.unwrap(), StatusCode::OK);
    assert_eq!(newest.get().await.unwrap(), StatusCode::OK);
    sleep(Duration::from_secs(1)).await;
    newest.api.refuse("access-1");
    older.api.refuse("access-1");
    assert_eq!(newest.get().await.unwrap(), StatusCode::OK);
    store.wipe();
    // The older one is first, and has the lease while it waits for newer tokens to come back.
    let first = older.start();
    while store.record().is_none() {
        sleep(Duration::from_millis(10)).await;
    }
    newest.api.refuse("access-2");
    let second = newest.start();
    assert_eq!(first.await.unwrap().unwrap(), StatusCode::OK);
    assert_eq!(second.await.unwrap().unwrap(), StatusCode::OK);
    let mut presented: Vec<_> =
        endpoint.presented().into_iter().map(|token| token.unwrap().expose().to_owned()).collect();
    let calls = presented.len();
    presented.sort();
    presented.dedup();
    assert_eq!(presented.len(), calls, "no refresh token is spent twice: {presented:?}");
}
