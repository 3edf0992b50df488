//! What operators see: how things stand, what the API asks for, and the numbers.

use std::time::{Duration, SystemTime};

use futures::FutureExt;
use http::{Response, StatusCode, header::WWW_AUTHENTICATE};
use tokio::time::advance;
use tower::Layer;
use tower_refresh::{
    Event, Events, RefreshLayer, Session, Tokens,
    endpoint::EndpointError,
    testing::{GatedEndpoint, GatedStore, StoreCalls, StoreFault},
};

use crate::{
    stored::refresh_into,
    support::{World, get, live, settle},
};

fn seen(events: &mut Events) -> Vec<Event> {
    std::iter::from_fn(|| events.next().now_or_never().flatten()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_status_follows_a_session_through_its_life() {
    let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
    let session = Session::builder(endpoint.clone()).store(store.clone()).build();
    let world = World::of(endpoint, session);
    let status = || world.session.status();
    assert!(status().generation() == 0 && !status().is_live() && status().expires_at().is_none());
    assert!(!status().is_refreshing() && !status().is_login_required() && !status().is_unsaved());

    let hold = world.endpoint.hold();
    let caller = world.start();
    world.endpoint.calls_reached(1).await;
    assert!(status().is_refreshing() && !status().is_live());
    hold.release();
    assert_eq!(caller.await.unwrap().unwrap(), StatusCode::OK);
    assert!(status().generation() == 1 && status().is_live() && !status().is_refreshing());
    assert!(status().expires_at().unwrap() > SystemTime::now() + Duration::from_secs(3500));

    store.set_fault(StoreCalls::Writes, StoreFault::Fail);
    world.session.set_tokens(live()).await.unwrap_err();
    assert!(status().generation() == 2 && status().is_live() && status().is_unsaved());
    store.set_fault(StoreCalls::All, None);
    world.session.set_tokens(live()).await.unwrap();
    assert!(!status().is_unsaved());

    advance(Duration::from_secs(3600)).await;
    assert!(!status().is_live() && !status().is_login_required());
    world.endpoint.answer(EndpointError::invalid_grant("over"));
    assert!(world.get().await.is_err());
    assert!(!status().is_live() && status().is_login_required() && !status().is_refreshing());

    world.session.set_tokens(live()).await.unwrap();
    assert!(status().is_live() && !status().is_login_required());
    world.session.log_out().await.unwrap();
    assert!(!status().is_live() && status().is_login_required() && status().expires_at().is_none());
}

#[tokio::test(start_paused = true)]
async fn the_first_access_token_is_the_first_generation() {
    assert_eq!(World::new(Tokens::default()).session.status().generation(), 0);
    assert_eq!(World::new(live()).session.status().generation(), 1);

    let (store, seed) = (GatedStore::new(), Tokens::from_refresh_token("refresh-0").unwrap());
    let stored = Session::builder(GatedEndpoint::new()).initial_tokens(seed.clone()).store(store);
    let world = World::new(seed);
    for session in [&world.session, &stored.build()] {
        let mut events = session.events();
        assert_eq!(session.status().generation(), 0);
        assert_eq!(session.token().await.unwrap().generation(), 1);
        let seen = seen(&mut events);
        assert!(
            matches!(seen[..], [Event::Refreshed { generation: 1, adopted: false, .. }]),
            "{seen:?}"
        );
    }
}

// S28: `insufficient_scope` and every other status refresh nothing
#[tokio::test(start_paused = true)]
async fn a_stronger_login_that_the_api_asks_for_is_told_and_refreshes_nothing() {
    let challenge = "Bearer error=\"insufficient_user_authentication\", \
                     acr_values=\"gold silver\", max_age=\"300\"";
    let world = World::new(live());
    let refusal = Response::builder().status(401).header(WWW_AUTHENTICATE, challenge);
    world.api.refuse_all();
    world.api.refuse_with(refusal.body("").unwrap());
    let layer = RefreshLayer::new(world.session.clone());
    let own =
        layer.clone().refused_when(|_, response| response.status() == StatusCode::UNAUTHORIZED);
    for client in [layer.layer(world.api.clone()), own.layer(world.api.clone())] {
        let mut events = world.session.events();
        assert_eq!(get(client).await.unwrap(), StatusCode::UNAUTHORIZED);
        let events = seen(&mut events);
        let [Event::StepUpRequired { acr_values, max_age, .. }] = events.as_slice() else {
            panic!("{events:?}")
        };
        assert_eq!(acr_values.as_deref(), Some("gold silver"));
        assert_eq!(*max_age, Some(300));
    }
    settle().await;
    assert_eq!((world.endpoint.calls(), world.api.seen().len()), (0, 2));
}

// S24: many refusals at once cost one refresh and one retry each
#[tokio::test(start_paused = true)]
async fn a_refused_token_is_told_of_once_however_many_requests_were_refused() {
    let world = World::new(live());
    let mut events = world.session.events();
    world.api.refuse("seed");
    world.api.hold(true);
    let callers: Vec<_> = (0..100).map(|_| world.start()).collect();
    world.api.arrived(100).await;
    world.api.hold(false);
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap(), StatusCode::OK);
    }
    let events = seen(&mut events);
    let [Event::Refused { generation: 1, .. }, Event::Refreshed { generation: 2, .. }] =
        events.as_slice()
    else {
        panic!("{events:?}")
    };
}

#[cfg(feature = "metrics")]
mod numbers {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    use super::*;

    /// A life with everything that is counted.
    async fn life() {
        let (store, endpoint) = (GatedStore::new(), GatedEndpoint::new());
        let builder = Session::builder(endpoint.clone()).initial_tokens(live()).name("shop");
        let builder = builder.store(store.clone()).min_interval(Duration::ZERO);
        let world = World::of(endpoint, builder.build());
        world.api.refuse("seed");
        assert_eq!(world.get().await.unwrap(), StatusCode::OK);
        refresh_into(StoreCalls::Writes, StoreFault::Fail, &world.session, &world.endpoint, &store)
            .await;
        store.set_fault(StoreCalls::All, None);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!world.session.status().is_unsaved());
        world.endpoint.answer(EndpointError::transient("connection reset"));
        world.endpoint.answer_always(|| EndpointError::invalid_grant("over").into());
        world.session.refresh().await.unwrap_err();
    }

    #[test]
    fn the_numbers_have_the_names_that_dashboards_are_built_on() {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        metrics::with_local_recorder(&recorder, || {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().start_paused(true).build().unwrap();
            runtime.block_on(life());
        });
        let mut seen = Vec::new();
        for (key, _, _, value) in snapshotter.snapshot().into_vec() {
            let key = key.key();
            let labels = key.labels().map(|label| format!("{}={}", label.key(), label.value()));
            let labels: Vec<_> = labels.collect();
            let value = match value {
                DebugValue::Counter(count) => count,
                DebugValue::Gauge(gauge) => gauge.into_inner() as u64,
                DebugValue::Histogram(samples) => samples.len() as u64,
            };
            assert!(value > 0);
            seen.push(format!("{} {}", key.name(), labels.join(",")));
        }
        seen.sort();
        let expected = [
            "tower_refresh_duration_seconds session=shop",
            "tower_refresh_refusals_total session=shop,outcome=refused",
            "tower_refresh_rotations_total session=shop,outcome=lost",
            "tower_refresh_saves_total session=shop,outcome=failed",
            "tower_refresh_saves_total session=shop,outcome=recovered",
            "tower_refresh_token_life_seconds session=shop",
            "tower_refresh_total session=shop,outcome=adopted",
            "tower_refresh_total session=shop,outcome=login_required",
            "tower_refresh_total session=shop,outcome=refreshed",
        ];
        assert_eq!(seen, expected);
    }
}
