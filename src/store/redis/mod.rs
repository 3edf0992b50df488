mod connect;
mod error;
mod keys;
mod news;
mod scripts;

use std::fmt;

use futures_util::future::FutureExt;
use redis::{Client, FromRedisValue, ScriptInvocation, aio::PubSub};
use zeroize::Zeroizing;

use self::{
    error::{Failure, failed, is_of_replica, unreadable, unusable},
    keys::{Keys, PREFIX},
    news::News,
};
use super::{BoxFuture, Lease, Record, SaveOutcome, TokenStore};
use crate::{
    error::{BoxError, Error},
    token::Tokens,
};

pub use self::connect::{Connect, ConnectFn, connect_fn};

/// Keeps the tokens in Redis or Valkey, for all processes of a fleet.
///
/// All stores with one name are one identity: one process at a time calls the token endpoint, and
/// the others use what it got.
///
/// ```no_run
/// use tower_refresh::{Session, Tokens, endpoint::JsonEndpoint, store::RedisStore};
///
/// # async fn doc() -> Result<(), tower_refresh::BoxError> {
/// let client = redis::Client::open("redis://redis.internal/")?;
/// let connection = client.get_connection_manager().await?;
/// let store = RedisStore::new(connection, "billing")?.subscribe(client);
///
/// let session = Session::builder(JsonEndpoint::freddy())
///     .initial_tokens(Tokens::from_refresh_token(std::env::var("REFRESH_TOKEN")?)?)
///     .store(store)
///     .build();
/// session.ready().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Connections
///
/// The store takes what [connects](Connect) it: any connection of the [`redis`] crate that can be
/// cloned, or a closure that makes one ([`connect_fn`]). TLS and clusters are set up in that crate.
///
/// | server | connect with |
/// |---|---|
/// | one address | [`ConnectionManager`](redis::aio::ConnectionManager), which connects again by itself |
/// | a cluster | `ClusterConnection` |
/// | Sentinel | [`connect_fn`], because after a failover the primary has another address |
///
/// A plain `MultiplexedConnection` that is lost stays lost, unless it comes from a [`connect_fn`].
/// The connection may be shared with the rest of the program, but not with blocking commands
/// (`BLPOP`), which would hold up all others. If it leads to a replica, as it may after a failover,
/// it is closed, so that the next one finds the new primary.
///
/// A machine that is gone without a word, with its power or its network, closes no connection. The
/// kernel gives such a one up after a quarter of an hour, and until then not even a
/// `ConnectionManager` connects to the successor. On Linux a shorter time can be set where the
/// client is made:
///
/// ```
/// use std::time::Duration;
/// use redis::{Client, IntoConnectionInfo};
///
/// # fn doc() -> Result<(), tower_refresh::BoxError> {
/// let mut info = "redis://redis.internal/".into_connection_info()?;
/// # #[cfg(target_os = "linux")] {
/// let tcp = info.tcp_settings().clone().set_user_timeout(Duration::from_secs(5));
/// info = info.set_tcp_settings(tcp);
/// # }
/// let client = Client::open(info)?;
/// # Ok(())
/// # }
/// # doc().unwrap();
/// ```
///
/// # Keys
///
/// | key | type | holds |
/// |---|---|---|
/// | `tower-refresh:{NAME}:record` | hash | `record`, a [`Record`] as JSON **with the secrets in it**; its `version`, and what tells whether to send a message: `turn`, `leased`, `kept` (a hash of the tokens) |
/// | `tower-refresh:{NAME}:changed` | channel | a message when the tokens change, and when a lease is given back |
///
/// The braces are part of the names: they keep one session in one slot of a cluster. The
/// [prefix](Self::with_prefix) can be chosen. The record does not expire, not even after a log-out,
/// which has to be remembered.
///
/// A user of the server (Redis 6.2 or newer, Valkey) needs these rights:
///
/// ```text
/// ACL SETUSER billing on >PASSWORD resetchannels &tower-refresh:* ~tower-refresh:*
///     +hmget +hset +publish +evalsha +script|load +subscribe +ping
/// ```
///
/// # What Redis may lose
///
/// A rotated refresh token is as safe as the server's data: set `appendonly yes`, and `noeviction`
/// or one of the `volatile-` policies as `maxmemory-policy`. With `appendfsync everysec` (the
/// default) a crash, and with Sentinel or a cluster a failover, may lose what was saved last. A
/// session puts it back if its process is alive; if that dies at the same moment, the token is
/// gone and the user has to log in again.
#[must_use = "a store does nothing before a session has it"]
pub struct RedisStore<C> {
    connect: C,
    keys: Keys,
    news: News,
}

impl<C: Connect> RedisStore<C> {
    /// The store of this name, at the server that `connect` leads to. Nothing is sent yet.
    ///
    /// The name stands for an identity, such as a service account; it is part of the
    /// [keys](Self#keys), and no secret.
    ///
    /// # Errors
    ///
    /// If the name is empty, longer than 256 bytes, or has braces or control characters in it.
    pub fn new(connect: C, name: impl AsRef<str>) -> Result<Self, Error> {
        Self::with_prefix(connect, PREFIX, name)
    }

    /// The same with another prefix of the [keys](Self#keys) than `tower-refresh`: `"prod:tokens"`
    /// makes them `prod:tokens:{NAME}:record` and so on.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new), for the prefix as for the name.
    pub fn with_prefix(
        connect: C,
        prefix: impl AsRef<str>,
        name: impl AsRef<str>,
    ) -> Result<Self, Error> {
        let keys = Keys::new(prefix.as_ref(), name.as_ref())?;
        Ok(Self { connect, keys, news: News::default() })
    }

    /// Hears of changes by a subscription, on a connection of its own that this client makes when
    /// a session first waits, and makes again when it is lost. In a cluster any node will do.
    ///
    /// Defaults to no subscription. Then a session hears of what another process did when it looks
    /// at the store, which costs a command each time: about every 2 s while it is used, and while
    /// it waits for another's refresh after 100 ms, then at growing intervals of up to 1 s. One
    /// that is idle sends nothing.
    pub fn subscribe(self, client: Client) -> Self {
        self.subscribe_with(move || {
            let client = client.clone();
            async move { client.get_async_pubsub().await }
        })
    }

    /// The same with a closure that makes the connection, for where the address of the server can
    /// change: see [`connect_fn`].
    pub fn subscribe_with<F, Fut, E>(mut self, connect: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<PubSub, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.news.subscribe_with(connect);
        self
    }

    async fn run<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, Failure> {
        let (mut connection, number) = self.connect.connection().await.map_err(Failure::Connect)?;
        let result = script.invoke_async(&mut connection).await;
        if let Err(error) = &result {
            let of_replica = is_of_replica(error);
            if of_replica {
                // A primary that becomes a replica keeps its connections, and to a
                // `ConnectionManager` they are as good as before: it would not look for the new
                // primary in its life.
                let _ = redis::cmd("QUIT").exec_async(&mut connection).await;
            }
            if of_replica || error.is_io_error() {
                self.connect.discard(number).await;
            }
        }
        result.map_err(Failure::Script)
    }
}

impl<C: Connect> TokenStore for RedisStore<C> {
    fn load(&self) -> BoxFuture<'_, Result<Option<Record>, BoxError>> {
        let key = &self.keys.record;
        async move {
            let loaded = self.run(&scripts::LOAD.key(key)).await;
            let loaded: (Option<String>, Option<Vec<u8>>) =
                loaded.map_err(|error| failed("load the tokens", key, error))?;
            match loaded {
                (None, None) => Ok(None),
                (Some(version), Some(json)) => {
                    let record = Record::from_json(&Zeroizing::new(json));
                    let record = record.map_err(|error| unreadable(key, &error))?;
                    match version == record.version().to_string() {
                        true => Ok(Some(record)),
                        false => Err(unusable(key, "has two fields with different versions")),
                    }
                }
                _ => Err(unusable(key, "has not all its fields")),
            }
        }
        .boxed()
    }

    fn save(
        &self,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'_, Result<SaveOutcome, BoxError>> {
        let Keys { record: key, changed } = &self.keys;
        async move {
            let json = record.to_json()?;
            let mut save = scripts::SAVE.key(key);
            save.arg(expected.map_or_else(String::new, |version| version.to_string()))
                .arg(record.version())
                .arg(record.turn())
                .arg(record.lease().map_or("", Lease::owner))
                .arg(kept(&record).as_slice())
                .arg(changed)
                .arg(json.as_slice());
            let saved = self.run(&save).await;
            match saved.map_err(|error| failed("save the tokens", key, error))? {
                true => Ok(SaveOutcome::Stored),
                false => Ok(SaveOutcome::Conflict),
            }
        }
        .boxed()
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        let news = self.news.since_now();
        async move {
            self.news.listen(&self.keys.changed);
            news.await;
        }
        .boxed()
    }
}

/// What a change of is news, as far as it can be read. It stays out of what is stored.
fn kept(record: &Record) -> Zeroizing<Vec<u8>> {
    let access = record.tokens().and_then(Tokens::access_token).map(|token| token.expose());
    let refresh = record.tokens().and_then(Tokens::refresh_token).map(|token| token.expose());
    let parts = [access.unwrap_or_default(), "\n", refresh.unwrap_or_default()];
    let log_out = if record.is_logged_out() { "logged out" } else { "" };
    let mut kept = Zeroizing::new(Vec::with_capacity(
        parts.iter().map(|part| part.len()).sum::<usize>() + log_out.len(),
    ));
    parts.into_iter().chain([log_out]).for_each(|part| kept.extend_from_slice(part.as_bytes()));
    kept
}

impl<C> fmt::Debug for RedisStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("record", &self.keys.record)
            .field("subscribed", &self.news.is_subscribed())
            .finish_non_exhaustive()
    }
}
