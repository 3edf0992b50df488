//! Wrap any outbound HTTP service in a [`RefreshLayer`], and its requests always carry a live
//! access token.
//!
//! ```
//! # async fn doc() -> Result<(), tower_refresh::BoxError> {
//! # let http_client = tower::service_fn(|_: http::Request<http_body_util::Full<bytes::Bytes>>| async {
//! #     Ok::<_, tower_refresh::BoxError>(http::Response::new(()))
//! # });
//! use tower::ServiceBuilder;
//! use tower_refresh::{RefreshLayer, Session, Tokens, endpoint::JsonEndpoint};
//!
//! let session = Session::builder(JsonEndpoint::freddy())
//!     .initial_tokens(Tokens::from_refresh_token(std::env::var("REFRESH_TOKEN")?)?)
//!     .build();
//! let client = ServiceBuilder::new()
//!     .layer(RefreshLayer::new(session.clone()))
//!     .service(http_client);
//! # Ok(())
//! # }
//! ```
//!
//! # Five nouns
//!
//! - A [`Session`] is the live tokens of one identity. It is built once, and every clone is the
//!   same session.
//! - A [`RefreshLayer`] puts a session in front of an HTTP service.
//! - `Sessions` (feature `sessions`) is a bounded set with one session per key, for the users of a
//!   gateway.
//! - A token [`endpoint`] issues the next access token. It is a Tower service too, so time-outs and
//!   limits around it are ordinary layers.
//! - A token [`store`] is where tokens outlive the process, and where processes agree which of them
//!   refreshes.
//!
//! The [`guide`] tells the rest, and begins with [a first program](guide::getting_started).
//!
//! # Errors
//!
//! Request and response types stay those of the service inside. Errors are boxed, as Tower's own
//! middlewares box them; [`Error::find`] finds this crate's error below the errors that wrap it,
//! and [`Error::kind`] tells whether the user has to log in again, or the caller only has to wait.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod endpoint;
mod error;
pub mod guide;
mod middleware;
mod origin;
pub mod replay;
mod session;
#[cfg(feature = "sessions")]
mod sessions;
pub mod store;
#[cfg(feature = "test-util")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub mod testing;
mod token;

#[cfg(feature = "sessions")]
#[cfg_attr(docsrs, doc(cfg(feature = "sessions")))]
pub use self::sessions::{Sessions, SessionsBuilder, SessionsStatus, SetEvent, SetEvents};
pub use self::{
    error::{BoxError, Error, ErrorKind},
    middleware::{NoToken, Refresh, RefreshLayer, RequestHead, ResponseHead, future},
    origin::Origin,
    session::{AuthScheme, Event, Events, Session, SessionBuilder, Status, Token, TokenId},
    token::{AccessToken, IssuedFor, RefreshToken, Tokens},
};

// What it shows is to be pasted as it stands, so nothing in it is hidden, not even a condition on a
// feature.
#[cfg(all(doctest, feature = "transport", feature = "reqwest-middleware", feature = "tonic"))]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
