//! What the crate promises, shown in memory and in paused time. The list of promises is in
//! `tests/README.md`.

mod bodies;
mod cancel;
mod condemned;
mod decisions;
mod destinations;
mod doubt;
mod eager;
mod elsewhere;
mod events;
mod expiry;
mod failure;
mod fleet;
mod flight;
mod from_fn;
mod heads;
mod identity;
mod injection;
mod lifecycle;
mod log_out;
mod origins;
mod ready;
#[cfg(feature = "follow-redirect")]
mod redirect;
mod refusal;
mod retry_after;
mod rotation;
mod seen;
mod shelf;
mod stack;
mod steps;
mod stores;
mod support;
mod vault;
