//! What to know when the layer is put to work.
//!
//! - [The order of layers](order_of_layers): what belongs outside a
//!   [`RefreshLayer`](crate::RefreshLayer) and what inside, and what leaks or breaks otherwise.
//! - [Bodies](bodies): which can be sent twice, and what that costs.

#[doc = include_str!("order_of_layers.md")]
pub mod order_of_layers {}

#[doc = include_str!("bodies.md")]
pub mod bodies {}
