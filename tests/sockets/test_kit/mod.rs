//! The test kit itself, seen by a plain HTTP client over real sockets.

mod api;
mod client;
mod conformance;
mod dialects;
mod faults;
mod freddy;
mod gated;
mod gated_store;
mod issuer;
mod lifecycle;
mod oauth2;
