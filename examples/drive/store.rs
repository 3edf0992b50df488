//! Where the tokens of a run are kept.

use std::{sync::Arc, time::Duration};

use redis::{
    Client,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tower_refresh::store::{FileStore, RedisStore, TokenStore};

/// How long a lost connection is left alone at most before the next try.
const RECONNECT: Duration = Duration::from_millis(200);

/// The store that `--store` names; `None` is the session's own memory.
///
/// What is wrong is said without repeating a URL, which may have a password in it.
pub(crate) fn open(store: &str, session: &str) -> Result<Option<Arc<dyn TokenStore>>, String> {
    if session.is_empty() {
        return Err("--session is empty: it is the name that processes share a store by".into());
    }
    if store == "memory" {
        return Ok(None);
    }
    if let Some(path) = store.strip_prefix("file:") {
        return Ok(Some(Arc::new(file(path)?)));
    }
    if store.starts_with("redis://") {
        return Ok(Some(Arc::new(redis(store, session)?)));
    }
    Err(match store.split_once("://") {
        Some(("rediss", _)) => "--store: this program has no TLS to Redis: write redis://…",
        _ => "--store: write memory, file:PATH or redis://HOST[:PORT][/DATABASE]",
    }
    .into())
}

fn file(path: &str) -> Result<FileStore, String> {
    let named_host = path.starts_with("//") && !path.starts_with("///");
    if path.is_empty() || named_host {
        return Err("--store: write file:PATH, such as file:tokens.json or file:/var/t.json".into());
    }
    FileStore::new(path).map_err(|error| format!("--store: {error}"))
}

fn redis(url: &str, session: &str) -> Result<RedisStore<ConnectionManager>, String> {
    let unreadable = || "--store: the Redis URL cannot be read: write redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]";
    let client = Client::open(url).map_err(|_| unreadable())?;
    let config = ConnectionManagerConfig::new().set_max_delay(RECONNECT);
    let connection = ConnectionManager::new_lazy_with_config(client.clone(), config)
        .map_err(|_| unreadable())?;
    let store = RedisStore::new(connection, session)
        .map_err(|error| format!("--session {session:?}: {error}"))?;
    Ok(store.subscribe(client))
}
