//! gRPC: a generated client over tonic's `Channel` with the layer around it.
//!
//!     cargo run --example tonic --features tonic
//!
//! Tokens come from an auth server on loopback. A health service, as `tonic-health` ships it,
//! refuses the first of them with `UNAUTHENTICATED`, and the calls never notice.

use futures::StreamExt as _;
use tonic::{
    Request, Status,
    metadata::MetadataMap,
    service::interceptor::InterceptedService,
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
};
use tower::ServiceBuilder;
use tower_refresh::{BoxError, RefreshLayer, Session, endpoint::JsonEndpoint, testing::AuthServer};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let auth = AuthServer::builder().rotate(true).start().await?;
    let login = auth.log_in();

    // A server that takes any token but the first.
    let first = format!("Bearer {}", login.access_token);
    let (reporter, health) = tonic_health::server::health_reporter();
    let guarded = InterceptedService::new(health, move |request: Request<()>| {
        let verdict = verdict(request.metadata(), &first);
        println!("  server: {}", if verdict.is_ok() { "a good token" } else { "refused" });
        verdict.map(|()| request)
    });
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?;
    let api = format!("http://{}", incoming.local_addr()?);
    tokio::spawn(Server::builder().add_service(guarded).serve_with_incoming(incoming));

    // The client. A channel's requests do not say where they go, so the layer is told.
    let session = Session::builder(JsonEndpoint::new(auth.refresh_url())?)
        .initial_tokens(login.tokens()?)
        .build();
    let channel = ServiceBuilder::new()
        .layer(RefreshLayer::new(session.clone()).origin(api.parse()?))
        .service(Channel::from_shared(api.clone())?.connect().await?);
    let mut client = HealthClient::new(channel);

    println!("a call:");
    let answer = client.check(HealthCheckRequest::default()).await?;
    println!("  client: {:?}", answer.into_inner().status());

    println!("a stream of the server's:");
    let mut changes = client.watch(HealthCheckRequest::default()).await?.into_inner();
    let mut next = async || changes.next().await.expect("the stream does not end");
    println!("  client: {:?}", next().await?.status());
    reporter.set_service_status("", ServingStatus::NotServing).await;
    println!("  client: {:?}", next().await?.status());

    session.close().await?;
    println!("refreshes: {}", auth.counts().refreshes);
    Ok(())
}

fn verdict(metadata: &MetadataMap, refused: &str) -> Result<(), Status> {
    match metadata.get("authorization") {
        Some(token) if token != refused => Ok(()),
        _ => Err(Status::unauthenticated("the token is not good")),
    }
}
