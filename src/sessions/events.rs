//! What operators see of a set.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::{Stream, stream::BoxStream};
use futures_util::{StreamExt, stream::unfold};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::session::Event;

/// Something that happened to a session of a set. No event holds a secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SetEvent<K> {
    /// To the session of this key.
    #[non_exhaustive]
    Session {
        /// Whose session it is.
        key: K,
        /// What happened.
        event: Event,
    },
    /// The reader was slow, and this many events before the next one are gone.
    #[non_exhaustive]
    Lagged {
        /// How many.
        skipped: u64,
    },
}

/// How many events a slow reader may be behind.
pub(super) const KEPT: usize = 1024;

/// The events of a set from now on, those of each session in their order; see
/// [`Sessions::events`](crate::Sessions::events).
///
/// It is a [`Stream`] too, for those who combine it with others.
#[must_use = "events are there to be read"]
pub struct SetEvents<K>(BoxStream<'static, SetEvent<K>>);

impl<K: Clone + Send + Sync + 'static> SetEvents<K> {
    pub(super) fn new(receiver: Receiver<SetEvent<K>>) -> Self {
        let events = unfold(receiver, |mut receiver| async move {
            let event = match receiver.recv().await {
                Ok(event) => event,
                Err(RecvError::Lagged(skipped)) => SetEvent::Lagged { skipped },
                Err(RecvError::Closed) => return None,
            };
            Some((event, receiver))
        });
        Self(events.boxed())
    }
}

impl<K> SetEvents<K> {
    /// Waits for the next event; `None` when the last clone of the set and the last of its sessions
    /// are gone. No event is lost if this is dropped while it waits.
    pub async fn next(&mut self) -> Option<SetEvent<K>> {
        self.0.next().await
    }
}

impl<K> Stream for SetEvents<K> {
    type Item = SetEvent<K>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<SetEvent<K>>> {
        self.0.poll_next_unpin(cx)
    }
}

impl<K> fmt::Debug for SetEvents<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetEvents").finish_non_exhaustive()
    }
}
