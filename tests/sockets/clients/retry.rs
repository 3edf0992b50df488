//! Errors of ours are found under the middlewares that usually stand around the layer.

use std::error;

use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use reqwest_retry::{RetryTransientMiddleware, policies::ExponentialBackoff};
use tower_refresh::{
    Error, ErrorKind, RefreshLayer, Session, Tokens, endpoint::EndpointError,
    testing::GatedEndpoint,
};

use super::support::{client, in_time, seeded};

/// A client with so many retry layers around the layer.
fn behind(retry_layers: usize, retries: u32, layer: RefreshLayer) -> ClientWithMiddleware {
    let mut builder = ClientBuilder::new(client().build().unwrap());
    for _ in 0..retry_layers {
        let policy = ExponentialBackoff::builder()
            .retry_bounds(std::time::Duration::ZERO, std::time::Duration::from_millis(1))
            .build_with_max_retries(retries);
        builder = builder.with(RetryTransientMiddleware::new_with_policy(policy));
    }
    builder.with(layer).build()
}

async fn error_of(client: ClientWithMiddleware) -> reqwest_middleware::Error {
    in_time(client.get("https://api.example.com/").send()).await.unwrap_err()
}

// S57: it works around and below other middlewares
#[tokio::test]
async fn errors_of_ours_are_found_under_reqwest_retry() {
    for (retry_layers, retries) in [(0, 0), (1, 0), (1, 2), (2, 2), (3, 1)] {
        let (endpoint, session) = seeded();
        session.log_out().await.unwrap();
        let error = error_of(behind(retry_layers, retries, RefreshLayer::new(session))).await;
        let found = Error::find(&error).map(Error::kind);
        assert_eq!(found, Some(ErrorKind::LoginRequired), "{retry_layers}: {error:?}");
        assert_eq!(endpoint.calls(), 0);

        // One that has a source of its own is not taken for that.
        let endpoint = GatedEndpoint::new();
        endpoint.answer_always(|| EndpointError::invalid_grant("the grant is over").into());
        let spent = Tokens::from_refresh_token("refresh-0").unwrap();
        let session = Session::builder(endpoint).initial_tokens(spent).build();
        let error = error_of(behind(retry_layers, retries, RefreshLayer::new(session))).await;
        let found = Error::find(&error).expect("an error of ours");
        assert!(found.is_login_required(), "{retry_layers}: {error:?}");
        assert!(error::Error::source(found).is_some(), "{found:?}");
    }
}

/// As programs have it.
#[derive(Debug)]
struct Transparent(reqwest_middleware::Error);

impl std::fmt::Display for Transparent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl error::Error for Transparent {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.source()
    }
}

// S57: it works around and below other middlewares
#[tokio::test]
async fn errors_of_ours_are_found_under_a_transparent_error_of_the_programs() {
    let (_, session) = seeded();
    session.log_out().await.unwrap();
    let error = Transparent(error_of(behind(1, 2, RefreshLayer::new(session))).await);
    assert!(Error::find(&error).is_some_and(Error::is_login_required), "{error:?}");
    assert_eq!(error.to_string(), "the request was not sent");
}

/// A middleware of the program's own, that asks a session by itself.
#[test]
fn errors_that_a_middleware_passes_on_as_they_are_are_found_as_well() {
    let error = "nowhere".parse::<tower_refresh::Origin>().unwrap_err();
    let error = reqwest_middleware::Error::middleware(error);
    assert_eq!(Error::find(&error).map(Error::kind), Some(ErrorKind::InvalidInput));
}
