//! The example `drive`, as a user runs it: a process of its own against servers on loopback.
#![cfg(feature = "transport")]

mod failures;
mod runs;
mod secrets;
#[cfg(feature = "redis")]
#[expect(dead_code, reason = "these tests need little of what it can do")]
#[path = "../redis/server.rs"]
mod server;
mod shared;
mod support;
mod usage;
