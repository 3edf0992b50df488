//! Test kits for programs that use this crate, and for this crate itself.
//!
//! - [`AuthServer`]: an auth server and a protected API on a loopback port, over real HTTP. It
//!   rotates refresh tokens, detects re-use, fails on demand and counts.
//! - [`GatedEndpoint`]: a token endpoint in memory, for tests in Tokio's paused time: its answers
//!   are scripted and its calls can be held.
//! - [`GatedStore`]: a token store in memory that can be held and broken, and of which each process
//!   of a fleet has a view of its own.
//!
//! [`Issuer`] signs JWTs with claims of your own. [`store_conformance`] tells whether a
//! [`TokenStore`](crate::store::TokenStore) of your own keeps what its trait promises.
//!
//! Real sockets need real time: under `start_paused` Tokio jumps ahead while a socket is idle,
//! and time-outs fire that never should. The server's gate and counts make sleeping unnecessary.
//!
//! # An auth server
//!
//! ```
//! use std::time::Duration;
//! use bytes::Bytes;
//! use http::{Request, StatusCode};
//! use http_body_util::{BodyExt, Full};
//! use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! use tower_refresh::testing::{AuthServer, Fault};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = AuthServer::builder()
//!     .access_life(Duration::from_secs(2))
//!     .rotate(true)
//!     .start()
//!     .await?;
//! let login = server.log_in();
//!
//! // A program under test would do this: a request to the API …
//! let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
//! let request = Request::get(format!("{}/orders", server.api_url()))
//!     .header("authorization", format!("Bearer {}", login.access_token))
//!     .body(Full::default())?;
//! assert_eq!(client.request(request).await?.status(), StatusCode::OK);
//!
//! // … and a refresh, which the test makes fail once.
//! server.fault(Fault::status(StatusCode::SERVICE_UNAVAILABLE));
//! let refresh = || {
//!     let body = serde_json::json!({ "refresh_token": login.refresh_token });
//!     Request::post(server.refresh_url())
//!         .header("content-type", "application/json")
//!         .body(Full::from(body.to_string()))
//! };
//! assert_eq!(client.request(refresh()?).await?.status(), StatusCode::SERVICE_UNAVAILABLE);
//! let answer = client.request(refresh()?).await?.collect().await?.to_bytes();
//! assert!(String::from_utf8(answer.to_vec())?.contains("refresh_token"));
//!
//! let counts = server.counts();
//! assert_eq!((counts.calls, counts.refreshes, counts.reuses), (2, 1, 0));
//! # Ok(())
//! # }
//! ```
//!
//! # An endpoint in memory
//!
//! ```
//! use tower::ServiceExt;
//! use tower_refresh::{
//!     RefreshToken,
//!     endpoint::{EndpointError, RefreshRequest},
//!     testing::GatedEndpoint,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let endpoint = GatedEndpoint::new();
//! endpoint.answer(EndpointError::transient("the server is busy"));
//! let hold = endpoint.hold();
//!
//! // A session would do this.
//! let service = endpoint.clone();
//! let request = RefreshRequest::new(Some(RefreshToken::new("seed")?));
//! let call = tokio::spawn(service.oneshot(request.clone()));
//!
//! endpoint.calls_reached(1).await;
//! assert_eq!(endpoint.in_flight(), 1);
//! hold.release();
//! assert!(call.await?.is_err());
//!
//! let response = endpoint.clone().oneshot(request).await?;
//! assert_eq!(response.access_token().expose(), "access-1");
//! assert_eq!(endpoint.presented()[0].as_ref().unwrap().expose(), "seed");
//! # Ok(())
//! # }
//! ```

mod api;
mod auth_server;
mod body;
mod builder;
mod conformance;
mod counts;
mod dialect;
mod fault;
mod gate;
mod gated;
mod gated_store;
mod issuer;
mod ledger;
mod protocol;
mod refusal;
mod server;
mod shared;
mod wire;

pub use self::{
    auth_server::{AuthServer, Login},
    builder::AuthServerBuilder,
    conformance::{keyed_store_conformance, store_conformance},
    counts::Counts,
    dialect::{Dialect, Ending},
    fault::Fault,
    gate::Hold,
    gated::{Answer, GatedEndpoint},
    gated_store::{GatedStore, StoreCalls, StoreFault},
    issuer::Issuer,
    refusal::Refusal,
};
