//! Generated gRPC clients over tonic's `Channel` with the layer around it, and real servers.

mod calls;
mod echo;
mod health;
mod proxy;
mod stack;
mod streams;
mod support;
