//! A gateway: its users have credentials of their own, and the API behind it sees the gateway's.
//!
//!     cargo run --example axum_gateway
//!
//! It starts an auth server and an API on loopback and the gateway in front of it, sends a few
//! requests as a user of the gateway, and shows what came out at the other end.

mod gateway;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::net::TcpListener;
use tower_refresh::{BoxError, Session, endpoint::JsonEndpoint, testing::AuthServer};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let server = AuthServer::builder().rotate(true).start().await?;
    let session = Session::builder(JsonEndpoint::new(server.refresh_url())?)
        .initial_tokens(server.log_in().tokens()?)
        .build();

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let router = gateway::gateway(session.clone(), server.url().parse()?)?;
    tokio::spawn(async { axum::serve(listener, router).await });
    println!("The gateway listens on {url} and forwards to {}.\n", server.url());

    let user = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    for order in 1..=4 {
        if order == 3 {
            server.revoke_access_tokens();
            println!("all access tokens are revoked");
        }
        let request = Request::post(format!("{url}/api/orders?number={order}"))
            .header("authorization", "Bearer the-users-own")
            .body(Full::from(format!("order {order}")))?;
        let response = user.request(request).await?;
        let status = response.status();
        let seen = response.into_body().collect().await?.to_bytes();
        println!("{status}: the API saw {}", String::from_utf8_lossy(&seen));
        if status != StatusCode::OK {
            return Err("the gateway's token should have been good".into());
        }
    }

    session.close().await?;
    let counts = server.counts();
    println!("\nrefused by the API {}, refreshes {}", counts.refused, counts.refreshes);
    println!("It takes no token but the gateway's, so that is what it got each time.");
    Ok(())
}
