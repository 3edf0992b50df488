use tower::{Layer, Service, ServiceExt};
use tower_http::auth::{AddAuthorization, AddAuthorizationLayer};

use super::{
    Contender,
    api::{Api, request},
};
use crate::{BoxError, endpoint::TokenEndpoint};

/// The floor: a header that never changes.
#[derive(Clone)]
pub(crate) struct Fixed {
    client: AddAuthorization<Api>,
}

impl Contender for Fixed {
    const NAME: &'static str = "tower-http, fixed header";
    const ABOUT: [&'static str; 3] = ["`AddAuthorizationLayer::bearer`", "sent", "handed through"];

    async fn connect(_: &TokenEndpoint) -> Result<Self, BoxError> {
        Ok(Self { client: AddAuthorizationLayer::bearer(&"t".repeat(300)).layer(Api) })
    }

    async fn send(&mut self) -> Result<(), BoxError> {
        self.client.ready().await?.call(request()).await?;
        Ok(())
    }
}
