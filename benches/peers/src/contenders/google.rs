use google_cloud_auth::credentials::{CacheableResource, Credentials, user_account};
use http::Extensions;
use serde_json::json;
use tower::{Service, ServiceExt};

use super::{
    Contender,
    api::{Api, request},
};
use crate::{BoxError, endpoint::TokenEndpoint};

#[derive(Clone)]
pub(crate) struct Google {
    credentials: Credentials,
    api: Api,
}

impl Contender for Google {
    const NAME: &'static str = "google-cloud-auth";
    const ABOUT: [&'static str; 3] = [
        "`user_account::Builder`, refresh_token grant",
        "sent, and replaced meanwhile",
        "handed through",
    ];

    async fn connect(endpoint: &TokenEndpoint) -> Result<Self, BoxError> {
        let user = json!({
            "type": "authorized_user",
            "client_id": "peers",
            "client_secret": "secret",
            "refresh_token": "refresh",
        });
        let credentials =
            user_account::Builder::new(user).with_token_uri(endpoint.url()).build()?;
        Ok(Self { credentials, api: Api })
    }

    /// As Google's own clients do it: without an entity tag, so that all headers come each time.
    async fn send(&mut self) -> Result<(), BoxError> {
        let headers = self.credentials.headers(Extensions::new()).await?;
        let CacheableResource::New { data: headers, .. } = headers else {
            return Err("there is nothing that could be unmodified".into());
        };
        let mut request = request();
        request.headers_mut().extend(headers);
        self.api.ready().await?.call(request).await?;
        Ok(())
    }
}
