//! hyper's client under the layer, in a struct that names its type, and in one that does not.
//!
//!     cargo run --example hyper

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::{Layer, ServiceExt, util::BoxCloneSyncService};
use tower_refresh::{
    BoxError, Refresh, RefreshLayer, Session, endpoint::JsonEndpoint, testing::AuthServer,
};

/// The whole type of a client, for structs that hold one.
type ApiClient = Refresh<Client<HttpConnector, Full<Bytes>>>;

/// For structs that should not care which client it is.
type AnyClient =
    BoxCloneSyncService<Request<Full<Bytes>>, Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError>;

#[derive(Clone)]
struct Orders {
    client: ApiClient,
    url: String,
}

impl Orders {
    async fn place(&self, order: &'static str) -> Result<StatusCode, BoxError> {
        let request = Request::post(&self.url).body(Full::from(order))?;
        Ok(self.client.clone().oneshot(request).await?.status())
    }
}

#[derive(Clone)]
struct Invoices {
    client: AnyClient,
    url: String,
}

impl Invoices {
    async fn list(&self) -> Result<Bytes, BoxError> {
        let request = Request::get(&self.url).body(Full::default())?;
        let response = self.client.clone().oneshot(request).await?;
        Ok(response.into_body().collect().await?.to_bytes())
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let server = AuthServer::builder().rotate(true).start().await?;
    let session = Session::builder(JsonEndpoint::new(server.refresh_url())?)
        .initial_tokens(server.log_in().tokens()?)
        .build();

    let http = Client::builder(TokioExecutor::new()).build_http();
    let client: ApiClient = RefreshLayer::new(session.clone()).layer(http);
    let boxed =
        AnyClient::new(client.clone().map_response(|response| {
            response.map(|body| body.map_err(BoxError::from).boxed_unsync())
        }));
    let orders = Orders { client, url: format!("{}/orders", server.api_url()) };
    let invoices = Invoices { client: boxed, url: format!("{}/invoices", server.api_url()) };

    println!("order placed: {}", orders.place("{\"item\":1}").await?);

    // Both tasks meet a 401. It costs one refresh, and neither hears of it.
    server.revoke_access_tokens();
    let placing = tokio::spawn(async move { orders.place("{\"item\":2}").await });
    let listing = tokio::spawn(async move { invoices.list().await });
    println!("order placed: {}", placing.await??);
    println!("invoices: {}", String::from_utf8_lossy(&listing.await??));
    println!("refreshes: {}", server.counts().refreshes);

    session.close().await?;
    Ok(())
}
