//! Over TLS, with a certificate that the test has made.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::Full;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tower::{ServiceBuilder, ServiceExt};
use tower_refresh::{ErrorKind, RefreshLayer, Session, Tokens, endpoint::JsonEndpoint};

use super::support::{EITHER, Server, Tls, client, in_time, post, refuse_seed, seeded};

fn trusting(tls: &Tls) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(tls.certificate.clone()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[tokio::test]
async fn hyper_speaks_either_version_as_alpn_says() {
    let tls = Tls::new();
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let server = Server::start_tls(&tls, refuse_seed).await;
        let connector = HttpsConnectorBuilder::new().with_tls_config(trusting(&tls)).https_only();
        let connector = match version {
            Version::HTTP_2 => connector.enable_all_versions().build(),
            _ => connector.enable_http1().build(),
        };
        let (endpoint, session) = seeded();
        let client = ServiceBuilder::new()
            .layer(RefreshLayer::new(session))
            .service(Client::builder(TokioExecutor::new()).build(connector));
        let request = Request::post(&server.url).body(Full::<Bytes>::from("an order")).unwrap();
        assert_eq!(client.oneshot(request).await.unwrap().status(), 200);

        assert_eq!(server.values("authorization"), ["Bearer seed", "Bearer access-1"]);
        for request in server.seen() {
            assert_eq!((request.version(), &**request.body()), (version, &b"an order"[..]));
        }
        assert_eq!(endpoint.calls(), 1);
    }
}

#[tokio::test]
async fn reqwest_speaks_http_2_below_the_layer() {
    let tls = Tls::new();
    for through in EITHER {
        let server = Server::start_tls(&tls, refuse_seed).await;
        let (_, session) = seeded();
        let layer = RefreshLayer::new(session);
        let client = client().tls_certs_only([tls.root()]).build().unwrap();
        let answer = through.send_by(client, &layer, post(&server.url)).await.unwrap();
        assert_eq!(answer.status, 200);
        assert!(server.seen().iter().all(|request| request.version() == Version::HTTP_2));
        assert_eq!(server.values("authorization"), ["Bearer seed", "Bearer access-1"]);
    }
}

#[tokio::test]
async fn a_token_endpoint_whose_certificate_will_not_do_is_an_error_that_says_why() {
    let certificate =
        |host: &str| rcgen::CertificateParams::new([host.to_owned()]).expect("a host");
    let (mut expired, mut early) = (certificate("localhost"), certificate("localhost"));
    expired.not_after = rcgen::date_time_ymd(2001, 1, 1);
    early.not_before = rcgen::date_time_ymd(2999, 1, 1);
    early.not_after = rcgen::date_time_ymd(3000, 1, 1);
    for (certificate, says) in [
        (certificate("localhost"), "its certificate is not trusted here: install the root"),
        (expired, "is not valid at this time: is this machine's clock right?"),
        (early, "is not valid at this time: is this machine's clock right?"),
    ] {
        let server = Server::start_tls(&Tls::of(certificate), refuse_seed).await;
        let session = Session::builder(JsonEndpoint::new(server.url.clone()).unwrap())
            .initial_tokens(Tokens::from_refresh_token("hunter2").unwrap())
            .attempts(1)
            .build();
        let error = in_time(session.token()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
        assert!(text.contains(says), "{text}");
        assert!(!format!("{error:?}").contains("hunter2"));
        assert!(server.seen().is_empty());
    }
}
