//! tower's `Retry`, with a pause that outlasts a token.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::Full;
use tokio::time::{Sleep, sleep};
use tower::{Service, ServiceBuilder, ServiceExt, retry, service_fn};
use tower_refresh::{BoxError, RefreshLayer};

use crate::support::{World, live_for, request};

type Req = Request<Full<Bytes>>;
type Resp = Response<Full<Bytes>>;

/// Tries again what could not be served, after two minutes.
#[derive(Clone)]
struct WhenBusy;

impl<E> retry::Policy<Req, Resp, E> for WhenBusy {
    type Future = Sleep;

    fn retry(&mut self, _: &mut Req, outcome: &mut Result<Resp, E>) -> Option<Sleep> {
        let busy = outcome.as_ref().is_ok_and(|it| it.status() == StatusCode::SERVICE_UNAVAILABLE);
        busy.then(|| sleep(Duration::from_secs(120)))
    }

    fn clone_request(&mut self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }
}

/// An API that is busy once, and after that takes only the token `access-1`.
fn api(
    seen: &Arc<Mutex<Vec<String>>>,
) -> impl Service<Req, Response = Resp, Error = BoxError, Future: Send> + Clone + use<> {
    let seen = seen.clone();
    service_fn(move |request: Req| {
        let token = request.headers()[AUTHORIZATION].to_str().unwrap().to_owned();
        let mut seen = seen.lock().unwrap();
        let status = match (seen.len(), token.as_str()) {
            (0, _) => 503,
            (_, "Bearer access-1") => 200,
            _ => 401,
        };
        seen.push(token);
        async move { Ok::<_, BoxError>(Response::builder().status(status).body(Full::default())?) }
    })
}

#[tokio::test(start_paused = true)]
async fn with_a_retry_layer_outside_each_attempt_has_a_live_token() {
    let (world, seen) = (World::new(live_for(Duration::from_secs(60))), Arc::default());
    let client = ServiceBuilder::new()
        .layer(retry::RetryLayer::new(WhenBusy))
        .layer(RefreshLayer::new(world.session.clone()))
        .service(api(&seen));
    assert_eq!(client.oneshot(request("")).await.unwrap().status(), 200);
    assert_eq!(*seen.lock().unwrap(), ["Bearer seed", "Bearer access-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_layer_inside_repeats_a_token_that_has_expired_meanwhile() {
    let (world, seen) = (World::new(live_for(Duration::from_secs(60))), Arc::default());
    let client = ServiceBuilder::new()
        .layer(RefreshLayer::new(world.session.clone()))
        .layer(retry::RetryLayer::new(WhenBusy))
        .service(api(&seen));
    assert_eq!(client.oneshot(request("")).await.unwrap().status(), 200);
    assert_eq!(*seen.lock().unwrap(), ["Bearer seed", "Bearer seed", "Bearer access-1"]);
}
