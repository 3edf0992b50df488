//! Many identities in one process, in memory and in paused time.

mod fleet;
mod forgetting;
mod idle;
mod loading;
mod seen;
mod support;
