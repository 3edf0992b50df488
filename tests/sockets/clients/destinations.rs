//! Which origins the tokens of an identity reach, as a middleware and as a service.

use http::header::LOCATION;
use tower_refresh::{Error, ErrorKind, RefreshLayer, Session, testing::GatedEndpoint};

use super::support::{EITHER, Server, answer, post, seeded_for};

// S87: a token of an identity that has origins of its own reaches no other
#[tokio::test]
async fn a_token_of_one_tenant_does_not_reach_the_host_of_another() {
    for through in EITHER {
        let (acme, umbra) =
            (Server::start(|_| answer(200)).await, Server::start(|_| answer(200)).await);
        let layer = |session: &Session| RefreshLayer::new(session.clone());
        let (endpoint, session) = seeded_for(&acme.url);
        let error = through.send(&layer(&session), post(&umbra.url)).await.unwrap_err();
        let error = Error::find(&*error).unwrap();
        assert_eq!(error.kind(), ErrorKind::WrongOrigin, "{through:?}");
        for host in [&acme.url, &umbra.url] {
            assert!(error.to_string().contains(host.trim_end_matches('/')), "{error}");
        }
        assert_eq!((umbra.seen().len(), endpoint.calls()), (0, 0));

        assert_eq!(through.send(&layer(&session), post(&acme.url)).await.unwrap().status, 200);
        assert_eq!(acme.values("authorization"), ["Bearer seed"]);

        // Nobody asks for a token for it either.
        let empty = Session::builder(GatedEndpoint::new());
        let empty = empty.origins([acme.url.parse().unwrap()]).build();
        let error = through.send(&layer(&empty), post(&umbra.url)).await.unwrap_err();
        assert_eq!(Error::find(&*error).unwrap().kind(), ErrorKind::WrongOrigin);
    }
}

// S87: a token of an identity that has origins of its own reaches no other
#[tokio::test]
async fn what_the_layer_leaves_alone_is_no_error_of_the_identitys() {
    for through in EITHER {
        let other = Server::start(|_| answer(200)).await;
        let (_, session) = seeded_for("https://acme.example.com");
        let bound =
            RefreshLayer::new(session).only_for(["https://acme.example.com".parse().unwrap()]);
        assert_eq!(through.send(&bound, post(&other.url)).await.unwrap().status, 200);
        assert_eq!(other.values("authorization"), [""]);
    }
}

// S87: a token of an identity that has origins of its own reaches no other
#[tokio::test]
async fn reqwest_takes_no_token_along_to_an_origin_that_is_not_its_identitys() {
    for through in EITHER {
        let other = Server::start(|_| answer(200)).await;
        let target: http::HeaderValue = other.url.parse().unwrap();
        let api = Server::start(move |_| {
            let mut response = answer(307);
            response.headers_mut().insert(LOCATION, target.clone());
            response
        })
        .await;
        let (_, session) = seeded_for(&api.url);
        let answer = through.send(&RefreshLayer::new(session), post(&api.url)).await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(api.values("authorization"), ["Bearer seed"]);
        assert_eq!(other.values("authorization"), [""]);
    }
}
