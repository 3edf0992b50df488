//! What the crate promises, shown in memory and in paused time. The list of promises is in
//! `tests/README.md`.

mod bodies;
mod cancel;
mod condemned;
mod expiry;
mod flight;
mod injection;
mod origins;
mod refusal;
mod steps;
mod support;
