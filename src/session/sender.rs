//! Where the events of a session go: to its readers, and to what operators see.

use std::sync::OnceLock;

use futures_util::{StreamExt, stream};
use tokio::sync::broadcast;

use super::{
    event::{Event, Events},
    observe::Observer,
};

/// The sending end. A reader that falls behind loses the oldest events; it never holds up the
/// session.
#[derive(Debug)]
pub(crate) struct EventSender {
    /// Made for the first reader: it has room for all that are kept, and there may be thousands of
    /// sessions without a listener.
    events: OnceLock<broadcast::Sender<Event>>,
    observer: Observer,
}

/// How many events a slow reader may be behind.
const KEPT: usize = 128;

impl EventSender {
    pub(crate) fn new(session: Option<String>) -> Self {
        Self { events: OnceLock::new(), observer: Observer::new(session) }
    }

    pub(crate) fn send(&self, event: Event) {
        self.observer.event(&event);
        if let Some(events) = self.events.get() {
            // That they have all gone is no fault.
            let _ = events.send(event);
        }
    }

    pub(crate) fn observer(&self) -> &Observer {
        &self.observer
    }

    pub(crate) fn subscribe(&self) -> Events {
        let sender = self.events.get_or_init(|| broadcast::Sender::new(KEPT));
        let events = stream::unfold(sender.subscribe(), |mut receiver| async move {
            let event = match receiver.recv().await {
                Ok(event) => event,
                Err(broadcast::error::RecvError::Lagged(skipped)) => Event::Lagged { skipped },
                Err(broadcast::error::RecvError::Closed) => return None,
            };
            Some((event, receiver))
        });
        Events(events.boxed())
    }
}
