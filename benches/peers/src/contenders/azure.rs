use std::sync::Arc;

use async_trait::async_trait;
use azure_core::{
    Bytes,
    cloud::{CloudConfiguration, CustomConfiguration},
    credentials::Secret,
    http::{
        AsyncRawResponse, ClientOptions, Context, HttpClient, Method, Request, StatusCode,
        Transport, Url,
        headers::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, Headers},
        new_http_client,
        policies::{Policy, PolicyResult, auth::BearerTokenAuthorizationPolicy},
    },
};
use azure_identity::{ClientSecretCredential, ClientSecretCredentialOptions};

use super::{
    Contender,
    api::{JSON, URL},
};
use crate::{BoxError, endpoint::TokenEndpoint};

/// The policy that Azure's clients have in their pipelines, over the credential that their
/// services use.
#[derive(Clone)]
pub(crate) struct Azure {
    pipeline: Pipeline,
}

impl Contender for Azure {
    const NAME: &'static str = "azure_core";
    const ABOUT: [&'static str; 3] = [
        "`BearerTokenAuthorizationPolicy`, azure_identity's `ClientSecretCredential`",
        "replaced first, once for all",
        "forgotten, and the 401 handed through",
    ];

    async fn connect(endpoint: &TokenEndpoint) -> Result<Self, BoxError> {
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host = format!("https://{}", endpoint.authority());
        let client_options = ClientOptions {
            cloud: Some(Arc::new(CloudConfiguration::from(cloud))),
            transport: Some(Transport::new(Arc::new(Plaintext(new_http_client(None))))),
            ..ClientOptions::default()
        };
        let credential = ClientSecretCredential::new(
            "tenant",
            "peers".to_owned(),
            Secret::new("secret"),
            Some(ClientSecretCredentialOptions { client_options }),
        )?;
        let scopes = ["https://api.example.com/.default"];
        Ok(Self {
            pipeline: Pipeline::new(BearerTokenAuthorizationPolicy::new(credential, scopes))?,
        })
    }

    async fn send(&mut self) -> Result<(), BoxError> {
        self.pipeline.send().await
    }
}

/// The floor of that policy: a header that never changes, on Azure's own requests.
#[derive(Clone)]
pub(crate) struct FixedAzure {
    pipeline: Pipeline,
}

impl Contender for FixedAzure {
    const NAME: &'static str = "azure_core, fixed header";
    const ABOUT: [&'static str; 3] = ["a `Policy` of our own", "sent", "handed through"];

    async fn connect(_: &TokenEndpoint) -> Result<Self, BoxError> {
        let header = format!("Bearer {}", "t".repeat(300));
        Ok(Self { pipeline: Pipeline::new(FixedHeader(header))? })
    }

    async fn send(&mut self) -> Result<(), BoxError> {
        self.pipeline.send().await
    }
}

/// A policy and what it hands on to. Azure's own pipeline has retries, logs and request ids too,
/// which would be measured with it.
#[derive(Clone)]
struct Pipeline {
    policy: Arc<dyn Policy>,
    next: [Arc<dyn Policy>; 1],
    url: Url,
}

impl Pipeline {
    fn new(policy: impl Policy + 'static) -> Result<Self, BoxError> {
        Ok(Self { policy: Arc::new(policy), next: [Arc::new(NoTransport)], url: URL.parse()? })
    }

    async fn send(&self) -> Result<(), BoxError> {
        let mut request = Request::new(self.url.clone(), Method::Get);
        request.insert_header(ACCEPT, JSON);
        request.insert_header(CONTENT_TYPE, JSON);
        self.policy.send(&Context::new(), &mut request, &self.next).await?;
        Ok(())
    }
}

#[derive(Debug)]
struct FixedHeader(String);

#[async_trait]
impl Policy for FixedHeader {
    async fn send(
        &self,
        context: &Context,
        request: &mut Request,
        next: &[Arc<dyn Policy>],
    ) -> PolicyResult {
        request.insert_header(AUTHORIZATION, self.0.clone());
        next[0].send(context, request, &next[1..]).await
    }
}

/// Answers at once.
#[derive(Debug)]
struct NoTransport;

#[async_trait]
impl Policy for NoTransport {
    async fn send(
        &self,
        _: &Context,
        request: &mut Request,
        _: &[Arc<dyn Policy>],
    ) -> PolicyResult {
        debug_assert!(request.headers().get_optional_str(&AUTHORIZATION).is_some());
        Ok(AsyncRawResponse::from_bytes(StatusCode::Ok, Headers::new(), Bytes::new()))
    }
}

/// Azure's default HTTP client, but without TLS: the credential takes https URLs alone, and the
/// endpoint of this benchmark has no certificate.
#[derive(Debug)]
struct Plaintext(Arc<dyn HttpClient>);

#[async_trait]
impl HttpClient for Plaintext {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let mut request = request.clone();
        request.url_mut().set_scheme("http").expect("https is as special a scheme as http");
        self.0.execute_request(&request).await
    }
}
