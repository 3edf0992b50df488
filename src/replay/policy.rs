use std::{any, fmt};

use http_body::Body;

use super::{Replay, ReplayBody, Spare, Split, body::rewrap};
use crate::BoxError;

/// Leaves it to the body, by its [`Replay`]. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByBody;

/// Records a body of any type and makes it one of that type again, by its constructor.
///
/// For the body types of other crates, which seldom know how to be sent twice but can often be
/// built from any other body: `Rewrap(axum::body::Body::new)`. Both copies are rewrapped, so the
/// types around the layer stay as they are; an empty one takes the place of the body in between.
/// Bodies that are empty or announce more than 64 KiB are left alone.
///
/// # Example
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
/// use tower_refresh::BoxError;
/// use tower_refresh::replay::{ReplayBody, Rewrap, Split as _};
///
/// type Foreign = UnsyncBoxBody<Bytes, BoxError>;
///
/// let policy = Rewrap(|body: ReplayBody<Foreign>| body.map_err(BoxError::from).boxed_unsync());
/// let mut body = Full::<Bytes>::from("hello").map_err(BoxError::from).boxed_unsync();
/// let spare = policy.keep(&mut body);
/// ```
#[derive(Clone, Copy)]
pub struct Rewrap<F>(pub F);

/// Sends every body once: a refused request is not sent again, and its caller sees the refusal.
#[derive(Clone, Copy, Debug, Default)]
pub struct SendOnce;

// Without the attribute an error would be about `Replay` and not name the other policies.
#[diagnostic::do_not_recommend]
impl<B: Replay> Split<B> for ByBody {
    fn keep(&self, body: &mut B) -> Spare<B> {
        body.keep()
    }
}

impl<B, F> Split<B> for Rewrap<F>
where
    F: Fn(ReplayBody<B>) -> B + Clone,
    B: Body<Error: Into<BoxError>> + Send + 'static,
{
    fn keep(&self, body: &mut B) -> Spare<B> {
        rewrap(body, || (self.0)(ReplayBody::empty()), &self.0)
    }
}

impl<B> Split<B> for SendOnce {
    fn keep(&self, _: &mut B) -> Spare<B> {
        Spare::none()
    }
}

impl<F> fmt::Debug for Rewrap<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rewrap").field(&format_args!("{}", any::type_name::<F>())).finish()
    }
}
