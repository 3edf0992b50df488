//! A refusal that is held until its retry is answered.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Version;
use tokio::{
    runtime::Handle,
    time::{Sleep, sleep},
};

/// A refusal over HTTP/2 whose body may still be on its way.
///
/// To drop it resets its stream. h2 remembers some fifty of those, takes the late frames of all
/// others for faults of the server, and ends the connection and whatever else goes on there after
/// 1,024 of them. Over HTTP/1 the connection that a refusal holds may be the one that the retry needs.
pub(super) struct Kept<R> {
    refusal: Option<R>,
    until: Pin<Box<Sleep>>,
}

/// A refusal that is larger than its window holds its stream, and the retry may need one.
const LIMIT: Duration = Duration::from_secs(1);

impl<R> Kept<R> {
    /// Drops the refusal unless it is worth to be kept.
    pub(super) fn new(refusal: R, version: Version) -> Option<Self> {
        let can_wait = version >= Version::HTTP_2 && Handle::try_current().is_ok();
        can_wait.then(|| Self { refusal: Some(refusal), until: Box::pin(sleep(LIMIT)) })
    }

    /// Drops the refusal once it was kept for long enough.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        if self.refusal.is_some()
            && let Poll::Ready(()) = self.until.as_mut().poll(cx)
        {
            self.refusal = None;
        }
    }

    /// Keeps it while the retry is under way.
    #[cfg(feature = "reqwest-middleware")]
    pub(super) async fn during<F: Future>(mut kept: Option<Self>, retry: F) -> F::Output {
        let mut retry = std::pin::pin!(retry);
        std::future::poll_fn(|cx| {
            if let Some(kept) = &mut kept {
                kept.poll(cx);
            }
            retry.as_mut().poll(cx)
        })
        .await
    }
}
