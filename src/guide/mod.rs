//! What to know when the layer is put to work.
//!
//! - [The order of layers](order_of_layers): what belongs outside a
//!   [`RefreshLayer`](crate::RefreshLayer) and what inside, and what leaks or breaks otherwise.
//! - [Bodies](bodies): which can be sent twice, and what that costs.
//! - [Rotation and stores](rotation_and_stores): how a refresh token that may be spent once is not
//!   lost, by one process or by a fleet, and what no client can save.
//! - [Operations](operations): events, logs and metrics, and what to wake somebody for.

#[doc = include_str!("order_of_layers.md")]
pub mod order_of_layers {}

#[doc = include_str!("bodies.md")]
pub mod bodies {}

#[doc = include_str!("rotation_and_stores.md")]
pub mod rotation_and_stores {}

#[doc = include_str!("operations.md")]
pub mod operations {}
