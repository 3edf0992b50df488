//! Wrap any outbound HTTP service in a [`RefreshLayer`], and its requests always carry a live
//! access token.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod endpoint;
mod error;
mod jwt;
mod origin;
pub mod replay;
mod token;

pub use self::{
    error::{BoxError, Error, ErrorKind},
    token::{AccessToken, RefreshToken, Tokens},
};
