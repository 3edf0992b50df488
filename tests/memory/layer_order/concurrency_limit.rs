//! tower's `ConcurrencyLimit`.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Service, ServiceBuilder};
use tower_refresh::{BoxError, NoToken, RefreshLayer};

use crate::support::{World, expired, get, request, send};

/// Sends a request that needs no token.
pub(crate) async fn unsigned<S>(client: S) -> StatusCode
where
    S: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = BoxError>,
{
    let mut request = request("");
    request.extensions_mut().insert(NoToken);
    send(client, request).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn with_a_concurrency_limit_inside_requests_that_wait_for_a_token_hold_no_permit() {
    let world = World::new(expired());
    let hold = world.endpoint.hold();
    let client = ServiceBuilder::new()
        .layer(RefreshLayer::new(world.session.clone()))
        .concurrency_limit(1)
        .service(world.api.clone());
    let waiting = tokio::spawn(get(client.clone()));
    world.endpoint.calls_reached(1).await;
    assert_eq!(unsigned(client).await, StatusCode::OK);
    hold.release();
    assert_eq!(waiting.await.unwrap().unwrap(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn with_a_concurrency_limit_outside_requests_that_wait_for_a_token_keep_all_others_out() {
    let world = World::new(expired());
    let hold = world.endpoint.hold();
    let client = ServiceBuilder::new()
        .concurrency_limit(1)
        .layer(RefreshLayer::new(world.session.clone()))
        .service(world.api.clone());
    let waiting = tokio::spawn(get(client.clone()));
    world.endpoint.calls_reached(1).await;
    let kept_out = tokio::spawn(unsigned(client));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!kept_out.is_finished());
    hold.release();
    assert_eq!(waiting.await.unwrap().unwrap(), StatusCode::OK);
    assert_eq!(kept_out.await.unwrap(), StatusCode::OK);
}
