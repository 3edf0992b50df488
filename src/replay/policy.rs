use std::{any, fmt};

use http_body::Body;

use super::{Backup, Policy, Replay, ReplayBody, rewrap::rewrap};
use crate::BoxError;

/// Leaves it to the body, by its implementation of [`Replay`]. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standard;

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
/// use tower_refresh::replay::{ReplayBody, Rewrap, Policy as _};
///
/// type Foreign = UnsyncBoxBody<Bytes, BoxError>;
///
/// let policy = Rewrap(|body: ReplayBody<Foreign>| body.map_err(BoxError::from).boxed_unsync());
/// let mut body = Full::<Bytes>::from("hello").map_err(BoxError::from).boxed_unsync();
/// let backup = policy.backup(&mut body);
/// ```
#[derive(Clone, Copy)]
pub struct Rewrap<F>(pub F);

/// [`Rewrap`] by a plain function: the form that has a name, for the field of a struct.
///
/// ```
/// # use axum::body::Body;
/// # use tower_refresh::{Refresh, RefreshLayer, Session};
/// use tower_refresh::replay::{Rewrap, RewrapFn};
///
/// struct Gateway<C> {
///     upstream: Refresh<C, RewrapFn<Body>>,
/// }
///
/// # fn doc<C: Clone>(client: C, session: Session) -> Gateway<C> {
/// let policy: RewrapFn<Body> = Rewrap(Body::new);
/// let layer = RefreshLayer::new(session).replay_with(policy);
/// # use tower::Layer as _;
/// Gateway { upstream: layer.layer(client) }
/// # }
/// ```
pub type RewrapFn<B> = Rewrap<fn(ReplayBody<B>) -> B>;

/// Sends every body once: a refused request is not sent again, and its caller gets the refusal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Never;

// Without the attribute an error would be about `Replay` and not name the other policies.
#[diagnostic::do_not_recommend]
impl<B: Replay> Policy<B> for Standard {
    fn backup(&self, body: &mut B) -> Backup<B> {
        body.backup()
    }
}

impl<B, F> Policy<B> for Rewrap<F>
where
    F: Fn(ReplayBody<B>) -> B + Clone,
    B: Body<Error: Into<BoxError>> + Send + 'static,
{
    fn backup(&self, body: &mut B) -> Backup<B> {
        rewrap(body, || (self.0)(ReplayBody::empty()), &self.0)
    }
}

impl<B> Policy<B> for Never {
    fn backup(&self, _: &mut B) -> Backup<B> {
        Backup::none()
    }
}

impl<F> fmt::Debug for Rewrap<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rewrap").field(&format_args!("{}", any::type_name::<F>())).finish()
    }
}
