//! Hearing of changes by a subscription. Without one there is no news: sessions look by themselves.

use std::{
    fmt,
    future::pending,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{future::FutureExt, stream::StreamExt};
use redis::aio::PubSub;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{error::BoxError, store::BoxFuture};

/// Between two tries to subscribe: the first one, and the longest.
const RETRIES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// A subscription on which nothing happens may be dead without a word: so often it is asked.
const PING: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct News {
    latest: watch::Sender<Latest>,
    subscription: Option<Subscription>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Latest {
    /// How many messages have come so far.
    messages: u64,
    subscribed: bool,
}

struct Subscription {
    connect: Arc<ConnectPubSub>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// Makes a connection for a subscription.
type ConnectPubSub = dyn Fn() -> BoxFuture<'static, Result<PubSub, BoxError>> + Send + Sync;

impl News {
    pub(super) fn subscribe_with<F, Fut, E>(&mut self, connect: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<PubSub, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let connect = Arc::new(move || connect().map(|made| made.map_err(Into::into)).boxed());
        self.subscription = Some(Subscription { connect, task: Mutex::default() });
    }

    /// Resolves when something has been heard since this call, even if no caller waits for it yet.
    pub(super) fn since_now(&self) -> impl Future<Output = ()> + use<> {
        let mut latest = self.latest.subscribe();
        let messages = latest.borrow().messages;
        async move {
            if latest.wait_for(|latest| latest.messages != messages).await.is_err() {
                pending().await
            }
        }
    }

    pub(super) fn is_subscribed(&self) -> bool {
        self.latest.borrow().subscribed
    }

    /// Starts the task that listens, unless it runs. It may have died with its runtime.
    pub(super) fn listen(&self, channel: &str) {
        let Some(subscription) = &self.subscription else {
            return;
        };
        let mut task = subscription.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            let listener = Listener {
                connect: subscription.connect.clone(),
                channel: channel.to_owned(),
                latest: self.latest.clone(),
            };
            *task = Some(tokio::spawn(listener.run()));
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("task", &self.task).finish_non_exhaustive()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task {
            task.abort();
        }
    }
}

/// The task that listens. It knows nothing of the store, which ends it when it is dropped.
struct Listener {
    connect: Arc<ConnectPubSub>,
    channel: String,
    latest: watch::Sender<Latest>,
}

impl Listener {
    async fn run(self) {
        let mut retries = delays(RETRIES);
        loop {
            let begun = Instant::now();
            let heard = self.subscribed().await;
            self.set_subscribed(false);
            // A server that says yes and hangs up is to be asked as seldom as one that says no:
            // each subscription makes all who wait look at the store.
            if heard.is_ok() && begun.elapsed() > RETRIES.1 {
                retries = delays(RETRIES);
            }
            sleep(retries.next().unwrap_or(RETRIES.1)).await;
        }
    }

    /// Listens for as long as the connection lasts.
    async fn subscribed(&self) -> Result<(), BoxError> {
        let connect = async {
            let mut connection = (self.connect)().await?;
            connection.subscribe(&self.channel).await?;
            Ok::<_, BoxError>(connection)
        };
        let Ok(connection) = timeout(PATIENCE, connect).await else {
            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
        };
        let (mut sink, mut messages) = connection?.split();
        self.set_subscribed(true);
        loop {
            match timeout(PING, messages.next()).await {
                Ok(Some(_message)) => self.tell(),
                Ok(None) => return Ok(()),
                Err(_quiet) => {
                    if !matches!(timeout(PATIENCE, sink.ping::<()>()).await, Ok(Ok(()))) {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn tell(&self) {
        self.latest.send_modify(|latest| latest.messages += 1);
    }

    /// Between two subscriptions messages get lost, so each one begins with a word.
    fn set_subscribed(&self, subscribed: bool) {
        self.latest.send_modify(|latest| {
            latest.subscribed = subscribed;
            latest.messages += u64::from(subscribed);
        });
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.set_subscribed(false);
    }
}

/// They double from the first to the longest, and of each a random part of up to one half is
/// taken.
fn delays((first, longest): (Duration, Duration)) -> impl Iterator<Item = Duration> {
    std::iter::successors(Some(first), move |delay| Some((*delay * 2).min(longest)))
        .map(|delay| delay.mul_f64(1.0 - fastrand::f64() / 2.0))
}
