//! The examples `drive` and `quickstart`, as a user runs them: processes of their own, and servers
//! on loopback.
#![cfg(feature = "transport")]

mod failures;
#[cfg(target_os = "linux")]
mod interrupts;
mod plot;
mod quickstart;
mod runs;
mod secrets;
#[cfg(feature = "redis")]
#[expect(dead_code, reason = "these tests need little of what it can do")]
#[path = "../redis/server.rs"]
mod server;
mod shared;
mod support;
mod usage;
