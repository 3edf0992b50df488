//! The way of a request.
//!
//! [`reqwest`] tells it in one `async` function: read that first. Under Tower the same steps are
//! spread over a service and its future:
//!
//! 1. `rules`: which requests get a token, and which responses refuse it (`refusal` judges, by
//!    what `challenge` reads).
//! 2. `service`: puts the token on a request, calls the client, and makes a future of it.
//! 3. `retry`: what is kept of a request for a second sending; the body by [`replay`](crate::replay).
//!    And what its answer tells the session, by its `route`.
//! 4. `cache`: a service's own copy of the session's snapshot.
//! 5. `future`: waits for a live token, looks at the response, and sends once more with a successor.
//!
//! `layer` is options.

mod cache;
mod challenge;
pub mod future;
mod head;
mod kept;
mod layer;
mod redirect;
mod refusal;
#[cfg(feature = "reqwest-middleware")]
mod reqwest;
mod retry;
mod route;
mod rules;
mod service;

pub use self::{
    head::{RequestHead, ResponseHead},
    layer::RefreshLayer,
    rules::NoToken,
    service::Refresh,
};
