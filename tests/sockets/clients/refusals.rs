//! What the middleware and the service make of refusals alike.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tower::{ServiceBuilder, ServiceExt};
use tower_refresh::{RefreshLayer, TokenId};
use tower_reqwest::HttpClientLayer;

use super::support::{
    EITHER, Server, Through, answer, client, post, refuse_seed, seeded, value, with,
};

// S80: the response names the token of its request, for those who opt in
#[tokio::test]
async fn a_response_reports_the_token_of_its_request() {
    let server = Server::start(refuse_seed).await;
    for through in EITHER {
        let (_endpoint, session) = seeded();
        let layer = RefreshLayer::new(session.clone()).report_token();
        let (request, client) = (post(&server.url), client().build().unwrap());
        let reported: Option<TokenId> = match through {
            Through::Middleware => {
                let request = reqwest::Request::try_from(request).unwrap();
                let response = with(client, &layer).execute(request).await.unwrap();
                response.extensions().get().copied()
            }
            Through::Tower => {
                let service =
                    ServiceBuilder::new().layer(layer).layer(HttpClientLayer).service(client);
                service.oneshot(request).await.unwrap().extensions().get().copied()
            }
        };
        assert_eq!(reported, Some(session.token().await.unwrap().id()), "{through:?}");
    }
}

// S71: a route that refuses whatever token it is shown costs at most the budget, and the others
// never fail for it, as long as there are at most eight such routes
#[tokio::test]
async fn a_route_that_refuses_whatever_token_it_is_shown_costs_one_refresh() {
    let server = Server::start(|_| answer(401)).await;
    for through in EITHER {
        let (endpoint, session) = seeded();
        let layer = RefreshLayer::new(session);
        for _ in 0..5 {
            let answer = through.send(&layer, post(&server.url)).await.unwrap();
            assert_eq!(answer.status, 401);
        }
        assert_eq!(endpoint.calls(), 1, "{through:?}");
    }
}

// S70: a refusal that its refresh cured is not counted
#[tokio::test]
async fn a_token_that_is_not_accepted_yet_is_sent_once_more_as_it_is() {
    for through in EITHER {
        let requests = Arc::new(AtomicUsize::new(0));
        let seen = requests.clone();
        let server = Server::start(move |request| {
            assert_eq!(value(request, "authorization"), "Bearer seed");
            answer(if seen.fetch_add(1, SeqCst) == 0 { 401 } else { 200 })
        })
        .await;
        let (endpoint, session) = seeded();
        let layer = RefreshLayer::new(session).acceptance_delay(Duration::from_secs(2));
        let answer = through.send(&layer, post(&server.url)).await.unwrap();
        assert_eq!((answer.status.as_u16(), endpoint.calls()), (200, 0), "{through:?}");
        assert_eq!(requests.load(SeqCst), 2);
    }
}
