//! tower-http's `Trace`, told to write down headers.

use std::{
    io,
    sync::{Arc, Mutex},
};

use http::StatusCode;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_http::trace::{DefaultMakeSpan, DefaultOnResponse, HttpMakeClassifier, TraceLayer};
use tower_refresh::{BoxError, RefreshLayer};
use tracing::{Level, instrument::WithSubscriber};

use crate::support::{World, live, request};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn trace() -> TraceLayer<HttpMakeClassifier> {
    TraceLayer::new_for_http()
        .make_span_with(DefaultMakeSpan::new().level(Level::INFO).include_headers(true))
        .on_response(DefaultOnResponse::new().level(Level::INFO))
}

type Req = http::Request<http_body_util::Full<bytes::Bytes>>;

/// What is logged when a request is refused and sent again: the lines on responses.
async fn responses<S, B>(client: S) -> Vec<String>
where
    S: Service<Req, Response = http::Response<B>>,
    S::Error: Into<BoxError>,
{
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let response = client.oneshot(request("")).with_subscriber(subscriber).await;
    let status = response.map(|it| it.status()).map_err(Into::into).unwrap();
    assert_eq!(status, StatusCode::OK);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(!log.contains("access-1") && !log.contains("seed"), "{log}");
    let lines = log.lines().filter(|line| line.contains("finished processing request"));
    lines.map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn a_trace_layer_outside_tells_of_the_request_and_never_sees_the_token() {
    let world = World::new(live());
    world.api.refuse("seed");
    let client = ServiceBuilder::new()
        .layer(trace())
        .layer(RefreshLayer::new(world.session.clone()))
        .service(world.api.clone());
    let lines = responses(client).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("status=200") && !lines[0].contains("authorization"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_trace_layer_inside_tells_of_each_sending_and_hides_the_token() {
    let world = World::new(live());
    world.api.refuse("seed");
    let client = ServiceBuilder::new()
        .layer(RefreshLayer::new(world.session.clone()))
        .layer(trace())
        .service(world.api.clone());
    let lines = responses(client).await;
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (line, status) in lines.iter().zip(["status=401", "status=200"]) {
        assert!(line.contains(status), "{line}");
        assert!(line.contains(r#""authorization": Sensitive"#), "{line}");
    }
}
