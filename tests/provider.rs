//! Whose cryptography the default transport uses. These tests have a process of their own, because
//! a program installs a provider for good.
#![cfg(feature = "transport")]

use std::{
    process::Command,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use rustls::crypto::{CryptoProvider, GetRandomFailed, SecureRandom, ring};
use tokio::{io::AsyncReadExt, net::TcpListener, time::timeout};
use tower_refresh::{
    RefreshToken,
    endpoint::{FailureClass, JsonEndpoint, RefreshRequest},
};

/// ring's, and it counts how often it is asked.
#[derive(Debug)]
struct Counted;

static ASKED: AtomicUsize = AtomicUsize::new(0);

impl SecureRandom for Counted {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), GetRandomFailed> {
        ASKED.fetch_add(1, Relaxed);
        ring::default_provider().secure_random.fill(buffer)
    }
}

/// Begins a handshake with a server that hears it and hangs up.
async fn greet() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/token", listener.local_addr().unwrap());
    let endpoint = JsonEndpoint::new(url).unwrap();
    let token = RefreshToken::new("r3fresh").unwrap();
    let call = endpoint.request(RefreshRequest::new(Some(token)));
    let server = async { listener.accept().await.unwrap().0.read(&mut [0; 64]).await.unwrap() };
    let server = timeout(Duration::from_secs(20), server);
    let (answer, heard) = tokio::join!(call, server);
    let error = answer.unwrap_err();
    assert!(heard.is_ok_and(|heard| heard > 0), "no handshake was begun: {error:?}");
    assert_eq!(error.class(), FailureClass::Transient, "{error:?}");
}

#[tokio::test]
async fn the_provider_that_a_program_has_installed_is_used() {
    let theirs = CryptoProvider { secure_random: &Counted, ..ring::default_provider() };
    theirs.install_default().unwrap();
    greet().await;
    assert!(ASKED.load(Relaxed) > 0);
}

/// rustls refuses to choose once two crates of a program have turned on a provider each, and then
/// code that leaves the choice to it panics.
#[test]
fn each_feature_turns_on_its_own_provider_and_the_transport_none() {
    for (features, ring, aws_lc_rs) in [
        ("transport", false, false),
        ("transport,ring", true, false),
        ("transport,aws-lc-rs", false, true),
        ("default", true, false),
    ] {
        let tree = Command::new(env!("CARGO"))
            .args(["tree", "--locked", "--edges", "normal", "--prefix", "none"])
            .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
            .args(["--no-default-features", "--features", features])
            .output()
            .unwrap();
        let crates = String::from_utf8(tree.stdout).unwrap();
        let has = |name: &str| crates.lines().any(|line| line.split(' ').next() == Some(name));
        assert!(has("rustls"), "{}", String::from_utf8_lossy(&tree.stderr));
        assert_eq!((has("ring"), has("aws-lc-rs")), (ring, aws_lc_rs), "{features}: {crates}");
    }
}
