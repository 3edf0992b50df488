//! A refresh that brings no token, and what the session does then.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::future::join;
use http::StatusCode;
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, ServiceExt, service_fn};
use tower_refresh::{
    BoxError, ErrorKind, Event, Refresh, RefreshLayer, Session, Tokens,
    endpoint::{EndpointError, RefreshRequest, Spent, TokenResponse},
    testing::Answer,
};

use crate::support::{Api, World, error_of, expired, get, live, live_for};

fn busy() -> EndpointError {
    EndpointError::transient("busy").with_spent(Spent::No)
}

// S19: an endpoint that panics is an error, and the next refresh works
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_panics_is_an_error_and_the_next_refresh_works() {
    let world = World::new(expired());
    world.endpoint.answer(Answer::Panic);
    let (one, two) = join(world.get(), world.get()).await;
    assert!(error_of(one).is_transient());
    assert!(error_of(two).is_transient());
    assert_eq!(world.endpoint.calls(), 1);

    sleep(Duration::from_secs(2)).await;
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
}

/// An endpoint whose HTTP goes through `client`, and that takes a 401 for the end of the grant.
fn endpoint_through<C>(
    client: C,
) -> impl tower::Service<
    RefreshRequest,
    Response = TokenResponse,
    Error = BoxError,
    Future = impl Future<Output = Result<TokenResponse, BoxError>> + Send + 'static,
> + Clone
+ Send
+ 'static
where
    C: Fn() -> Refresh<Api> + Send + Sync + Clone + 'static,
{
    service_fn(move |_| {
        let client = client();
        async move {
            match get(client).await? {
                StatusCode::OK => Ok(TokenResponse::new("through-the-client")?),
                status => Err(EndpointError::invalid_grant(status.to_string()).into()),
            }
        }
    })
}

// S33: a 401 of the token endpoint is a failed refresh; an endpoint behind its own session is an
// error
#[tokio::test(start_paused = true)]
async fn a_401_from_the_token_endpoint_is_a_failure_and_no_recursion() {
    let server = Api::new();
    server.refuse_all();
    // It signs its own requests with another identity, and that one refreshes for itself.
    let machine = World::new(live());
    let of_machine = RefreshLayer::new(machine.session.clone()).layer(server.clone());
    let session = Session::builder(endpoint_through(move || of_machine.clone()))
        .initial_tokens(expired())
        .build();
    let api = Api::new();
    let error = error_of(get(RefreshLayer::new(session).layer(api.clone())).await);
    assert!(error.is_login_required(), "{error}");
    assert_eq!(server.tokens(), ["seed", "access-1"]);
    assert!(api.seen().is_empty());
}

/// A client, and an endpoint that sends its requests through that very client.
fn ouroboros(tokens: Tokens, spawned: bool) -> (Api, Refresh<Api>) {
    let (api, client) = (Api::new(), Arc::new(OnceLock::<Refresh<Api>>::new()));
    let of_endpoint = client.clone();
    let endpoint = endpoint_through(move || of_endpoint.get().unwrap().clone());
    let builder = if spawned {
        Session::builder(endpoint.map_future(|call| async { tokio::spawn(call).await? }))
    } else {
        Session::builder(endpoint)
    };
    let session = builder.initial_tokens(tokens).build();
    let client = client.get_or_init(|| RefreshLayer::new(session).layer(api.clone()));
    (api.clone(), client.clone())
}

// S33: a 401 of the token endpoint is a failed refresh; an endpoint behind its own session is an
// error
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_waits_for_its_own_refresh_is_an_error_at_once() {
    let start = Instant::now();
    let (api, client) = ouroboros(expired(), false);
    let error = error_of(get(client).await);
    assert_eq!(error.kind(), ErrorKind::Recursion);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(api.seen().is_empty());

    let (api, client) = ouroboros(live(), false);
    api.refuse("seed");
    assert_eq!(get(client).await.unwrap(), StatusCode::UNAUTHORIZED);
}

// S33: a 401 of the token endpoint is a failed refresh; an endpoint behind its own session is an
// error
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_waits_for_its_own_refresh_from_another_task_times_out() {
    let (_, client) = ouroboros(expired(), true);
    let error = error_of(get(client).await);
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

// S34: when the grant is over there are no calls until tokens are set, and a live token serves on
#[tokio::test(start_paused = true)]
async fn the_end_of_the_grant_leaves_a_live_token_in_use_until_it_is_refused() {
    let world = World::new(live());
    world
        .endpoint
        .answer_always(|| EndpointError::invalid_grant("over").with_code("invalid_grant").into());
    assert!(world.session.refresh().await.unwrap_err().is_login_required());
    for _ in 0..10 {
        assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    }
    assert_eq!(world.endpoint.calls(), 1);

    world.api.refuse("seed");
    assert_eq!(world.get().await.unwrap(), StatusCode::UNAUTHORIZED);
    assert!(error_of(world.get().await).is_login_required());
    assert_eq!(world.endpoint.calls(), 1);
    assert_eq!(world.api.seen().len(), 11);

    world.session.set_tokens(Tokens::new("login").unwrap()).await.unwrap();
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.endpoint.calls(), 1);
}

// S77: after *login required* a refresh by hand makes one call, and its verdict counts
#[tokio::test(start_paused = true)]
async fn after_the_end_of_the_grant_a_refresh_by_hand_is_one_call_and_its_verdict_counts() {
    let world = World::new(expired());
    world.endpoint.answer(EndpointError::invalid_grant("over"));
    world.endpoint.answer(EndpointError::invalid_grant("still over"));
    assert!(error_of(world.get().await).is_login_required());
    assert!(error_of(world.get().await).is_login_required());
    assert_eq!(world.endpoint.calls(), 1);

    let error = world.session.refresh().await.unwrap_err();
    assert!(error.is_login_required());
    assert_eq!(world.endpoint.calls(), 2);
    assert!(error_of(world.get().await).is_login_required());
    assert_eq!(world.endpoint.calls(), 2);

    // The server was mistaken.
    assert_eq!(world.session.refresh().await.unwrap().expose(), "access-1");
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.endpoint.calls(), 3);

    // A log-out is another matter.
    world.session.log_out().await.unwrap();
    assert!(world.session.refresh().await.unwrap_err().is_login_required());
    assert_eq!(world.endpoint.calls(), 3);
}

// S34: when the grant is over there are no calls until tokens are set, and a live token serves on
#[tokio::test(start_paused = true)]
async fn the_end_of_the_grant_leaves_a_live_token_in_use_until_it_expires() {
    let world = World::new(live_for(Duration::from_secs(100)));
    world.endpoint.answer_always(|| EndpointError::invalid_grant("over").into());
    let mut events = world.session.events();
    advance(Duration::from_secs(92)).await;
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert!(events.next().await.unwrap().is_login_required());
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    advance(Duration::from_secs(8)).await;
    assert!(error_of(world.get().await).is_login_required());
    assert_eq!(world.endpoint.calls(), 1);

    world.session.set_tokens(live()).await.unwrap();
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
}

// S34: when the grant is over there are no calls until tokens are set, and a live token serves on
#[tokio::test(start_paused = true)]
async fn a_misconfigured_call_is_left_alone_for_longer_each_time_and_tried_again_by_hand() {
    let world = World::new(live());
    world.endpoint.answer(EndpointError::misconfigured("who are you?").with_code("invalid_client"));
    world.endpoint.answer(EndpointError::misconfigured("who are you?"));
    let error = world.session.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(!error.is_login_required() && !error.is_transient());
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);

    world.api.refuse("seed");
    sleep(Duration::from_secs(29)).await;
    assert_eq!(world.get().await.unwrap(), StatusCode::UNAUTHORIZED);
    assert_eq!(world.endpoint.calls(), 1);
    assert!(world.session.refresh().await.is_err());
    assert_eq!(world.endpoint.calls(), 2);

    sleep(Duration::from_secs(59)).await;
    assert_eq!(world.get().await.unwrap(), StatusCode::UNAUTHORIZED);
    assert_eq!(world.endpoint.calls(), 2);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.endpoint.calls(), 3);
}

// S35: transient failures within the attempts cost nothing but time
#[tokio::test(start_paused = true)]
async fn failures_that_pass_within_the_attempts_cost_the_caller_nothing_but_time() {
    let world = World::new(expired());
    world.endpoint.answer(busy());
    world.endpoint.answer(busy());
    let mut events = world.session.events();
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.endpoint.calls(), 3);
    let event = events.next().await;
    assert!(matches!(event, Some(Event::Refreshed { adopted: false, .. })), "{event:?}");
}

// S36: a transient failure takes no live token away
#[tokio::test(start_paused = true)]
async fn while_refreshes_fail_a_valid_token_stays_in_use_and_the_pause_is_kept() {
    let world = World::new(live_for(Duration::from_secs(1000)));
    world.endpoint.answer_always(|| busy().into());
    let mut events = world.session.events();
    advance(Duration::from_secs(975)).await;
    for round in 1..=3 {
        assert_eq!(world.get().await.unwrap(), StatusCode::OK);
        let event = events.next().await;
        assert!(matches!(event, Some(Event::RefreshFailed { .. })), "{event:?}");
        // In the pause nothing is called, however many come.
        for _ in 0..100 {
            assert_eq!(world.get().await.unwrap(), StatusCode::OK);
            tokio::task::yield_now().await;
        }
        assert_eq!(world.endpoint.calls(), 3 * round);
        sleep(Duration::from_secs(4)).await;
    }
    assert!(world.api.tokens().iter().all(|token| token == "seed"));
}
