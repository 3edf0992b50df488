//! Stores: what the trait promises, files that several processes share, and encryption.

mod conformance;
#[cfg(feature = "encrypted")]
mod encrypted;
#[cfg(all(unix, feature = "file"))]
mod file;
mod keyed;
mod lease;
mod support;
