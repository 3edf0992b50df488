//! Calls of one message each way, and what of a session a caller sees.

use tonic::{Code, Request};
use tower::Layer;
use tower_refresh::{Error, ErrorKind, NoToken, RefreshLayer, Session, endpoint::EndpointError};

use super::{
    echo::{Echo, EchoClient, Refuses},
    support::{World, expired, in_time, seed},
};

// S32: gRPC's `UNAUTHENTICATED` in the headers is a refusal
#[tokio::test]
async fn a_refused_call_is_sent_again_with_the_next_token() {
    let mut world = World::new(Refuses::AtOnce).await;
    let answer = in_time(world.client.unary("hello".to_owned())).await.unwrap();
    assert_eq!(answer.into_inner(), "HELLO");
    let hello = || vec!["hello".to_owned()];
    assert_eq!(world.echo.seen(), [("seed".into(), hello()), ("access-1".into(), hello())]);
    assert_eq!(world.endpoint.calls(), 1);

    in_time(world.client.unary("again".to_owned())).await.unwrap();
    assert_eq!(world.echo.tokens(), ["seed", "access-1", "access-1"]);
}

// S32: gRPC's `UNAUTHENTICATED` in the headers is a refusal
#[tokio::test]
async fn the_message_of_a_call_is_kept_up_to_the_cap() {
    // Each message has a prefix of 5 bytes on the wire.
    for (length, fits) in [(64 * 1024 - 5, true), (64 * 1024 - 4, false)] {
        let mut world = World::new(Refuses::AtOnce).await;
        let outcome = in_time(world.client.unary("x".repeat(length))).await;
        if fits {
            assert_eq!(outcome.unwrap().into_inner().len(), length);
        } else {
            assert_eq!(outcome.unwrap_err().code(), Code::Unauthenticated);
        }
        assert_eq!(world.echo.seen().len(), if fits { 2 } else { 1 });
        // The refusal is news all the same, and the next call has the next token.
        let next = in_time(world.client.unary("y".to_owned())).await.unwrap();
        assert_eq!(next.into_inner(), "Y");
        assert_eq!(world.endpoint.calls(), 1);
    }
}

#[tokio::test]
async fn a_call_with_a_token_of_its_own_is_left_alone() {
    let mut world = World::new(Refuses::AtOnce).await;
    let mut request = Request::new("hello".to_owned());
    request.metadata_mut().insert("authorization", "Bearer seed".parse().unwrap());
    let status = in_time(world.client.unary(request)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(status.message(), "the token is not good");
    assert_eq!((world.echo.tokens(), world.endpoint.calls()), (vec!["seed".into()], 0));
}

#[tokio::test]
async fn a_call_can_opt_out() {
    let mut world = World::new(Refuses::AtOnce).await;
    let mut request = Request::new("hello".to_owned());
    request.extensions_mut().insert(NoToken);
    in_time(world.client.unary(request)).await.unwrap();
    assert_eq!(world.echo.tokens(), ["-"]);
}

// S32: gRPC's `UNAUTHENTICATED` in the headers is a refusal
#[tokio::test]
async fn a_channel_needs_to_be_told_its_origin() {
    let world = World::new(Refuses::AtOnce).await;
    let endpoint = tower_refresh::testing::GatedEndpoint::new();
    let session = Session::builder(endpoint).initial_tokens(seed()).build();
    let channel = tonic::transport::Channel::from_shared(world.echo.url()).unwrap().connect_lazy();
    let layer = RefreshLayer::new(session);

    let mut client = EchoClient::new(layer.layer(channel.clone()));
    let status = in_time(client.unary("hello".to_owned())).await.unwrap_err();
    let error = Error::find(&status).unwrap();
    assert_eq!(error.kind(), ErrorKind::UnknownOrigin);
    assert!(status.message().contains("RefreshLayer::origin"), "{status}");

    // Told that it would be unencrypted, it does not send the token either.
    let plain = layer.clone().origin("http://api.example.com".parse().unwrap());
    let status = EchoClient::new(plain.layer(channel)).unary("hello".to_owned()).await.unwrap_err();
    assert_eq!(Error::find(&status).unwrap().kind(), ErrorKind::Plaintext);
    assert!(world.echo.seen().is_empty());
}

#[tokio::test]
async fn the_sessions_error_is_found_in_a_status() {
    let echo = Echo::start(Refuses::AtOnce).await;
    let mut world = World::with(echo, expired(), |channel| channel).await;
    world.endpoint.answer_always(|| EndpointError::invalid_grant("over").into());
    let status = in_time(world.client.unary("hello".to_owned())).await.unwrap_err();
    assert!(Error::find(&status).unwrap().is_login_required(), "{status:?}");
    assert!(world.echo.seen().is_empty());

    // What the application wraps it in does not matter either.
    let boxed: tower_refresh::BoxError = std::io::Error::other(status).into();
    assert!(Error::find(boxed.as_ref()).unwrap().is_login_required());
}

#[tokio::test]
async fn if_the_refresh_fails_the_caller_sees_the_refusal() {
    let mut world = World::new(Refuses::AtOnce).await;
    world.endpoint.answer_always(|| EndpointError::invalid_grant("over").into());
    let status = in_time(world.client.unary("hello".to_owned())).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(status.message(), "the token is not good");
    assert_eq!(world.echo.tokens(), ["seed"]);
}
