//! Where a store's connections come from.

use std::{any::type_name, fmt, future::Future};

use futures_util::future::{FutureExt, ready};
use redis::aio::ConnectionLike;
use tokio::sync::Mutex;

use crate::{error::BoxError, store::BoxFuture};

/// What connects a [`RedisStore`](super::RedisStore): any connection of the [`redis`] crate that
/// can be cloned, such as [`ConnectionManager`](redis::aio::ConnectionManager), or a closure that
/// makes one ([`connect_fn`]).
///
/// There is nothing else to implement this for.
pub trait Connect: Connections {}

impl<C: Connections> Connect for C {}

/// A connection that is good for now, and a number that tells it from those before.
pub trait Connections: Send + Sync + 'static {
    type Connection: ConnectionLike + Clone + Send + Sync + 'static;

    fn connection(&self) -> BoxFuture<'_, Result<(Self::Connection, u64), BoxError>>;

    /// This one is no good any more.
    fn discard(&self, number: u64) -> BoxFuture<'_, ()>;
}

/// It connects again by itself, if it can.
impl<C> Connections for C
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    type Connection = C;

    fn connection(&self) -> BoxFuture<'_, Result<(C, u64), BoxError>> {
        ready(Ok((self.clone(), 0))).boxed()
    }

    fn discard(&self, _number: u64) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
}

/// Connects a [`RedisStore`](super::RedisStore) by a closure, for where the address of the server
/// can change, as it does with Sentinel.
///
/// The closure is called when the store is first used. The connection that it makes is kept until a
/// call fails for want of it (an I/O error, a time-out), or until the server turns out to be a
/// replica; then the next call asks the closure again. A plain
/// [`MultiplexedConnection`](redis::aio::MultiplexedConnection) will do.
///
/// ```no_run
/// use redis::{Client, RedisResult};
/// use tower_refresh::store::{RedisStore, connect_fn};
///
/// async fn primary() -> RedisResult<Client> {
///     let sentinel = Client::open("redis://sentinel.internal:26379/")?;
///     let mut sentinel = sentinel.get_multiplexed_async_connection().await?;
///     let mut primary = redis::cmd("SENTINEL");
///     primary.arg("get-master-addr-by-name").arg("tokens");
///     let address: (String, u16) = primary.query_async(&mut sentinel).await?;
///     Client::open(address)
/// }
///
/// let connect = connect_fn(|| async { primary().await?.get_multiplexed_async_connection().await });
/// let store = RedisStore::new(connect, "billing")?
///     .subscribe_with(|| async { primary().await?.get_async_pubsub().await });
/// # Ok::<(), tower_refresh::Error>(())
/// ```
pub fn connect_fn<F, Fut, C, E>(connect: F) -> ConnectFn<F, C>
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<C, E>> + Send,
    C: ConnectionLike + Clone + Send + Sync + 'static,
    E: Into<BoxError>,
{
    ConnectFn { connect, current: Mutex::default() }
}

/// The [`Connect`] that [`connect_fn`] makes.
pub struct ConnectFn<F, C> {
    connect: F,
    /// Locked while the closure connects, so that all calls wait for one connection.
    current: Mutex<Current<C>>,
}

struct Current<C> {
    connection: Option<C>,
    /// How many have been discarded.
    number: u64,
}

impl<C> Default for Current<C> {
    fn default() -> Self {
        Self { connection: None, number: 0 }
    }
}

impl<F, Fut, C, E> Connections for ConnectFn<F, C>
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<C, E>> + Send,
    C: ConnectionLike + Clone + Send + Sync + 'static,
    E: Into<BoxError>,
{
    type Connection = C;

    fn connection(&self) -> BoxFuture<'_, Result<(C, u64), BoxError>> {
        async {
            let mut current = self.current.lock().await;
            let connection = match &current.connection {
                Some(connection) => connection.clone(),
                None => {
                    let connection = (self.connect)().await.map_err(Into::into)?;
                    current.connection.insert(connection).clone()
                }
            };
            Ok((connection, current.number))
        }
        .boxed()
    }

    fn discard(&self, number: u64) -> BoxFuture<'_, ()> {
        async move {
            let mut current = self.current.lock().await;
            // A call that fails late must not take down the connection that came after its own.
            if current.number == number {
                *current = Current { connection: None, number: number + 1 };
            }
        }
        .boxed()
    }
}

impl<F, C> fmt::Debug for ConnectFn<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectFn").field("connect", &type_name::<F>()).finish_non_exhaustive()
    }
}
