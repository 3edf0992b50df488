//! How a request's body is kept for a second sending.
//!
//! A request that is refused is sent again with a new token, and for that its body is needed a
//! second time. The type of the body stays what it is: before the first sending the layer takes a
//! [`Backup`] of the same type. How it does so is the layer's [`Policy`]:
//!
//! | policy | bodies | what is kept |
//! |---|---|---|
//! | [`Standard`], the default | those that implement [`Replay`] | a clone, or a recording |
//! | [`Rewrap`] | any type that can be built from another body | a recording |
//! | [`Never`] | every type | nothing: a refused request is not sent again |
//!
//! [`Replay`] is there for `Full`, `Empty`, `String` and `Either`, for `BoxBody<Bytes, E>` and
//! `UnsyncBoxBody<Bytes, E>` whose error can carry a [`Superseded`] (`BoxError` can), and for
//! [`ReplayBody`]. With the features of those names it is there for `reqwest::Body` and
//! `reqwest::Request`, and for `tonic::body::Body`. A client that streams a body of any other type,
//! `hyper::body::Incoming` for instance, sends it once unless the client is typed `Client<_,
//! ReplayBody<Incoming>>`.
//!
//! # Example
//!
//! A policy of one's own, for a boxed body that is kept up to 1 MiB:
//!
//! ```
//! use std::mem;
//!
//! use bytes::Bytes;
//! use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
//! use tower_refresh::BoxError;
//! use tower_refresh::replay::{Replay, ReplayBody, Backup, Policy};
//!
//! type Body = UnsyncBoxBody<Bytes, BoxError>;
//!
//! #[derive(Clone)]
//! struct UpTo(usize);
//!
//! impl Policy<Body> for UpTo {
//!     fn backup(&self, body: &mut Body) -> Backup<Body> {
//!         let boxed = |body: ReplayBody<Body>| body.map_err(BoxError::from).boxed_unsync();
//!         let mut recorded = ReplayBody::with_limit(mem::take(body), self.0);
//!         let backup = recorded.backup();
//!         *body = boxed(recorded);
//!         backup.map(boxed)
//!     }
//! }
//! ```
//!
//! # Recordings
//!
//! A recording does not read a body ahead: it keeps the frames as the connection pulls them, so
//! that a stream stays a stream. A server may refuse a request whose body is still on its way. Then
//! the backup *takes over*: it begins with the frames that were kept and goes on with the rest of
//! the original, and the copy on the first connection ends in a [`Superseded`] error, never in what
//! could pass for the end of the body.
//!
//! # Limits
//!
//! - A recording keeps at most 64 KiB of payload; [`ReplayBody::with_limit`] sets another cap.
//!   Payload is not copied: its `Bytes` are shared, and with them the allocations that they are
//!   part of. Trailers are kept as well and not counted.
//! - A body that turns out to be larger is streamed on and what was kept is dropped. One that
//!   announces a larger size is not recorded at all. Either way the request is sent once, and the
//!   caller sees the refusal.
//! - A body that fails while it is read hands its error to its reader, and is not replayed.
//! - Bodies that are cloned have no cap. The clone of a `Full<Bytes>` is free; that of a `String`,
//!   or a `Full` of something else that owns its data, copies it.

mod backup;
mod body;
mod buffer;
mod error;
mod foreign;
mod policy;
mod reader;
mod recording;
#[cfg(feature = "reqwest")]
mod reqwest;
mod rewrap;
mod source;
#[cfg(test)]
mod tests;
#[cfg(feature = "tonic")]
mod tonic;

pub use self::{
    backup::Backup,
    body::ReplayBody,
    error::{ReplayError, Superseded},
    policy::{Never, Rewrap, RewrapFn, Standard},
};

/// How a layer backs up the body of a request for a retry.
///
/// It belongs to the layer and not to the body alone, so that the bodies of other crates can have
/// one too. The [module's documentation](self) lists the policies of this crate.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot back up a request body `{B}` for a retry",
    label = "is not a `replay::Policy` for `{B}`",
    note = "for a body that can be built from any other, name the constructor: `.replay_with(Rewrap(axum::body::Body::new))`",
    note = "for a boxed body, use an error that can carry `Superseded`: `BoxBody<Bytes, BoxError>`, or implement `From<Superseded>` for your own",
    note = "for a client whose body type is yours to choose, use `ReplayBody<{B}>` in place of `{B}`",
    note = "for requests that are never to be sent a second time, use `.replay_with(Never)`"
)]
pub trait Policy<B>: Clone {
    /// Takes a backup of `body`, which is about to be sent.
    ///
    /// It may replace `body` by one that reads the same, such as one that is recorded.
    fn backup(&self, body: &mut B) -> Backup<B>;
}

/// A body that knows how to be sent twice; what [`Standard`] asks for.
#[diagnostic::on_unimplemented(
    message = "a body `{Self}` does not know how to be sent twice",
    label = "does not implement `Replay`",
    note = "wrap it: `ReplayBody::new(body)` records any body while it is sent",
    note = "a boxed body needs an error that can carry `Superseded`: `BoxBody<Bytes, BoxError>`, or implement `From<Superseded>` for your own",
    note = "or give the layer another policy: `.replay_with(Rewrap(..))` or `.replay_with(Never)`"
)]
pub trait Replay: Sized {
    /// Takes a backup of this body, which is about to be sent.
    fn backup(&mut self) -> Backup<Self>;
}
