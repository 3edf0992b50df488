//! Several processes: stores that they share, a real Redis, and the examples as a user runs them.

#[cfg(feature = "transport")]
mod drive;
#[cfg(feature = "transport")]
mod no_provider;
#[cfg(all(feature = "encrypted", feature = "redis", feature = "transport"))]
mod redis;
#[cfg(all(feature = "redis", feature = "transport"))]
mod server;
mod stores;
