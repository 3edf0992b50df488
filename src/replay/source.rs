use std::{
    any::Any,
    mem,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// A body that is being read, in frames of `Bytes`, by one copy after the other.
    pub(super) struct Source<B> {
        // `None` once it has ended.
        #[pin]
        body: Option<B>,
        // Whether it has failed: what it would say from there on is not to be replayed.
        failed: bool,
        // The task that wants to hear from it.
        waker: Option<Waker>,
    }
}

impl<B> Source<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body: Some(body), failed: false, waker: None }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// The task that waits for a frame.
    pub(super) fn take_waker(self: Pin<&mut Self>) -> Option<Waker> {
        self.project().waker.take()
    }
}

impl<B: Body> Source<B> {
    pub(super) fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl<B: Body + 'static> Source<B> {
    #[inline]
    pub(super) fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let Some(body) = this.body.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        // Meanwhile it counts as failed, and does so for good if it panics.
        let failed = mem::replace(this.failed, true);
        let polled = body.poll_frame(cx);
        *this.failed = failed;
        match polled {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(frame.map_data(into_bytes)))),
            Poll::Ready(Some(Err(error))) => {
                *this.failed = true;
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => {
                this.body.set(None);
                Poll::Ready(None)
            }
            Poll::Pending => {
                match this.waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
        }
    }
}

/// What a frame carries; never copied if it is `Bytes`.
///
/// That is what `copy_to_bytes` promises as well, but it cannot be inlined and leaves an empty
/// `Bytes` behind that has to be dropped: several times what all the rest of a frame costs.
#[inline]
fn into_bytes<D: Buf + 'static>(mut data: D) -> Bytes {
    match (&mut data as &mut dyn Any).downcast_mut::<Bytes>() {
        Some(bytes) => mem::take(bytes),
        None => data.copy_to_bytes(data.remaining()),
    }
}
