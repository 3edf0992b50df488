//! What the default transport leaves alone: the crypto provider of the program. No test of this
//! program installs one.

use std::time::Duration;

use rustls::crypto::CryptoProvider;
use tokio::{io::AsyncReadExt, net::TcpListener, time::timeout};
use tower_refresh::{
    RefreshToken,
    endpoint::{JsonEndpoint, RefreshRequest},
};

#[tokio::test]
async fn a_handshake_needs_no_installed_provider_and_installs_none() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/token", listener.local_addr().unwrap());
    let endpoint = JsonEndpoint::new(url).unwrap();
    let call = endpoint.request(RefreshRequest::new(Some(RefreshToken::new("r3fresh").unwrap())));
    let server = async { listener.accept().await.unwrap().0.read(&mut [0; 64]).await.unwrap() };
    assert!(CryptoProvider::get_default().is_none());
    let (_, heard) = tokio::join!(call, timeout(Duration::from_secs(20), server));
    assert!(heard.is_ok_and(|heard| heard > 0), "no handshake was begun");
    assert!(CryptoProvider::get_default().is_none());
}
