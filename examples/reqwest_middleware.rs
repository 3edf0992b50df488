//! The layer as a middleware of reqwest-middleware.
//!
//!     cargo run --example reqwest_middleware --features reqwest-middleware

use reqwest_middleware::ClientBuilder;
use tower_refresh::{
    BoxError, Error, NoToken, RefreshLayer, Session, endpoint::JsonEndpoint, testing::AuthServer,
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // Needed here only because this crate's own build leaves out reqwest's provider.
    let _ = rustls::crypto::ring::default_provider().install_default();

    let server = AuthServer::builder().rotate(true).start().await?;
    let session = Session::builder(JsonEndpoint::new(server.refresh_url())?)
        .initial_tokens(server.log_in().tokens()?)
        .build();
    let client =
        ClientBuilder::new(reqwest::Client::new()).with(RefreshLayer::new(session.clone())).build();

    let orders = format!("{}/orders", server.api_url());
    let placed = client.post(&orders).body("{\"item\":1}").send().await?;
    println!("order placed: {}", placed.status());

    // Its 401 costs a refresh and a retry, and the caller sees neither.
    server.revoke_access_tokens();
    let placed = client.post(&orders).body("{\"item\":2}").send().await?;
    println!("order placed: {}, refreshes: {}", placed.status(), server.counts().refreshes);

    let unsigned = client.get(&orders).with_extension(NoToken).send().await?;
    println!("without a token: {}", unsigned.status());

    session.log_out().await?;
    let error = client.get(&orders).send().await.expect_err("nobody is logged in");
    let ours = Error::find(&error).expect("it is the session's");
    println!("logged out: {ours} (log in again: {})", ours.is_login_required());

    session.close().await?;
    Ok(())
}
