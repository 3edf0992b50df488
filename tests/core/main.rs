//! What the crate promises, shown in memory and in paused time. The list of promises is in
//! `tests/README.md`.

mod doubt;
mod events;
mod failure;
mod flight;
mod from_fn;
mod identity;
mod lifecycle;
mod ready;
mod retry_after;
mod rotation;
mod stack;
mod stores;
mod support;
mod vault;
