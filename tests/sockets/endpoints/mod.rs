//! The ready-made token endpoints, as a session calls them.

mod any_answer;
mod by_hand;
mod canned;
mod credentials;
mod dead_peer;
mod default_transport;
mod discovery;
mod grants;
mod heads;
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

/// A reqwest client for plain http.
#[cfg(feature = "reqwest")]
fn through_reqwest() -> tower_refresh::endpoint::ReqwestTransport {
    use rustls::{ClientConfig, RootCertStore, crypto::ring};

    // reqwest's own provider is not compiled in.
    let tls = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let client = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(tls);
    tower_refresh::endpoint::ReqwestTransport::new(client).expect("a client")
}
