//! An API that accepts a token only some time after it has seen or could have seen it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::future::join_all;
use http::{Request, Response, header::AUTHORIZATION};
use http_body_util::Full;
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, ServiceExt};
use tower_refresh::{BoxError, RefreshLayer, Session, TokenId, testing::GatedEndpoint};

use crate::support::{live, settle};

const DELAY: Duration = Duration::from_secs(3);

/// An API that accepts a token this long after it was first shown.
#[derive(Clone)]
struct Late {
    delay: Duration,
    shown: Arc<Mutex<HashMap<String, Instant>>>,
}

impl Late {
    fn new(delay: Duration) -> Self {
        Self { delay, shown: Arc::default() }
    }

    async fn get(&self, layer: &RefreshLayer) -> Response<()> {
        let late = self.clone();
        let api = tower::service_fn(move |request: Request<Full<Bytes>>| {
            let token = request.headers()[AUTHORIZATION].to_str().unwrap().to_owned();
            let since = *late.shown.lock().unwrap().entry(token).or_insert_with(Instant::now);
            let status = if since.elapsed() >= late.delay { 200 } else { 401 };
            async move { Ok::<_, BoxError>(Response::builder().status(status).body(())?) }
        });
        let request = Request::get("https://api.example.com/v").body(Full::default()).unwrap();
        layer.layer(api).oneshot(request).await.unwrap()
    }

    fn tokens(&self) -> usize {
        self.shown.lock().unwrap().len()
    }
}

fn layer() -> (GatedEndpoint, RefreshLayer) {
    let endpoint = GatedEndpoint::new();
    let session = Session::builder(endpoint.clone()).initial_tokens(live()).build();
    (endpoint, RefreshLayer::new(session).acceptance_delay(DELAY).report_token())
}

// S70: a new token that is refused too early is sent once more as it is.
#[tokio::test(start_paused = true)]
async fn a_token_that_is_not_accepted_yet_costs_a_wait_and_no_refresh() {
    let (endpoint, layer) = layer();
    let api = Late::new(DELAY - Duration::from_secs(1));
    let start = Instant::now();
    assert_eq!(api.get(&layer).await.status(), 200);
    assert_eq!(start.elapsed().as_secs(), 3);
    assert_eq!((endpoint.calls(), api.tokens()), (0, 1));
}

// S70: a refusal that its refresh cured is not counted
#[tokio::test(start_paused = true)]
async fn a_request_a_second_at_an_api_that_learns_of_tokens_late_never_fails() {
    let (endpoint, layer) = layer();
    let api = Late::new(DELAY);
    let requests = (0..30).map(|second| {
        let (api, layer) = (api.clone(), layer.clone());
        async move {
            sleep(Duration::from_secs(second)).await;
            api.get(&layer).await.status()
        }
    });
    assert!(join_all(requests).await.iter().all(|status| *status == 200));
    assert_eq!((endpoint.calls(), api.tokens()), (0, 1));
}

// S70: the successor of a token that was refused at an age is new as well.
#[tokio::test(start_paused = true)]
async fn a_successor_that_is_not_accepted_yet_is_waited_for_too() {
    let (endpoint, layer) = layer();
    let api = Late::new(DELAY);
    advance(DELAY).await;
    let response = api.get(&layer).await;
    assert_eq!(response.status(), 200);
    let token = response.extensions().get::<TokenId>().copied();
    assert_eq!((endpoint.calls(), api.tokens()), (1, 2));
    // A request that comes meanwhile waits for its rest.
    assert_eq!(api.get(&layer).await.extensions().get::<TokenId>().copied(), token);
}

// S70: it is no loop, and no delay for what is refused for good.
#[tokio::test(start_paused = true)]
async fn a_token_that_is_old_enough_is_refused_as_any() {
    let (endpoint, layer) = layer();
    let api = Late::new(Duration::from_secs(3600));
    let start = Instant::now();
    assert_eq!(api.get(&layer).await.status(), 401);
    // The first token waits, and so does its successor; then the answer is the caller's.
    assert_eq!(start.elapsed(), DELAY * 2);
    assert_eq!((endpoint.calls(), api.tokens()), (1, 2));
    assert_eq!(api.get(&layer).await.status(), 401);
    settle().await;
    assert_eq!((start.elapsed(), endpoint.calls()), (DELAY * 2, 1));
}
