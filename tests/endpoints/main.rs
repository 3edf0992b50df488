//! The ready-made token endpoints, as a session calls them.

mod any_answer;
mod by_hand;
mod credentials;
mod dead_peer;
mod default_transport;
mod discovery;
mod grants;
mod lives;
mod own_transport;
mod proxy;
mod requests;
mod shapes;

use tower::{Service, ServiceExt};
use tower_refresh::{
    RefreshToken,
    endpoint::{EndpointError, RefreshRequest, TokenResponse},
};

/// The token that every test spends.
const SPENT: &str = "r3fresh/1+2";

/// Calls `endpoint` once, as a session does.
async fn refresh<E>(endpoint: &mut E) -> Result<TokenResponse, EndpointError>
where
    E: Service<RefreshRequest, Response = TokenResponse, Error = EndpointError>,
{
    let token = RefreshToken::new(SPENT).expect("a token");
    let request = RefreshRequest::new(Some(token));
    endpoint.ready().await?.call(request).await
}
