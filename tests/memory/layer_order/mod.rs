//! The guide on the order of layers: for each of its rows what it advises, and what happens to
//! those who do otherwise.

mod buffer;
mod compression;
mod concurrency_limit;
mod load_shed;
mod redirect;
mod retry;
mod timeout;
mod trace;
