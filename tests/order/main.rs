//! The guide on the order of layers: for each of its rows what it advises, and what happens to
//! those who do otherwise.

mod buffer;
mod compression;
mod concurrency_limit;
mod load_shed;
mod redirect;
mod retry;
#[path = "../core/support.rs"]
#[allow(dead_code, reason = "it is the core's, and not all of it is needed here")]
mod support;
mod timeout;
mod trace;
