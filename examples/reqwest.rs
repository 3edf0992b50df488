//! reqwest under Tower, by `tower-reqwest`; and as the HTTP client of the token endpoint.
//!
//!     cargo run --example reqwest --features reqwest

use http::Request;
use http_body_util::BodyExt;
use reqwest::Body;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_refresh::{
    BoxError, RefreshLayer, Session,
    endpoint::{JsonEndpoint, ReqwestTransport},
    testing::AuthServer,
};
use tower_reqwest::HttpClientLayer;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // Needed here only because this crate's own build leaves out reqwest's provider.
    let _ = rustls::crypto::ring::default_provider().install_default();

    let server = AuthServer::builder().rotate(true).start().await?;
    // A builder, not a client: the transport sees to it that no redirect is followed.
    let transport = ReqwestTransport::new(reqwest::Client::builder())?;
    let session = Session::builder(JsonEndpoint::new(server.refresh_url())?.transport(transport))
        .initial_tokens(server.log_in().tokens()?)
        .build();
    let mut client = ServiceBuilder::new()
        .layer(RefreshLayer::new(session.clone()))
        .layer(HttpClientLayer)
        .service(reqwest::Client::new());

    // Its 401 costs a refresh and a retry, and the caller sees neither.
    server.revoke_access_tokens();
    let request = Request::post(format!("{}/orders", server.api_url()));
    let request = request.body(Body::from("{\"item\":1}"))?;
    let response = client.ready().await?.call(request).await?;
    println!("order placed: {}, refreshes: {}", response.status(), server.counts().refreshes);
    let body = response.into_body().collect().await?.to_bytes();
    println!("{}", String::from_utf8_lossy(&body));

    session.close().await?;
    Ok(())
}
