//! What the crate promises, shown in memory and in paused time. The list of promises is in
//! `tests/README.md`.

mod bodies;
mod cancel;
mod clones;
mod condemned;
mod decisions;
mod doubt;
mod eager;
mod elsewhere;
mod events;
mod expiry;
mod failure;
mod fleet;
mod flight;
mod from_fn;
mod identity;
mod injection;
mod lifecycle;
mod load;
mod log_out;
mod origins;
mod ready;
mod record;
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
mod token_id;
mod vault;
