//! Which origins the tokens of an identity reach.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use tower::Layer;
use tower_refresh::{Error, ErrorKind, RefreshLayer, Session, Tokens, testing::GatedEndpoint};

use crate::{
    injection::{opted_out, signed_by_the_caller},
    origins::origins,
    support::{Api, World, error_of, expired, live, send},
};

/// A session whose tokens are for one tenant's host.
fn tenant(tokens: Tokens, origin: &str) -> World {
    let endpoint = GatedEndpoint::new();
    let builder = Session::builder(endpoint.clone()).initial_tokens(tokens);
    World::of(endpoint, builder.origins(origins([origin])).build())
}

fn to(uri: &str) -> Request<Full<Bytes>> {
    Request::get(uri).body(Full::default()).unwrap()
}

/// Asserts that nothing was sent, and that the error names both hosts.
fn assert_wrong(outcome: Result<StatusCode, tower_refresh::BoxError>, asked: &str, own: &str) {
    let error: Error = error_of(outcome);
    assert_eq!(error.kind(), ErrorKind::WrongOrigin);
    let text = error.to_string();
    assert!(text.contains(&format!("goes to {asked}, ")), "{text}");
    assert!(text.contains(&format!("tokens are for {own}: ")), "{text}");
    assert!(text.contains("SessionBuilder::origins"), "{text}");
    assert!(!error.is_transient(), "another try would not help");
}

// S87: a token of an identity that has origins of its own reaches no other
#[tokio::test(start_paused = true)]
async fn a_token_of_one_tenant_does_not_reach_the_host_of_another() {
    let (acme, umbra) = ("https://acme.example.com", "https://umbra.example.com:8443");
    // Whether there is a token does not matter.
    for tokens in [live(), expired(), Tokens::default()] {
        let tenants = [tenant(tokens.clone(), acme), tenant(tokens, umbra)];
        // One kind of layer for both, as a shared client has it.
        let layer = |world: &World| RefreshLayer::new(world.session.clone());
        let api = Api::new();
        for (world, asked, own) in [(&tenants[0], umbra, acme), (&tenants[1], acme, umbra)] {
            let request = to(&format!("{asked}/orders?key=hunter2"));
            let outcome = send(layer(world).layer(api.clone()), request).await;
            assert!(!format!("{outcome:?}").contains("hunter2"), "{outcome:?}");
            assert_wrong(outcome, asked, own);
            assert_eq!((api.seen().len(), world.endpoint.calls()), (0, 0));
        }
    }
    let world = tenant(live(), acme);
    for own in ["https://acme.example.com/orders", "https://ACME.example.com:443/"] {
        assert_eq!(send(world.client.clone(), to(own)).await.unwrap(), StatusCode::OK);
    }
    assert_eq!(world.api.tokens(), ["seed", "seed"]);
}

// S87: a token of an identity that has origins of its own reaches no other
#[tokio::test(start_paused = true)]
async fn a_layer_that_is_bound_to_another_origin_lets_no_token_of_an_identity_out() {
    let world = tenant(live(), "https://acme.example.com");
    let layer = RefreshLayer::new(world.session.clone());
    // The second API's layer, and a request that was built for it.
    let bound = layer.clone().only_for(origins(["https://second.example.com"]));
    let outcome = send(bound.layer(world.api.clone()), to("https://second.example.com/")).await;
    assert_wrong(outcome, "https://second.example.com", "https://acme.example.com");

    // Nor does the scheme or the port pass for the host.
    let trusting = layer.allow_plaintext();
    for asked in ["http://acme.example.com", "https://acme.example.com:8443"] {
        let outcome = send(trusting.layer(world.api.clone()), to(asked)).await;
        assert_wrong(outcome, asked, "https://acme.example.com");
    }
    assert!(world.api.seen().is_empty());
}

// S87: a token of an identity that has origins of its own reaches no other
// S8: the rules are looked at in one order, and origins compare by scheme, host and port
#[tokio::test(start_paused = true)]
async fn an_identitys_origins_are_looked_at_after_the_layers_and_before_plaintext() {
    let world = tenant(live(), "https://acme.example.com");
    let layer = RefreshLayer::new(world.session.clone());
    let layer = layer.only_for(origins(["https://acme.example.com", "http://plain.test"]));
    let status = async |request| {
        let outcome = send(layer.layer(world.api.clone()), request).await;
        outcome.map_err(|error| Error::find(&*error).unwrap().kind())
    };
    let ok = Ok(StatusCode::OK);
    assert_eq!(status(opted_out(to("http://plain.test"))).await, ok);
    assert_eq!(status(signed_by_the_caller(to("http://plain.test"))).await, ok);
    // Elsewhere for the layer: it goes out unsigned, so no token could reach anything.
    assert_eq!(status(to("http://elsewhere.test")).await, ok);
    assert_eq!(world.api.tokens(), ["-", "-", "-"]);
    assert_eq!(status(to("http://plain.test")).await, Err(ErrorKind::WrongOrigin));
    assert_eq!(status(to("https://acme.example.com")).await, ok);
}

// S87: a token of an identity that has origins of its own reaches no other
#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_say_where_it_goes_goes_where_the_layer_says() {
    let world = tenant(live(), "https://acme.example.com");
    // Where plaintext is allowed, no other rule would ask.
    let layer = RefreshLayer::new(world.session.clone()).allow_plaintext();
    let error = error_of(send(layer.layer(world.api.clone()), to("/v1")).await);
    assert_eq!(error.kind(), ErrorKind::UnknownOrigin);
    assert!(error.to_string().contains("RefreshLayer::origin"), "{error}");

    let other = layer.clone().origin("https://umbra.example.com".parse().unwrap());
    let outcome = send(other.layer(world.api.clone()), to("/v1")).await;
    assert_wrong(outcome, "https://umbra.example.com", "https://acme.example.com");
    assert!(world.api.seen().is_empty());

    let own = layer.origin("https://acme.example.com".parse().unwrap());
    let status = send(own.layer(world.api.clone()), to("/v1")).await;
    assert_eq!((status.unwrap(), world.api.tokens()), (StatusCode::OK, vec!["seed".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn an_identity_without_any_origin_signs_nothing_and_one_with_two_names_both() {
    let of = |origins: &[&str]| {
        let origins: Vec<_> = origins.iter().map(|text| text.parse().unwrap()).collect();
        let builder = Session::builder(GatedEndpoint::new()).initial_tokens(live());
        World::of(GatedEndpoint::new(), builder.origins(origins).build())
    };
    let outcome = send(of(&[]).client, to("https://a.test/")).await;
    assert_wrong(outcome, "https://a.test", "no origin at all");
    let outcome = send(of(&["https://b.test", "https://c.test"]).client, to("https://a.test/"));
    assert_wrong(outcome.await, "https://a.test", "https://b.test, https://c.test");
}
