use bytes::Bytes;
use futures::future::join_all;
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::{Duration, sleep};
use tower::{Layer, Service, ServiceExt};
use tower_refresh::{ErrorKind, NoToken, RefreshLayer, TokenId};

use super::support::{World, live, request};

// S69: a token of one session is never replaced by another's
#[tokio::test(start_paused = true)]
async fn a_token_of_another_session_replaces_nothing() {
    let (a, b) = (World::new(live()), World::new(live()));
    let (of_a, of_b) = (a.session.token().await.unwrap(), b.session.token().await.unwrap());
    // Alike in all but the session, as are the first tokens of any two users.
    assert_eq!(of_a.generation(), of_b.generation());
    assert_ne!(of_a.id(), of_b.id());

    let error = b.session.replace(of_a.id()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains("another session"), "{error}");
    assert_eq!(b.session.token().await.unwrap().id(), of_b.id(), "it stays in use");
    assert_eq!((a.endpoint.calls(), b.endpoint.calls()), (0, 0));
    // And not even a late one that would be an older generation here.
    b.session.refresh().await.unwrap();
    b.session.replace(of_a.id()).await.unwrap_err();
    assert_eq!(b.endpoint.calls(), 1);
    // Its own session replaces it.
    let next = a.session.replace(of_a.id()).await.unwrap();
    assert_eq!(next.expose(), "access-1");
}

async fn reported<S>(client: S, request: Request<Full<Bytes>>) -> Option<TokenId>
where
    S: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>>,
    S::Error: std::fmt::Debug,
{
    client.oneshot(request).await.unwrap().extensions().get().copied()
}

// S80: a caller that reads only in the body that it was refused knows which token to replace.
#[tokio::test(start_paused = true)]
async fn ten_callers_that_learn_late_of_a_refusal_cost_one_refresh() {
    let world = World::new(live());
    let client = RefreshLayer::new(world.session.clone()).report_token().layer(world.api.clone());
    let used = join_all((0..10).map(|_| reported(client.clone(), request("{ me }")))).await;
    let callers = used.into_iter().zip(0..).map(|(used, caller)| {
        let session = world.session.clone();
        async move {
            sleep(Duration::from_millis(100 * caller)).await;
            session.replace(used.unwrap()).await.unwrap().expose().to_owned()
        }
    });
    assert!(join_all(callers).await.iter().all(|token| token == "access-1"));
    assert_eq!(world.endpoint.calls(), 1);
}

// S80: the response names the token of its request, for those who opt in
#[tokio::test(start_paused = true)]
async fn a_response_reports_the_token_of_the_request_that_it_answers() {
    let world = World::new(live());
    assert_eq!(reported(world.client.clone(), request("")).await, None, "it is opt-in");
    let client = RefreshLayer::new(world.session.clone()).report_token().layer(world.api.clone());
    let seed = world.session.token().await.unwrap().id();
    assert_eq!(reported(client.clone(), request("")).await, Some(seed));
    world.api.refuse("seed");
    let next = reported(client.clone(), request("")).await;
    assert_eq!(next, Some(world.session.token().await.unwrap().id()));
    assert_ne!(next, Some(seed));
    // Also where the refusal is the answer.
    world.api.refuse_all();
    let last = reported(client.clone(), request("")).await;
    assert_eq!(last, Some(world.session.token().await.unwrap().id()));
    let mut unsigned = request("");
    unsigned.extensions_mut().insert(NoToken);
    assert_eq!(reported(client, unsigned).await, None);
}
