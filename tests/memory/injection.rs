//! What goes into a request, and which requests are left alone.

use bytes::Bytes;
use http::{Request, StatusCode, header::AUTHORIZATION};
use http_body_util::Full;
use tower_refresh::{
    AuthScheme, Error, ErrorKind, NoToken, Session, Tokens,
    endpoint::{EndpointError, TokenResponse},
    testing::GatedEndpoint,
};

use crate::support::{World, expired, live, request, send};

pub(crate) fn signed_by_the_caller(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    let header = "Basic bWU6bWluZQ==".parse().unwrap();
    request.headers_mut().insert(AUTHORIZATION, header);
    request
}

pub(crate) fn opted_out(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    request.extensions_mut().insert(NoToken);
    request
}

// S1: a live token goes out as the one `Authorization` header, and costs no call
#[tokio::test(start_paused = true)]
async fn a_live_token_is_the_one_authorization_header_and_sensitive() {
    let world = World::new(live());
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    let seen = world.api.seen();
    assert_eq!(seen[0].authorization, ["Bearer seed"]);
    assert!(seen[0].authorization[0].is_sensitive());
    assert_eq!(world.endpoint.calls(), 0);

    // The second sending carries one as well, and not the first beside it.
    world.api.refuse("seed");
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    let retried = world.api.seen().pop().unwrap();
    assert_eq!(retried.authorization, ["Bearer access-1"]);
    assert!(retried.authorization[0].is_sensitive());
}

// S2: a request with its own `Authorization` keeps it, and its 401 is its own
#[tokio::test(start_paused = true)]
async fn the_callers_own_header_stays_and_a_refusal_of_it_is_the_callers() {
    for tokens in [live(), expired()] {
        let world = World::new(tokens);
        world.api.refuse_all();
        let request = signed_by_the_caller(request(""));
        let status = send(world.client.clone(), request).await.unwrap();
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(world.api.seen().len(), 1);
        assert_eq!(world.api.seen()[0].authorization, ["Basic bWU6bWluZQ=="]);
        assert_eq!(world.endpoint.calls(), 0);
    }
}

// S3: a request that opted out gets no token and causes no refresh
#[tokio::test(start_paused = true)]
async fn a_request_that_opted_out_gets_no_token_and_causes_no_refresh() {
    for tokens in [live(), expired()] {
        let world = World::new(tokens);
        world.api.refuse_all();
        let status = send(world.client.clone(), opted_out(request(""))).await.unwrap();
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(world.api.seen().len(), 1);
        assert!(world.api.seen()[0].authorization.is_empty());
        assert_eq!(world.endpoint.calls(), 0);
    }
}

const UNFIT: [&str; 7] =
    ["", "hush\n", "hush\r\nx-evil: 1", "hush hush", "h\u{fc}sh", "hush\0", "\t"];

// S9: a token that cannot be a header is an error, and a long one is sent whole
#[test]
fn a_token_that_cannot_be_a_header_is_an_error_that_does_not_tell_it() {
    for unfit in UNFIT {
        let errors = [Tokens::new(unfit).unwrap_err(), TokenResponse::new(unfit).unwrap_err()];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{unfit:?}");
            assert!(!format!("{error} {error:?}").contains("sh"), "{error}");
        }
    }
    let error = Tokens::from_refresh_token("hush\n").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

// S9: a token that cannot be a header is an error, and a long one is sent whole
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_sends_an_unfit_token_fails_the_refresh_and_nothing_else() {
    for unfit in UNFIT {
        let world = World::new(expired());
        world.endpoint.answer_always(move || {
            let unfit = TokenResponse::new(unfit).unwrap_err();
            EndpointError::transient("what it sent is no token").with_source(unfit).into()
        });
        let error = world.get().await.unwrap_err();
        let error = Error::find(error.as_ref()).unwrap();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{unfit:?}");
        assert!(world.api.seen().is_empty());
    }
}

// S9: a token that cannot be a header is an error, and a long one is sent whole
#[tokio::test(start_paused = true)]
async fn a_token_of_64_kib_is_sent_whole() {
    let long = "x".repeat(64 * 1024);
    let world = World::new(Tokens::new(long.as_str()).unwrap());
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens(), [long]);
}

#[tokio::test]
async fn a_token_can_be_had_without_its_scheme() {
    for (scheme, header) in [
        (AuthScheme::default(), "Bearer seed"),
        ("DPoP".parse().unwrap(), "DPoP seed"),
        (AuthScheme::NONE, "seed"),
    ] {
        let builder = Session::builder(GatedEndpoint::new()).initial_tokens(live());
        let token = builder.scheme(scheme).build().token().await.unwrap();
        assert_eq!((token.header_value().to_str().unwrap(), token.expose()), (header, "seed"));
        assert!(!format!("{token:?}").contains("seed"));
    }
}
