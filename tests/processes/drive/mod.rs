//! The examples `drive` and `quickstart`, as a user runs them: processes of their own, and servers
//! on loopback.

mod failures;
#[cfg(target_os = "linux")]
mod interrupts;
mod plot;
mod quickstart;
mod runs;
mod secrets;
mod shared;
mod support;
mod usage;
