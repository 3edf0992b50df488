use std::time::Duration;

use tokio::time::Instant;
use tower::{Service, ServiceExt};
use tower_refresh::{
    BoxError, RefreshToken,
    endpoint::{EndpointError, FailureClass, RefreshRequest, TokenResponse},
    testing::{Answer, GatedEndpoint},
};

async fn call(endpoint: &GatedEndpoint) -> Result<TokenResponse, BoxError> {
    let token = RefreshToken::new("seed")?;
    let request = RefreshRequest::new(Some(token));
    endpoint.clone().oneshot(request).await
}

fn spawn(endpoint: &GatedEndpoint) -> tokio::task::JoinHandle<Result<TokenResponse, BoxError>> {
    let endpoint = endpoint.clone();
    tokio::spawn(async move { call(&endpoint).await })
}

fn refresh_token(response: &TokenResponse) -> Option<&str> {
    response.refresh_token().map(RefreshToken::expose)
}

#[tokio::test(start_paused = true)]
async fn left_alone_it_counts_up() {
    let endpoint = GatedEndpoint::new();
    let first = call(&endpoint).await.unwrap();
    assert_eq!(first.access_token().expose(), "access-1");
    assert_eq!(refresh_token(&first), Some("refresh-1"));
    assert_eq!(first.expires_in(), Some(Duration::from_secs(3600)));

    endpoint.set_life(Duration::from_millis(1500));
    endpoint.set_rotate(false);
    let second = call(&endpoint).await.unwrap();
    assert_eq!(second.access_token().expose(), "access-2");
    assert_eq!(refresh_token(&second), None);
    assert_eq!(second.expires_in(), Some(Duration::from_millis(1500)));

    endpoint.set_life(None);
    assert_eq!(call(&endpoint).await.unwrap().expires_in(), None);
}

#[tokio::test(start_paused = true)]
async fn scripted_answers_come_in_order_and_then_the_usual() {
    let endpoint = GatedEndpoint::new();
    endpoint.answer(TokenResponse::new("mine").unwrap());
    endpoint.answer(EndpointError::invalid_grant("over"));
    endpoint.answer(Answer::fail("a foreign error"));
    endpoint.answer(Answer::Panic);

    let mine = call(&endpoint).await.unwrap();
    assert_eq!(mine.access_token().expose(), "mine");
    let over = call(&endpoint).await.unwrap_err();
    let over = over.downcast_ref::<EndpointError>().unwrap();
    assert_eq!(over.class(), FailureClass::InvalidGrant);
    let foreign = call(&endpoint).await.unwrap_err();
    assert!(!foreign.is::<EndpointError>());
    assert!(spawn(&endpoint).await.unwrap_err().is_panic());
    assert_eq!(endpoint.in_flight(), 0);

    let next = call(&endpoint).await.unwrap();
    assert_eq!(next.access_token().expose(), "access-1");
}

#[tokio::test(start_paused = true)]
async fn every_call_can_fail() {
    let endpoint = GatedEndpoint::new();
    endpoint.answer_always(|| EndpointError::transient("busy").into());
    endpoint.answer(Answer::Next);
    call(&endpoint).await.unwrap();
    for _ in 0..3 {
        call(&endpoint).await.unwrap_err();
    }
    endpoint.answer_always(|| Answer::Next);
    call(&endpoint).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn delays_are_tokios() {
    let endpoint = GatedEndpoint::new();
    let started = Instant::now();
    endpoint.answer(Answer::Next.after(Duration::from_secs(90)));
    call(&endpoint).await.unwrap();
    assert_eq!(started.elapsed(), Duration::from_secs(90));

    endpoint.answer(Answer::Never);
    let day = Duration::from_secs(24 * 60 * 60);
    let call = call(&endpoint);
    tokio::time::timeout(day, call).await.unwrap_err();
    assert_eq!(endpoint.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn held_calls_wait_and_are_counted() {
    let endpoint = GatedEndpoint::new();
    let hold = endpoint.hold();
    let calls = [spawn(&endpoint), spawn(&endpoint), spawn(&endpoint)];
    endpoint.calls_reached(3).await;
    assert_eq!(endpoint.in_flight(), 3);

    hold.let_through(1);
    while endpoint.in_flight() == 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(endpoint.in_flight(), 2);
    hold.release();
    endpoint.idle().await;
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!((endpoint.calls(), endpoint.max_in_flight()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_second_hold_keeps_the_gate_shut() {
    let endpoint = GatedEndpoint::new();
    let (one, two) = (endpoint.hold(), endpoint.hold());
    let waiting = spawn(&endpoint);
    one.release();
    endpoint.calls_reached(1).await;
    assert_eq!(endpoint.in_flight(), 1);
    drop(two);
    waiting.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_gated_endpoint_remembers_what_was_presented() {
    let endpoint = GatedEndpoint::new();
    call(&endpoint).await.unwrap();
    let none = RefreshRequest::new(None);
    endpoint.clone().oneshot(none).await.unwrap();
    let presented = endpoint.presented();
    let presented: Vec<_> =
        presented.iter().map(|token| token.as_ref().map(RefreshToken::expose)).collect();
    assert_eq!(presented, [Some("seed"), None]);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "before it was ready")]
async fn calling_it_unready_is_a_mistake() {
    let mut endpoint = GatedEndpoint::new();
    endpoint.ready().await.unwrap();
    // Readiness is not cloned.
    drop(endpoint.clone().call(RefreshRequest::new(None)));
}

#[test]
fn an_answer_may_depend_on_what_was_presented_and_script_the_next() {
    let endpoint = GatedEndpoint::new();
    let handle = endpoint.clone();
    endpoint.answer_always(move || match handle.presented().len() {
        1 => {
            handle.answer(Answer::fail("scripted by an answer"));
            Answer::Next
        }
        _ => {
            handle.answer_always(|| Answer::fail("no more"));
            TokenResponse::new("the-third").unwrap().into()
        }
    });
    // On a thread of its own, as a lock that is taken twice would hold this one for ever.
    let (sender, done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answers = runtime.block_on(async {
            let mut answers = Vec::new();
            for _ in 0..4 {
                let answer = call(&endpoint).await;
                answers.push(answer.map_or_else(
                    |error| error.to_string(),
                    |response| response.access_token().expose().to_owned(),
                ));
            }
            answers
        });
        let _ = sender.send(answers);
    });
    let answers = done.recv_timeout(Duration::from_secs(20)).expect("no call hangs");
    assert_eq!(answers, ["access-1", "scripted by an answer", "the-third", "no more"]);
}
