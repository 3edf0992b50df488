//! The store in Redis, against a real server, in real time. The list of promises is in
//! `tests/README.md`.

mod broken;
mod commands;
mod connect;
mod failover;
mod fleet;
mod loss;
mod news;
mod outage;
mod sessions;
mod store;
mod support;
