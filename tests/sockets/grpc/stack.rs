//! The channel below the layer: a buffer, whose places are few.

use futures::future::join_all;
use tonic::Request;
use tower_refresh::NoToken;

use super::{
    echo::{Echo, Refuses},
    support::{World, expired, in_time, seed},
};

#[tokio::test]
async fn callers_that_wait_for_a_token_hold_no_place_in_the_channel() {
    let echo = Echo::start(Refuses::AtOnce).await;
    let world =
        World::with(echo, expired(), |channel| channel.buffer_size(1).concurrency_limit(1)).await;
    let hold = world.endpoint.hold();
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let mut client = world.client.clone();
            tokio::spawn(async move { client.unary("hello".to_owned()).await })
        })
        .collect();
    in_time(world.endpoint.calls_reached(1)).await;
    let mut request = Request::new("hello".to_owned());
    request.extensions_mut().insert(NoToken);
    in_time(world.client.clone().unary(request)).await.unwrap();
    assert_eq!(world.echo.tokens(), ["-"]);

    hold.release();
    for answer in in_time(join_all(callers)).await {
        assert_eq!(answer.unwrap().unwrap().into_inner(), "HELLO");
    }
    assert_eq!(world.endpoint.calls(), 1);
}

#[tokio::test]
async fn one_refresh_serves_all_calls_that_were_refused() {
    let echo = Echo::start(Refuses::AtOnce).await;
    let world =
        World::with(echo, seed(), |channel| channel.buffer_size(2).concurrency_limit(3)).await;
    let callers = (0..50).map(|_| {
        let mut client = world.client.clone();
        async move { client.unary("hello".to_owned()).await }
    });
    for answer in in_time(join_all(callers)).await {
        assert_eq!(answer.unwrap().into_inner(), "HELLO");
    }
    assert_eq!(world.endpoint.calls(), 1);
}
