//! tower's `Timeout`.

use std::time::Duration;

use http::StatusCode;
use tower::{ServiceBuilder, timeout::error::Elapsed};
use tower_refresh::RefreshLayer;

use crate::support::{World, expired, get, live};

const LIMIT: Duration = Duration::from_secs(2);

#[tokio::test(start_paused = true)]
async fn a_timeout_layer_outside_counts_the_wait_for_a_token_and_ends_only_the_caller() {
    let world = World::new(expired());
    let hold = world.endpoint.hold();
    let client = ServiceBuilder::new()
        .timeout(LIMIT)
        .layer(RefreshLayer::new(world.session.clone()))
        .service(world.api.clone());
    assert!(get(client.clone()).await.unwrap_err().is::<Elapsed>());
    assert_eq!(world.endpoint.in_flight(), 1, "the refresh goes on");
    hold.release();
    assert_eq!(get(client).await.unwrap(), StatusCode::OK);
    assert_eq!(world.endpoint.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_layer_inside_does_not_count_the_wait_for_a_token() {
    let world = World::new(expired());
    let hold = world.endpoint.hold();
    let client = ServiceBuilder::new()
        .layer(RefreshLayer::new(world.session.clone()))
        .timeout(LIMIT)
        .service(world.api.clone());
    let call = tokio::spawn(get(client));
    tokio::time::sleep(LIMIT * 3).await;
    assert!(!call.is_finished());
    hold.release();
    assert_eq!(call.await.unwrap().unwrap(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn with_a_timeout_layer_inside_each_sending_has_a_limit_of_its_own() {
    let world = World::new(live());
    world.api.hold(true);
    let client = ServiceBuilder::new()
        .layer(RefreshLayer::new(world.session.clone()))
        .timeout(LIMIT)
        .service(world.api.clone());
    assert!(get(client).await.unwrap_err().is::<Elapsed>());
    // A time-out is no refusal.
    assert_eq!((world.api.tokens(), world.endpoint.calls()), (vec![], 0));
}
