//! Which bodies can be sent twice, seen from the outside: by their types.

use bytes::Bytes;
use http_body::Body;
use http_body_util::{
    Either, Empty, Full,
    combinators::{BoxBody, UnsyncBoxBody},
};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::Service;
use tower_refresh::{
    BoxError,
    replay::{Backup, Never, Policy, Replay, ReplayBody, Rewrap, Standard, Superseded},
};

/// A body type as frameworks have them: closed, with an error of its own, built from any body.
struct Framework(UnsyncBoxBody<Bytes, BoxError>);

impl Framework {
    fn new<B>(body: B) -> Self
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        use http_body_util::BodyExt as _;
        Self(UnsyncBoxBody::new(body.map_err(Into::into)))
    }
}

#[derive(Debug)]
struct FrameworkError(BoxError);

impl std::fmt::Display for FrameworkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for FrameworkError {}

impl Body for Framework {
    type Data = Bytes;
    type Error = FrameworkError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, FrameworkError>>> {
        let inner = std::pin::Pin::new(&mut self.0);
        inner.poll_frame(cx).map_err(FrameworkError)
    }
}

fn assert_backs_up<B>(_: &impl Policy<B>) {}

// S51: after a refusal the server gets the same bytes in the same order, trailers included
#[test]
fn every_usual_body_has_a_policy() {
    assert_backs_up::<Full<Bytes>>(&Standard);
    assert_backs_up::<Empty<Bytes>>(&Standard);
    assert_backs_up::<String>(&Standard);
    assert_backs_up::<Either<Full<Bytes>, Empty<Bytes>>>(&Standard);
    assert_backs_up::<BoxBody<Bytes, BoxError>>(&Standard);
    assert_backs_up::<UnsyncBoxBody<Bytes, BoxError>>(&Standard);
    assert_backs_up::<UnsyncBoxBody<Bytes, Superseded>>(&Standard);
    assert_backs_up::<ReplayBody<Incoming>>(&Standard);
    assert_backs_up::<Framework>(&Rewrap(Framework::new));
    assert_backs_up::<axum::body::Body>(&Rewrap(axum::body::Body::new));
    #[cfg(feature = "tonic")]
    assert_backs_up::<tonic::body::Body>(&Standard);
    assert_backs_up::<Incoming>(&Never);
}

#[test]
fn a_client_can_be_typed_by_a_recording() {
    fn assert_sends<B>(_: impl Service<http::Request<B>>) {}
    let client = Client::builder(TokioExecutor::new());
    assert_sends::<ReplayBody<Incoming>>(client.build(HttpConnector::new()));
    assert_sends::<ReplayBody<UnsyncBoxBody<Bytes, BoxError>>>(client.build(HttpConnector::new()));
}

#[test]
fn a_body_of_ones_own_can_be_a_recording() {
    struct Mine(ReplayBody<Full<Bytes>>);

    impl Replay for Mine {
        fn backup(&mut self) -> Backup<Self> {
            self.0.backup().map(Self)
        }
    }

    assert_backs_up::<Mine>(&Standard);
    let backup = Mine(ReplayBody::new(Full::from("hello"))).backup();
    // Neither body need be printable.
    assert_eq!(format!("{backup:?}"), "Backup::Recorded");
    assert_eq!(format!("{:?}", Backup::ready(Framework::new(String::new()))), "Backup::Ready");
}

#[test]
fn a_policy_tells_its_constructor() {
    let rewrap = format!("{:?}", Rewrap(Framework::new::<ReplayBody<Framework>>));
    assert!(rewrap.starts_with("Rewrap(memory::body_types::Framework::new"), "{rewrap}");
}
