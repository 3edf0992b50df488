use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use tower_refresh::testing::{AuthServer, Fault, Login};

use super::client::{freddy, freddy_call, http, oauth2};

async fn rotating() -> (AuthServer, Login) {
    let server = AuthServer::builder().rotate(true).start().await.unwrap();
    let login = server.log_in();
    (server, login)
}

#[tokio::test]
async fn an_answer_of_the_tests_own_spends_nothing() {
    let (server, login) = rotating().await;
    let busy = StatusCode::TOO_MANY_REQUESTS;
    server.fault(Fault::status(busy).retry_after(Duration::from_secs(7)));
    server.fault(Fault::garbage());
    server.fault(Fault::body("{}"));

    let answer = oauth2(&server, &login.refresh_token).await.unwrap();
    assert_eq!(answer.status, busy);
    assert_eq!(answer.headers[header::RETRY_AFTER], "7");
    let answer = oauth2(&server, &login.refresh_token).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body.starts_with(b"<html>"));
    let answer = oauth2(&server, &login.refresh_token).await.unwrap();
    assert_eq!(answer.body, "{}");

    assert_eq!((server.counts().calls, server.counts().refreshes), (3, 0));
    let answer = oauth2(&server, &login.refresh_token).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(server.counts().reuses, 0);
}

#[tokio::test]
async fn a_dropped_connection_has_spent_the_token_or_not() {
    let (server, login) = rotating().await;
    server.fault(Fault::drop_connection());
    freddy(&server, &login.refresh_token).await.err().unwrap();
    assert_eq!(server.counts().refreshes, 0);

    server.fault(Fault::drop_connection().after_spending());
    freddy(&server, &login.refresh_token).await.err().unwrap();
    assert_eq!(server.counts().refreshes, 1);
    let answer = freddy(&server, &login.refresh_token).await.unwrap();
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(server.counts().reuses, 1);
}

#[tokio::test]
async fn a_gateway_times_out_after_the_token_was_spent() {
    let (server, login) = rotating().await;
    server.fault(Fault::status(StatusCode::GATEWAY_TIMEOUT).after_spending());
    let answer = freddy(&server, &login.refresh_token).await.unwrap();
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(server.counts().refreshes, 1);
}

#[tokio::test]
async fn a_truncated_answer_breaks_in_the_middle() {
    let (server, login) = rotating().await;
    for fault in [Fault::truncate(), Fault::truncate().after_spending()] {
        server.fault(fault);
        let call = freddy_call(&server, &login.refresh_token);
        let mut response = http().request(call).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let promised = response.body().size_hint().exact().unwrap();
        let half = response.frame().await.unwrap().unwrap();
        let half = half.into_data().unwrap();
        assert_eq!(half.len() as u64, promised / 2);
        response.frame().await.unwrap().unwrap_err();
    }
    assert_eq!(server.counts().refreshes, 1);
}

#[tokio::test]
async fn an_endless_answer_goes_on_until_its_client_has_enough() {
    let (server, login) = rotating().await;
    server.fault(Fault::endless());
    let call = freddy_call(&server, &login.refresh_token);
    let mut response = http().request(call).await.unwrap();
    let mut received = 0;
    while received < 256 * 1024 {
        let frame = response.frame().await.unwrap().unwrap();
        received += frame.into_data().unwrap().len();
    }
    drop(response);
    let answer = freddy(&server, &login.refresh_token).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn a_hanging_call_spends_nothing_unless_it_is_told_to() {
    let (server, login) = rotating().await;
    for (calls, fault) in [(1, Fault::hang()), (2, Fault::hang().after_spending())] {
        server.faults_always(fault);
        tokio::select! {
            answer = freddy(&server, &login.refresh_token) => panic!("{:?}", answer.err()),
            _ = server.reached(|counts| counts.calls == calls && counts.refreshes == calls - 1) => {}
        }
    }
    server.faults_always(None);
    let answer = freddy(&server, &login.refresh_token).await.unwrap();
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(server.counts().reuses, 1);
}

#[tokio::test]
async fn a_late_answer_is_an_answer() {
    let (server, login) = rotating().await;
    let delay = Duration::from_millis(50);
    server.fault(Fault::late(delay));
    let asked = Instant::now();
    let answer = freddy(&server, &login.refresh_token).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert!(asked.elapsed() >= delay);
}

#[tokio::test]
async fn any_fault_may_strike_after_a_while() {
    let (server, login) = rotating().await;
    let delay = Duration::from_millis(50);
    server.fault(Fault::status(StatusCode::SERVICE_UNAVAILABLE).after(delay));
    let asked = Instant::now();
    let answer = freddy(&server, &login.refresh_token).await.unwrap();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(asked.elapsed() >= delay);
}

#[tokio::test]
async fn a_mix_is_the_same_for_the_same_seed() {
    let draw = async |seed| {
        let (server, _) = rotating().await;
        let shares = [
            (0.25, Fault::status(StatusCode::SERVICE_UNAVAILABLE)),
            (0.25, Fault::status(StatusCode::BAD_GATEWAY)),
        ];
        server.faults_mixed(seed, shares);
        let mut drawn = Vec::new();
        for _ in 0..100 {
            let answer = freddy(&server, &server.log_in().refresh_token).await;
            drawn.push(answer.unwrap().status.as_u16());
        }
        drawn
    };
    let (one, same, other) = (draw(1).await, draw(1).await, draw(2).await);
    assert_eq!(one, same);
    assert_ne!(one, other);
    for (status, share) in [(200, 50), (503, 25), (502, 25)] {
        let drawn = one.iter().filter(|&&drawn| drawn == status).count();
        assert!(drawn.abs_diff(share) < 25, "{status}: {drawn}");
    }
}

#[tokio::test]
async fn held_calls_arrive_and_wait() {
    let server = Arc::new(AuthServer::start().await.unwrap());
    let login = server.log_in();
    let hold = server.hold();
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let (server, login) = (server.clone(), login.clone());
            tokio::spawn(async move { freddy(&server, &login.refresh_token).await.unwrap() })
        })
        .collect();
    server.calls_reached(3).await;
    assert_eq!(server.counts().refreshes, 0);

    hold.let_through(1);
    server.reached(|counts| counts.refreshes == 1).await;
    // A fault set now strikes a call that has arrived long since.
    server.fault(Fault::status(StatusCode::BAD_GATEWAY));
    hold.release();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap().status.as_u16());
    }
    answers.sort_unstable();
    assert_eq!(answers, [200, 200, 502]);
}
