//! The crate over real sockets: a real hyper client under the layer, and real servers.
//!
//! Time is real here, so nothing depends on it: tests wait for what they have counted or gated,
//! and every wait has an end.

mod bodies;
mod early_refusals;
mod end_to_end;
mod endpoint_failures;
mod flight;
mod input;
mod late_bodies;
mod origins;
mod refusals;
mod rotation;
mod runtimes;
mod support;
