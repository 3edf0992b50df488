//! The crate under real clients and over real sockets: reqwest-middleware, reqwest under Tower,
//! and hyper over TLS.

mod behaviour;
mod bodies;
mod redirects;
mod support;
mod tls;
mod transport;
