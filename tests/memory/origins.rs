//! Where a token may travel.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use tower::Layer;
use tower_refresh::{BoxError, Error, ErrorKind, Origin, RefreshLayer};

use crate::{
    injection::{opted_out, signed_by_the_caller},
    support::{World, live, send},
};

/// A request to this URI.
fn to(uri: &str) -> Request<Full<Bytes>> {
    Request::get(uri).body(Full::default()).unwrap()
}

impl World {
    /// Sends one request through this layer, and returns what was in its `Authorization` header.
    async fn header_of(
        &self,
        layer: &RefreshLayer,
        request: Request<Full<Bytes>>,
    ) -> Result<Option<String>, BoxError> {
        let before = self.api.seen().len();
        let result = send(layer.layer(self.api.clone()), request).await;
        let seen = self.api.seen().split_off(before);
        assert_eq!(seen.len(), usize::from(result.is_ok()), "sent once, or nothing and an error");
        result?;
        assert!(seen[0].authorization.len() <= 1);
        let header = seen[0].authorization.first();
        Ok(header.map(|value| value.to_str().unwrap().to_owned()))
    }

    fn layer(&self) -> RefreshLayer {
        RefreshLayer::new(self.session.clone())
    }
}

pub(crate) fn origins<const N: usize>(texts: [&str; N]) -> [Origin; N] {
    texts.map(|text| text.parse().unwrap())
}

fn kind(error: &BoxError) -> ErrorKind {
    Error::find(error.as_ref()).unwrap().kind()
}

const SIGNED: Option<&str> = Some("Bearer seed");

// S7: a token travels over https or to this machine only, unless plaintext is allowed
#[tokio::test(start_paused = true)]
async fn a_token_travels_unencrypted_to_this_machine_alone_unless_allowed() {
    let world = World::new(live());
    let careful = world.layer();
    let error = world.header_of(&careful, to("http://api.example.com/")).await.unwrap_err();
    assert_eq!(kind(&error), ErrorKind::Plaintext);
    assert!(error.to_string().contains("allow_plaintext"), "{error}");

    for local in ["http://localhost:8080/", "http://127.0.0.1/", "http://[::1]/"] {
        let header = world.header_of(&careful, to(local)).await.unwrap();
        assert_eq!(header.as_deref(), SIGNED, "{local}");
    }
    let trusting = world.layer().allow_plaintext();
    let header = world.header_of(&trusting, to("http://api.example.com/")).await.unwrap();
    assert_eq!(header.as_deref(), SIGNED);
    assert_eq!(world.endpoint.calls(), 0);
}

// S8: the rules are looked at in one order, and origins compare by scheme, host and port
#[tokio::test(start_paused = true)]
async fn a_bound_layer_signs_requests_to_its_origins_only() {
    let world = World::new(live());
    let bound = world.layer().only_for(origins(["https://api.example.com", "https://b.test:8443"]));
    for ours in [
        "https://api.example.com/v1?x=y",
        "https://api.example.com:443/",
        "https://API.Example.COM/",
        "https://b.test:8443/",
    ] {
        let header = world.header_of(&bound, to(ours)).await.unwrap();
        assert_eq!(header.as_deref(), SIGNED, "{ours}");
    }
    for foreign in [
        "http://api.example.com/",
        "http://api.example.com:443/",
        "https://api.example.com:8443/",
        "https://example.com/",
        "https://api.example.com.evil.test/",
        "https://api.example.com@evil.test/",
        "https://b.test/",
        // Not ours, so it does not matter that it is unencrypted.
        "http://evil.test/",
    ] {
        assert_eq!(world.header_of(&bound, to(foreign)).await.unwrap(), None, "{foreign}");
    }

    // The refusal of a stranger says nothing about the token.
    world.api.refuse_all();
    let client = bound.layer(world.api.clone());
    let status = send(client, to("https://evil.test/")).await.unwrap();
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.endpoint.calls(), 0);
}

// S8: the rules are looked at in one order, and origins compare by scheme, host and port
#[tokio::test(start_paused = true)]
async fn a_uri_without_authority_goes_where_the_layer_says() {
    let world = World::new(live());
    let at = |origin: &str| world.layer().origin(origin.parse().unwrap());

    let error = world.header_of(&world.layer(), to("/v1")).await.unwrap_err();
    assert_eq!(kind(&error), ErrorKind::UnknownOrigin);
    assert!(error.to_string().contains("RefreshLayer::origin"), "{error}");
    // No rule is left that needs to know.
    let header = world.header_of(&world.layer().allow_plaintext(), to("/v1")).await.unwrap();
    assert_eq!(header.as_deref(), SIGNED);

    let header = world.header_of(&at("https://api.example.com"), to("/v1")).await.unwrap();
    assert_eq!(header.as_deref(), SIGNED);
    let error = world.header_of(&at("http://api.example.com"), to("/v1")).await.unwrap_err();
    assert_eq!(kind(&error), ErrorKind::Plaintext);

    let bound = |origin: &str| at(origin).only_for(origins(["https://api.example.com"]));
    let header = world.header_of(&bound("https://api.example.com"), to("/v1")).await.unwrap();
    assert_eq!(header.as_deref(), SIGNED);
    assert_eq!(world.header_of(&bound("https://b.test"), to("/v1")).await.unwrap(), None);
    // The host that a header names is not believed.
    let mut lured = to("/v1");
    lured.headers_mut().insert("host", "api.example.com".parse().unwrap());
    assert_eq!(world.header_of(&bound("https://b.test"), lured).await.unwrap(), None);
}

// S8: the rules are looked at in one order, and origins compare by scheme, host and port
#[tokio::test(start_paused = true)]
async fn each_check_comes_before_the_next() {
    let world = World::new(live());
    world.session.log_out().await.unwrap();
    let layer = world.layer().only_for(origins(["https://api.example.com", "http://plain.test"]));
    let result = async |request| {
        let header = world.header_of(&layer, request).await;
        header.map_err(|error| kind(&error))
    };
    // This request fails each check; take one away at a time.
    assert_eq!(result(opted_out(to("/v1"))).await, Ok(None));
    let own = Ok(Some("Basic bWU6bWluZQ==".to_owned()));
    assert_eq!(result(opted_out(signed_by_the_caller(to("/v1")))).await, own);
    assert_eq!(result(signed_by_the_caller(to("/v1"))).await, own);
    assert_eq!(result(to("/v1")).await, Err(ErrorKind::UnknownOrigin));
    assert_eq!(result(to("http://evil.test")).await, Ok(None));
    assert_eq!(result(to("http://plain.test")).await, Err(ErrorKind::Plaintext));
    assert_eq!(result(to("https://api.example.com")).await, Err(ErrorKind::LoginRequired));
}

// S8: the rules are looked at in one order, and origins compare by scheme, host and port
#[tokio::test]
async fn a_tunnel_gets_no_token() {
    let world = World::new(live());
    let layer = world.layer().origin("https://api.example.com".parse().unwrap());
    let request = Request::connect("other.example.com:443").body(Full::default()).unwrap();
    assert_eq!(world.header_of(&layer, request).await.unwrap(), None);
}
