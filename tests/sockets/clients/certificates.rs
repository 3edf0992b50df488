//! Token endpoints with a private root, and with clients that prove themselves by a certificate, as
//! the guide's chapter on networks has them.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rcgen::{CertificateParams, CertifiedKey, generate_simple_self_signed};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tower_refresh::endpoint::{
    EndpointError, FailureClass, OAuth2Client, OAuth2Endpoint, RefreshRequest, ReqwestTransport,
    Spent,
};

use super::support::{Server, Tls, client, in_time};

fn token(_: &Request<Bytes>) -> Response<Full<Bytes>> {
    Response::new(Full::from(r#"{"access_token":"a"}"#))
}

fn endpoint(server: &Server) -> OAuth2Endpoint {
    let url = format!("{}/token", server.url);
    OAuth2Endpoint::client_credentials(url, OAuth2Client::tls("billing")).unwrap()
}

async fn call(endpoint: OAuth2Endpoint) -> Result<String, EndpointError> {
    let answer = in_time(endpoint.request(RefreshRequest::default())).await?;
    Ok(answer.access_token().expose().to_owned())
}

/// The guide's client of hyper and rustls.
fn by_hyper(endpoint: OAuth2Endpoint, root: &str, identity: Option<&str>) -> OAuth2Endpoint {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(root.as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let tls = match identity {
        None => tls.with_no_client_auth(),
        Some(pem) => {
            let chain = CertificateDer::pem_slice_iter(pem.as_bytes());
            let chain = chain.collect::<Result<_, _>>().unwrap();
            let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
            tls.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only()
        .enable_http1()
        .wrap_connector(http);
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(https);
    endpoint.transport(client)
}

/// The guide's client of reqwest.
fn by_reqwest(endpoint: OAuth2Endpoint, root: &str, identity: Option<&str>) -> OAuth2Endpoint {
    let root = reqwest::Certificate::from_pem(root.as_bytes()).unwrap();
    let mut client = client().tls_certs_merge([root]);
    if let Some(pem) = identity {
        client = client.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap());
    }
    endpoint.transport(ReqwestTransport::new(client).unwrap())
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

type Recipe = fn(OAuth2Endpoint, &str, Option<&str>) -> OAuth2Endpoint;
const RECIPES: [Recipe; 2] = [by_hyper, by_reqwest];

// S130: a private root and a client certificate are a recipe away, and the error says where
#[tokio::test]
async fn a_private_root_is_trusted_by_either_recipe_and_by_nothing_else() {
    let tls = Tls::new();
    let server = Server::start_tls(&tls, token).await;
    for recipe in RECIPES {
        let root = pem("CERTIFICATE", &tls.certificate);
        assert_eq!(call(recipe(endpoint(&server), &root, None)).await.unwrap(), "a");
        // Another root does not do.
        let error =
            call(recipe(endpoint(&server), &pem("CERTIFICATE", &Tls::new().certificate), None))
                .await;
        let error = error.unwrap_err();
        assert_eq!((error.class(), error.spent()), (FailureClass::Transient, Spent::No));
    }
    let error = call(endpoint(&server)).await.unwrap_err();
    assert!(error.to_string().contains("is not trusted here"), "{error}");
    assert!(error.to_string().contains("`networks`"), "{error}");
}

// S130: a private root and a client certificate are a recipe away, and the error says where
#[tokio::test]
async fn a_client_proves_itself_by_its_certificate_and_sends_its_id_alone() {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["billing".to_owned()]).unwrap();
    let own = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let tls = Tls::asking(own, Some(cert.der().clone()));
    let server = Server::start_tls(&tls, token).await;
    let key = pem("PRIVATE KEY", &signing_key.serialize_der());
    let identity = [pem("CERTIFICATE", cert.der()), key].concat();
    for recipe in RECIPES {
        let root = pem("CERTIFICATE", &tls.certificate);
        assert_eq!(call(recipe(endpoint(&server), &root, Some(&identity))).await.unwrap(), "a");
        let body = server.seen().last().expect("a call").body().clone();
        assert_eq!(body, "grant_type=client_credentials&client_id=billing");

        let heard = server.seen().len();
        let _ = call(recipe(endpoint(&server), &root, None)).await.expect_err("no certificate");
        assert_eq!(server.seen().len(), heard, "no request was read");
    }
}
