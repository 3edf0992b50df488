use tower::{Layer, Service, ServiceExt};
use tower_refresh::{
    Refresh, RefreshLayer, Session, Tokens,
    endpoint::{OAuth2Client, OAuth2Endpoint},
};

use super::{
    Contender,
    api::{Api, request},
};
use crate::{BoxError, endpoint::TokenEndpoint};

#[derive(Clone)]
pub(crate) struct TowerRefresh {
    client: Refresh<Api>,
}

impl Contender for TowerRefresh {
    const NAME: &'static str = "tower-refresh";
    const ABOUT: [&'static str; 3] = [
        "`RefreshLayer`, refresh_token grant",
        "sent, and replaced meanwhile",
        "replaced, and the request sent again",
    ];

    async fn connect(endpoint: &TokenEndpoint) -> Result<Self, BoxError> {
        let endpoint =
            OAuth2Endpoint::refresh_token(endpoint.url(), OAuth2Client::public("peers"))?;
        let session = Session::builder(endpoint)
            .initial_tokens(Tokens::from_refresh_token("refresh")?)
            .build();
        Ok(Self { client: RefreshLayer::new(session).layer(Api) })
    }

    async fn send(&mut self) -> Result<(), BoxError> {
        self.client.ready().await?.call(request()).await?;
        Ok(())
    }
}
