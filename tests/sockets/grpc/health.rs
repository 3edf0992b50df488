//! A client and a server that were generated, not written for these tests.

use std::sync::{Arc, Mutex};

use futures::StreamExt;
use tonic::{
    Request, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tower::ServiceBuilder;
use tower_refresh::{RefreshLayer, Session, testing::GatedEndpoint};

use super::support::{in_time, seed};

#[tokio::test]
async fn generated_clients_take_the_layer() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (reporter, service) = tonic_health::server::health_reporter();
    let record = seen.clone();
    let guarded = InterceptedService::new(service, move |request: Request<()>| {
        let token = request.metadata().get("authorization").unwrap().to_str().unwrap().to_owned();
        let refused = token == "Bearer seed";
        record.lock().unwrap().push(token);
        if refused { Err(Status::unauthenticated("no")) } else { Ok(request) }
    });
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", incoming.local_addr().unwrap());
    tokio::spawn(Server::builder().add_service(guarded).serve_with_incoming(incoming));

    let endpoint = GatedEndpoint::new();
    let session = Session::builder(endpoint.clone()).initial_tokens(seed()).build();
    let channel = Channel::from_shared(url.clone()).unwrap().connect().await.unwrap();
    let channel = ServiceBuilder::new()
        .layer(RefreshLayer::new(session).origin(url.parse().unwrap()))
        .service(channel);
    let mut client = HealthClient::new(channel);

    let mut watch =
        in_time(client.watch(HealthCheckRequest::default())).await.unwrap().into_inner();
    let status = in_time(watch.next()).await.unwrap().unwrap().status();
    assert_eq!(status, ServingStatus::Serving);
    reporter.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    let status = in_time(watch.next()).await.unwrap().unwrap().status();
    assert_eq!(status, ServingStatus::NotServing);

    let answer = in_time(client.check(HealthCheckRequest::default())).await.unwrap();
    assert_eq!(answer.into_inner().status(), ServingStatus::NotServing);
    let access = "Bearer access-1".to_owned();
    assert_eq!(*seen.lock().unwrap(), ["Bearer seed".to_owned(), access.clone(), access]);
    assert_eq!(endpoint.calls(), 1);
}
