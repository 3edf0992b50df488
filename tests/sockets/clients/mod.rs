//! The crate under real clients and over real sockets: reqwest-middleware, reqwest under Tower,
//! and hyper over TLS.

mod behaviour;
mod bodies;
mod certificates;
mod destinations;
mod heads;
mod redirects;
mod refusals;
mod retry;
mod support;
mod tls;
mod transport;
