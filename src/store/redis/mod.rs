mod error;
mod keys;
mod news;
mod scripts;

use std::{fmt, time::Duration};

use futures_util::future::FutureExt;
use redis::{Client, FromRedisValue, RedisError, ScriptInvocation, aio::ConnectionLike};
use zeroize::Zeroizing;

use self::{
    error::{failed, is_of_replica, unreadable},
    keys::Keys,
    news::News,
};
use super::{BoxFuture, Record, Saved, TokenStore};
use crate::error::{BoxError, Error};

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
/// Any connection of the [`redis`] crate will do that can be cloned: TLS, Sentinel and clusters
/// are set up there. Take one that connects again by itself, such as
/// [`ConnectionManager`](redis::aio::ConnectionManager) or `ClusterConnection`; a plain
/// `MultiplexedConnection` that is lost stays lost. The connection may be shared with the rest of
/// the program, but not with blocking commands (`BLPOP`), which would hold up all others. If it
/// leads to a replica, as it may after a failover, it is closed, so that it finds the new primary
/// when it connects again.
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
/// | `tower-refresh:{NAME}:record` | hash | `record`, a [`Record`] as JSON **with the secrets in it**, and its `version` |
/// | `tower-refresh:{NAME}:lease` | string | who may call the token endpoint now; expires by itself |
/// | `tower-refresh:{NAME}:changed` | channel | a message with each save, and when the lease is given back |
///
/// The braces are part of the names: they keep one session in one slot of a cluster. The
/// [`prefix`](Self::prefix) can be chosen. The record does not expire, not even after a log-out,
/// which has to be remembered.
///
/// A user of the server (Redis 6.2 or newer, Valkey) needs these rights:
///
/// ```text
/// ACL SETUSER billing on >PASSWORD resetchannels &tower-refresh:* ~tower-refresh:*
///     +hget +hmget +hset +get +set +pexpire +del +publish
///     +evalsha +script|load +subscribe +ping
/// ```
///
/// # What Redis may lose
///
/// A rotated refresh token is as safe as the server's data: set `appendonly yes`, and `noeviction`
/// or one of the `volatile-` policies as `maxmemory-policy`. With `appendfsync everysec` (the
/// default) a crash, and with Sentinel or a cluster a failover, may lose what was saved last. A
/// session puts it back if its process is alive; if that dies at the same moment, the token is
/// gone and somebody has to log in.
#[must_use = "a store does nothing before a session has it"]
pub struct RedisStore<C> {
    connection: C,
    keys: Keys,
    news: News,
}

impl<C> RedisStore<C> {
    /// The store of this name, on a connection of yours. Nothing is sent yet.
    ///
    /// The name stands for an identity, such as a service account; it is part of the
    /// [keys](Self#keys), and no secret.
    ///
    /// # Errors
    ///
    /// If the name is empty, longer than 256 bytes, or has braces or control characters in it.
    pub fn new(connection: C, name: impl Into<String>) -> Result<Self, Error> {
        Ok(Self { connection, keys: Keys::new(name.into())?, news: News::default() })
    }

    /// What the names of the [keys](Self#keys) begin with. `prefix("prod:tokens")` makes them
    /// `prod:tokens:{NAME}:record` and so on.
    ///
    /// Defaults to `tower-refresh`.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn prefix(mut self, prefix: impl Into<String>) -> Result<Self, Error> {
        self.keys = self.keys.with_prefix(prefix.into())?;
        Ok(self)
    }

    /// Hears of changes by a subscription, on a connection of its own that this client makes when
    /// somebody first waits, and makes again when it is lost. In a cluster any node will do.
    ///
    /// Defaults to no subscription. Then a session hears of what another process did when it looks
    /// at the store, which costs a command each time: about every 2 s, and about every 100 ms while
    /// it waits for another's refresh.
    pub fn subscribe(mut self, client: Client) -> Self {
        self.news.subscribe_with(client);
        self
    }
}

impl<C: ConnectionLike + Clone> RedisStore<C> {
    async fn run<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, RedisError> {
        let mut connection = self.connection.clone();
        let result = script.invoke_async(&mut connection).await;
        if result.as_ref().is_err_and(is_of_replica) {
            // A primary that becomes a replica keeps its connections, and to a `ConnectionManager`
            // they are as good as before: it would not look for the new primary in its life.
            let _ = redis::cmd("QUIT").exec_async(&mut connection).await;
        }
        result
    }
}

impl<C> TokenStore for RedisStore<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    fn load(&self) -> BoxFuture<'_, Result<Option<Record>, BoxError>> {
        let key = &self.keys.record;
        async move {
            let loaded = self.run(&scripts::LOAD.key(key)).await;
            let loaded: (Option<String>, Option<Vec<u8>>) =
                loaded.map_err(|error| failed("load the tokens", key, error))?;
            match loaded {
                (None, None) => Ok(None),
                (Some(version), Some(json)) => {
                    let record = parse(&version, &Zeroizing::new(json));
                    Ok(Some(record.map_err(|error| unreadable(key, &error))?))
                }
                _ => Err(unreadable(key, "one of its fields is missing")),
            }
        }
        .boxed()
    }

    fn save(
        &self,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'_, Result<Saved, BoxError>> {
        let Keys { record: key, changed, .. } = &self.keys;
        async move {
            let json = record.to_json()?;
            let mut save = scripts::SAVE.key(key);
            save.arg(expected.map_or_else(String::new, |version| version.to_string()))
                .arg(record.version())
                .arg(changed)
                .arg(json.as_slice());
            let saved = self.run(&save).await;
            match saved.map_err(|error| failed("save the tokens", key, error))? {
                true => Ok(Saved::Yes),
                false => Ok(Saved::Conflict),
            }
        }
        .boxed()
    }

    fn lease<'a>(
        &'a self,
        owner: &'a str,
        life: Duration,
    ) -> BoxFuture<'a, Result<bool, BoxError>> {
        let key = &self.keys.lease;
        async move {
            let millis = u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1);
            let held = self.run(scripts::LEASE.key(key).arg(owner).arg(millis)).await;
            held.map_err(|error| failed("take the lease", key, error))
        }
        .boxed()
    }

    fn release<'a>(&'a self, owner: &'a str) -> BoxFuture<'a, Result<(), BoxError>> {
        let Keys { lease: key, changed, .. } = &self.keys;
        async move {
            let released = self.run(scripts::RELEASE.key(key).arg(owner).arg(changed)).await;
            let _held: bool =
                released.map_err(|error| failed("give the lease back", key, error))?;
            Ok(())
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

/// The error says nothing of what is in the record.
fn parse(version: &str, json: &[u8]) -> Result<Record, String> {
    let record: Record = serde_json::from_slice(json).map_err(|error| {
        let (kind, column) = (error.classify(), error.column());
        format!("its JSON is not that of a record ({kind:?} error at column {column})")
    })?;
    if version != record.version().to_string() {
        return Err("its two fields have different versions".to_owned());
    }
    Ok(record)
}

impl<C> fmt::Debug for RedisStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("record", &self.keys.record)
            .field("subscribed", &self.news.is_subscribed())
            .finish_non_exhaustive()
    }
}
