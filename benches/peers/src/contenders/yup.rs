use std::sync::LazyLock;

use http::{HeaderValue, header::AUTHORIZATION};
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use tower::{Service, ServiceExt};
use yup_oauth2::{
    DefaultHyperClientBuilder, HyperClientBuilder, ServiceAccountAuthenticator, ServiceAccountKey,
    authenticator::Authenticator,
};

use super::{
    Contender,
    api::{Api, request},
};
use crate::{BoxError, endpoint::TokenEndpoint};

/// A service account, which is what its users run on servers. The other flows either want a
/// person with a browser when the endpoint fails, or go to Google's own URL.
#[derive(Clone)]
pub(crate) struct Yup {
    authenticator: Authenticator<<DefaultHyperClientBuilder as HyperClientBuilder>::Connector>,
    api: Api,
}

const SCOPES: [&str; 1] = ["https://api.example.com/orders"];

impl Contender for Yup {
    const NAME: &'static str = "yup-oauth2";
    const ABOUT: [&'static str; 3] = [
        "`ServiceAccountAuthenticator`, signed assertion",
        "replaced first, by each caller",
        "handed through",
    ];

    async fn connect(endpoint: &TokenEndpoint) -> Result<Self, BoxError> {
        let key = ServiceAccountKey {
            key_type: Some("service_account".to_owned()),
            project_id: None,
            private_key_id: None,
            private_key: PRIVATE_KEY.clone(),
            client_email: "peers@example.com".to_owned(),
            client_id: None,
            auth_uri: None,
            token_uri: endpoint.url(),
            auth_provider_x509_cert_url: None,
            client_x509_cert_url: None,
        };
        let authenticator = ServiceAccountAuthenticator::builder(key).build().await?;
        Ok(Self { authenticator, api: Api })
    }

    async fn send(&mut self) -> Result<(), BoxError> {
        let token = self.authenticator.token(&SCOPES).await?;
        let token = token.token().ok_or("the answer holds no token")?;
        let mut request = request();
        let value = HeaderValue::try_from(format!("Bearer {token}"))?;
        request.headers_mut().insert(AUTHORIZATION, value);
        self.api.ready().await?.call(request).await?;
        Ok(())
    }
}

/// What the assertions are signed with. To make one takes longer than some experiments.
static PRIVATE_KEY: LazyLock<String> = LazyLock::new(|| {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048);
    key.expect("RSA with 2048 bits is supported").serialize_pem()
});
