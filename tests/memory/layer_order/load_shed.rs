//! tower's `LoadShed`, with a limit of one below it.

use http::StatusCode;
use tower::{Service, ServiceBuilder, load_shed::error::Overloaded};
use tower_refresh::{BoxError, RefreshLayer};

use super::concurrency_limit::unsigned;
use crate::support::{World, get, live, settle};

type Req = http::Request<http_body_util::Full<bytes::Bytes>>;
type Resp = http::Response<http_body_util::Full<bytes::Bytes>>;

/// Sends a request that is refused; while its token is replaced, another takes the only place.
async fn refused_and_overtaken<S>(world: &World, client: S) -> Result<StatusCode, BoxError>
where
    S: Service<Req, Response = Resp, Error = BoxError, Future: Send> + Clone + Send + 'static,
{
    let arrived = world.api.seen().len();
    world.api.refuse("seed");
    let hold = world.endpoint.hold();
    let first = tokio::spawn(get(client.clone()));
    world.endpoint.calls_reached(1).await;
    world.api.hold(true);
    let second = tokio::spawn(unsigned(client));
    world.api.arrived(arrived + 2).await;
    hold.release();
    settle().await;
    world.api.hold(false);
    assert_eq!(second.await.unwrap(), StatusCode::OK);
    first.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_load_shed_layer_outside_sheds_what_has_not_begun() {
    let world = World::new(live());
    let client = ServiceBuilder::new()
        .load_shed()
        .layer(RefreshLayer::new(world.session.clone()))
        .concurrency_limit(1)
        .service(world.api.clone());
    world.api.hold(true);
    let first = tokio::spawn(get(client.clone()));
    world.api.arrived(1).await;
    assert!(get(client.clone()).await.unwrap_err().is::<Overloaded>());
    world.api.hold(false);
    assert_eq!(first.await.unwrap().unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens(), ["seed"]);

    assert_eq!(refused_and_overtaken(&world, client).await.unwrap(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_load_shed_layer_inside_sheds_the_second_sending_too() {
    let world = World::new(live());
    let client = ServiceBuilder::new()
        .layer(RefreshLayer::new(world.session.clone()))
        .load_shed()
        .concurrency_limit(1)
        .service(world.api.clone());
    assert!(refused_and_overtaken(&world, client).await.unwrap_err().is::<Overloaded>());
}
