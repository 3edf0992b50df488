//! Over real sockets and in real time: the crate under real clients and before real servers, its
//! ready-made token endpoints, and the test kit.

#[cfg(all(feature = "reqwest-middleware", feature = "transport"))]
mod clients;
mod endpoints;
mod gateway;
#[cfg(all(feature = "tonic", feature = "transport"))]
mod grpc;
mod room;
#[path = "../support/mod.rs"]
mod support;
mod test_kit;
mod wire;
