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
    replay::{ByBody, Replay, ReplayBody, Rewrap, SendOnce, Spare, Split, Superseded},
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

fn assert_splits<B>(_: &impl Split<B>) {}

// S51
#[test]
fn every_usual_body_has_a_policy() {
    assert_splits::<Full<Bytes>>(&ByBody);
    assert_splits::<Empty<Bytes>>(&ByBody);
    assert_splits::<String>(&ByBody);
    assert_splits::<Either<Full<Bytes>, Empty<Bytes>>>(&ByBody);
    assert_splits::<BoxBody<Bytes, BoxError>>(&ByBody);
    assert_splits::<UnsyncBoxBody<Bytes, BoxError>>(&ByBody);
    assert_splits::<UnsyncBoxBody<Bytes, Superseded>>(&ByBody);
    assert_splits::<ReplayBody<Incoming>>(&ByBody);
    assert_splits::<Framework>(&Rewrap(Framework::new));
    assert_splits::<axum::body::Body>(&Rewrap(axum::body::Body::new));
    #[cfg(feature = "tonic")]
    assert_splits::<tonic::body::Body>(&ByBody);
    assert_splits::<Incoming>(&SendOnce);
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
        fn keep(&mut self) -> Spare<Self> {
            self.0.keep().map(Self)
        }
    }

    assert_splits::<Mine>(&ByBody);
    let spare = Mine(ReplayBody::new(Full::from("hello"))).keep();
    // Neither body need be printable.
    assert_eq!(format!("{spare:?}"), "Spare::Recorded");
    assert_eq!(format!("{:?}", Spare::ready(Framework::new(String::new()))), "Spare::Ready");
}

#[test]
fn a_policy_tells_its_constructor() {
    let rewrap = format!("{:?}", Rewrap(Framework::new::<ReplayBody<Framework>>));
    assert!(rewrap.starts_with("Rewrap(bodies::Framework::new"), "{rewrap}");
}
