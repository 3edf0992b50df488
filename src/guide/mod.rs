//! What to know when the layer is put to work, in the order in which it is needed.
//!
//! - [Getting started](getting_started): a first program, what to give it, which requests get a
//!   token, and all the numbers.
//! - [Programs](programs): whole ones, to copy and to change.
//! - [Token endpoints](endpoints): Freddy's JSON, OAuth 2.0, your own, and what is between them and
//!   the network.
//! - [Your server's dialect](dialects): how to describe any other endpoint, with a dozen recipes.
//! - [Networks](networks): behind a proxy, a private certificate authority, client certificates.
//! - [The order of layers](order_of_layers): what belongs outside a
//!   [`RefreshLayer`](crate::RefreshLayer) and what inside, and what leaks or breaks otherwise.
//! - [Bodies](bodies): which can be sent twice, and what that costs.
//! - [Rotation and stores](rotation_and_stores): how a refresh token that may be spent once is not
//!   lost, and what no client can save.
//! - [Logging in again](logging_in_again): what a dead grant looks like, and how a person or a machine
//!   gets back in.
//! - [Fleets](fleets): many processes and one identity, on one machine or on many.
//! - Many identities (feature `sessions`): the users of a gateway, the tenants of a job runner.
//! - [Security](security): what is protected, from whom, and what is not.
//! - [Operations](operations): events, logs and metrics, which alerts to set, and what to do about
//!   them.
//! - [Testing](testing): your own program, against an auth server of the test kit or in paused
//!   time.
//! - [Moving over](moving_over): from code of your own, from yup-oauth2, from reqwest-chain.

#[doc = include_str!("getting_started.md")]
pub mod getting_started {}

#[doc = include_str!("programs.md")]
pub mod programs {}

#[doc = include_str!("endpoints.md")]
pub mod endpoints {}

#[doc = include_str!("dialects.md")]
pub mod dialects {}

#[doc = include_str!("networks.md")]
pub mod networks {}

#[doc = include_str!("order_of_layers.md")]
pub mod order_of_layers {}

#[doc = include_str!("bodies.md")]
pub mod bodies {}

#[doc = include_str!("rotation_and_stores.md")]
pub mod rotation_and_stores {}

#[doc = include_str!("logging_in_again.md")]
pub mod logging_in_again {}

#[doc = include_str!("fleets.md")]
pub mod fleets {}

#[cfg(feature = "sessions")]
#[cfg_attr(docsrs, doc(cfg(feature = "sessions")))]
#[doc = include_str!("many_identities.md")]
pub mod many_identities {}

#[doc = include_str!("security.md")]
pub mod security {}

#[doc = include_str!("operations.md")]
pub mod operations {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("moving_over.md")]
pub mod moving_over {}
