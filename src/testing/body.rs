//! Response bodies of the auth server, the broken ones among them.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};

use crate::error::BoxError;

pub(super) type ServerBody = UnsyncBoxBody<Bytes, BoxError>;

pub(super) fn whole(body: Bytes) -> ServerBody {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

/// Promises the whole of a body, sends half of it and breaks.
pub(super) struct Truncated {
    promised: u64,
    half: Option<Bytes>,
    flushed: bool,
}

impl Truncated {
    pub(super) fn new(mut body: Bytes) -> Self {
        Self {
            promised: body.len() as u64,
            half: Some(body.split_to(body.len() / 2)),
            flushed: false,
        }
    }
}

impl Body for Truncated {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(half) = self.half.take() {
            return Poll::Ready(Some(Ok(Frame::data(half))));
        }
        // hyper flushes what it has when a body is pending; failing at once would take the half
        // back.
        if !self.flushed {
            self.flushed = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err("the test cuts this body off".into())))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.promised)
    }
}

/// White space without an end: JSON that may yet come.
#[derive(Default)]
pub(super) struct Endless {
    sent: bool,
}

impl Body for Endless {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // A body that is always ready would keep its thread for itself.
        self.sent = !self.sent;
        if !self.sent {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b' '; 1024])))))
    }
}
