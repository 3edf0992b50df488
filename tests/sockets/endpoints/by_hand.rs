//! Calls that a program makes by hand, and the readiness of each clone.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use futures::poll;
use http::{Request, Response};
use http_body_util::Full;
use tokio::sync::Semaphore;
use tower::{Layer, Service, ServiceExt, limit::GlobalConcurrencyLimitLayer, service_fn};
use tower_refresh::{
    RefreshToken, Tokens,
    endpoint::{
        EndpointError, FailureClass, JsonEndpoint, OAuth2Client, OAuth2Endpoint, OAuth2Revocation,
        RefreshRequest, TokenResponse,
    },
};
use tower_test::mock;

use super::SPENT;

const URL: &str = "https://auth.example.com/token";

fn request() -> RefreshRequest {
    RefreshRequest::new(Some(RefreshToken::new(SPENT).unwrap()))
}

fn public() -> OAuth2Client {
    OAuth2Client::public("app")
}

#[tokio::test]
async fn a_call_by_hand_is_made_on_a_ready_clone_and_any_number_at_once() {
    // The mock panics if it is called before it is ready.
    let (transport, mut server) = mock::pair::<Request<Full<Bytes>>, Response<Full<Bytes>>>();
    let json = JsonEndpoint::freddy().transport(transport.clone());
    let oauth2 = OAuth2Endpoint::refresh_token(URL, public()).unwrap().transport(transport);
    let serve = async {
        let mut waiting = Vec::new();
        for _ in 0..4 {
            waiting.push(server.next_request().await.unwrap().1);
        }
        for answer in waiting {
            answer.send_response(Response::new(r#"{"token":"a","access_token":"b"}"#.into()));
        }
    };
    let calls = async {
        tokio::join!(
            json.request(request()),
            json.request(request()),
            oauth2.request(request()),
            oauth2.request(request()),
        )
    };
    let ((a, b, c, d), ()) = tokio::join!(calls, serve);
    let token = |answer: Result<TokenResponse, EndpointError>| {
        answer.unwrap().access_token().expose().to_owned()
    };
    assert_eq!([a, b, c, d].map(token), ["a", "a", "b", "b"]);
}

#[tokio::test]
async fn what_a_server_says_meanwhile_of_a_log_in_can_be_read() {
    for (said, class) in [
        ("authorization_pending", FailureClass::Misconfigured),
        ("slow_down", FailureClass::Transient),
    ] {
        let transport = service_fn(move |_: Request<Full<Bytes>>| async move {
            let body = format!(r#"{{"error":"{said}","error_description":"not yet"}}"#);
            let answer = Response::builder().status(400).body(body);
            Ok::<_, Infallible>(answer.unwrap())
        });
        let endpoint = OAuth2Endpoint::client_credentials(URL, public())
            .unwrap()
            .param("device_code", "GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS")
            .transport(transport);
        let error = endpoint.request(RefreshRequest::default()).await.unwrap_err();
        assert_eq!((error.code(), error.said()), (Some(said), Some("not yet")));
        assert_eq!(error.status().unwrap(), 400);
        assert_eq!(error.class(), class);
    }
}

#[tokio::test]
async fn an_answer_is_what_a_session_can_be_given() {
    let transport = service_fn(async |_: Request<Full<Bytes>>| {
        let body = r#"{"token":"a","refresh_token":"r","expires_in":60,"device_id":"d"}"#;
        Ok::<_, Infallible>(Response::new(body.to_owned()))
    });
    let answer = JsonEndpoint::freddy().transport(transport).request(request()).await.unwrap();
    let tokens = Tokens::from(answer);
    assert_eq!(tokens.access_token().unwrap().expose(), "a");
    assert_eq!(tokens.refresh_token().unwrap().expose(), "r");
    assert_eq!(tokens.extra()["device_id"], "d");
    let left = tokens.expires_at().unwrap().duration_since(std::time::SystemTime::now()).unwrap();
    assert!((50..=60).contains(&left.as_secs()), "{left:?}");
}

// S56: Tower's contract is kept: never called unready, nothing held while a refresh is awaited
#[tokio::test]
async fn a_limit_in_the_transport_is_waited_for_in_the_readiness_of_each_clone() {
    let permits = Arc::new(Semaphore::new(1));
    let transport = GlobalConcurrencyLimitLayer::with_semaphore(permits.clone()).layer(service_fn(
        async |_: Request<Full<Bytes>>| Ok::<_, Infallible>(Response::new(String::new())),
    ));
    let json = JsonEndpoint::freddy().transport(transport.clone());
    let oauth2 = OAuth2Endpoint::refresh_token(URL, public()).unwrap();
    let revocation = OAuth2Revocation::new(URL, public()).unwrap();
    waits(json, &permits).await;
    waits(oauth2.transport(transport.clone()), &permits).await;
    waits(revocation.transport(transport), &permits).await;
}

async fn waits<E, R>(endpoint: E, permits: &Semaphore)
where
    E: Service<R, Error = EndpointError> + Clone,
{
    let (mut first, mut second) = (endpoint.clone(), endpoint);
    first.ready().await.unwrap();
    assert_eq!(permits.available_permits(), 0, "readiness is the transport's");
    let mut ready = Box::pin(second.ready());
    assert!(poll!(ready.as_mut()).is_pending());
    // Nothing was sent, and it is given back.
    drop(first);
    ready.await.unwrap();
    drop(second);
    assert_eq!(permits.available_permits(), 1);
}
