//! What the crate promises, shown in memory and in paused time. The list of promises is in
//! `tests/README.md`.

mod doubt;
mod failure;
mod flight;
mod retry_after;
mod support;
mod vault;
