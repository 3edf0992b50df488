//! The example `drive`, as a user runs it: a process of its own against servers on loopback.
#![cfg(feature = "transport")]

mod failures;
mod runs;
mod secrets;
mod support;
mod usage;
