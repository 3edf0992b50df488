//! Wrap any outbound HTTP service in a [`RefreshLayer`], and its requests always carry a live
//! access token.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod endpoint;
mod error;
mod event;
mod future;
mod jwt;
mod layer;
mod observe;
mod origin;
mod refusal;
pub mod replay;
mod service;
mod session;
pub mod store;
#[cfg(feature = "test-util")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub mod testing;
mod token;

pub use self::{
    error::{BoxError, Error, ErrorKind},
    event::{Event, Events, Status},
    future::ResponseFuture,
    layer::{NoToken, RefreshLayer},
    service::Refresh,
    session::{Session, SessionBuilder, Token},
    store::TokenStore,
    token::{AccessToken, RefreshToken, Tokens},
};
