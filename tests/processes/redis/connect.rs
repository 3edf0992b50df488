//! A store whose server can have another address tomorrow.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use redis::Client;
use tower_refresh::store::{Connect, RedisStore, SaveOutcome, TokenStore, connect_fn};

use super::support::{access_token, auth_server, eventually, record, session};
use crate::server::{NAME, RedisServer};

/// Who is the primary, as Sentinel would tell.
#[derive(Clone)]
struct Sentinel {
    primary: Arc<Mutex<Client>>,
    asked: Arc<AtomicUsize>,
}

impl Sentinel {
    fn new(primary: &RedisServer) -> Self {
        Self { primary: Arc::new(Mutex::new(primary.client())), asked: Arc::default() }
    }

    fn promotes(&self, server: &RedisServer) {
        *self.primary.lock().unwrap() = server.client();
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }

    fn primary(&self) -> Client {
        self.asked.fetch_add(1, SeqCst);
        self.primary.lock().unwrap().clone()
    }

    fn connect(&self) -> impl Connect + use<> {
        let sentinel = self.clone();
        connect_fn(move || {
            let primary = sentinel.primary();
            async move { primary.get_multiplexed_async_connection().await }
        })
    }

    fn store(&self) -> RedisStore<impl Connect + use<>> {
        let sentinel = Self { asked: Arc::default(), ..self.clone() };
        RedisStore::new(self.connect(), NAME).unwrap().subscribe_with(move || {
            let primary = sentinel.primary();
            async move { primary.get_async_pubsub().await }
        })
    }
}

#[tokio::test]
async fn what_a_closure_has_connected_is_kept_until_it_fails() {
    let (mut old, new) = (RedisServer::start().await, RedisServer::start().await);
    let sentinel = Sentinel::new(&old);
    let store = sentinel.store();
    assert_eq!(sentinel.asked(), 0, "nothing is sent yet");
    assert_eq!(store.save(record(1, None), None).await.unwrap(), SaveOutcome::Stored);
    for _ in 0..10 {
        store.load().await.unwrap().unwrap();
    }
    assert_eq!(sentinel.asked(), 1);

    old.kill();
    sentinel.promotes(&new);
    let error = store.load().await.unwrap_err().to_string();
    assert!(error.contains("is the server up?"), "{error}");
    assert!(store.load().await.unwrap().is_none(), "the new server is empty");
    assert_eq!(sentinel.asked(), 2);
    let calls = (0..8).map(|_| store.load());
    futures::future::try_join_all(calls).await.unwrap();
    assert_eq!(sentinel.asked(), 2);
}

#[tokio::test]
async fn a_replica_is_left_for_the_server_that_the_closure_then_finds() {
    let (old, new) = (RedisServer::start().await, RedisServer::start().await);
    let sentinel = Sentinel::new(&old);
    let store = sentinel.store();
    store.save(record(1, None), None).await.unwrap();
    old.replicates(&new).await;
    sentinel.promotes(&new);
    // Until it has the new primary's data it would rather see a conflict than write.
    eventually(async || match store.load().await {
        Ok(None) => Ok(()),
        other => Err(format!("the replica has not been emptied: {other:?}")),
    })
    .await;
    let refused = store.save(record(1, None), None).await.unwrap_err().to_string();
    assert!(refused.contains("this is a replica"), "{refused}");
    assert_eq!(store.save(record(1, None), None).await.unwrap(), SaveOutcome::Stored);
    assert_eq!(sentinel.asked(), 2);
}

#[tokio::test]
async fn sessions_go_on_with_a_server_at_another_address() {
    let (mut old, new) = (RedisServer::start().await, RedisServer::start().await);
    let server = auth_server().await;
    let login = server.log_in();
    let sentinel = Sentinel::new(&old);
    let [here, there] = [(); 2].map(|()| session(&server, &login, sentinel.store()));
    here.refresh().await.unwrap();
    there.refresh().await.unwrap();
    old.subscribers_reach(2).await;

    old.kill();
    sentinel.promotes(&new);
    eventually(async || here.refresh().await).await;
    eventually(async || there.refresh().await).await;
    eventually(async || match access_token(&here) == access_token(&there) {
        true => Ok(()),
        false => Err("they have not met"),
    })
    .await;
    let stored = new.store().load().await.unwrap().unwrap();
    let stored = stored.tokens().unwrap().access_token().unwrap().expose().to_owned();
    assert_eq!(stored, access_token(&here));
    new.subscribers_reach(2).await;
    let counts = server.counts();
    assert_eq!((counts.reuses, counts.rejected), (0, 0), "{counts:?}");
}

#[tokio::test]
async fn a_closure_that_fails_says_why_and_is_asked_again() {
    let redis = RedisServer::start().await;
    let failures = Arc::new(AtomicUsize::new(1));
    let client = redis.client();
    let connect = connect_fn(move || {
        let fails = failures.load(SeqCst) > 0;
        failures.store(0, SeqCst);
        let client = client.clone();
        async move {
            match fails {
                true => Err("sentinel knows no primary".into()),
                false => Ok::<_, tower_refresh::BoxError>(
                    client.get_multiplexed_async_connection().await?,
                ),
            }
        }
    });
    let store = RedisStore::new(connect, NAME).unwrap();
    let error = store.load().await.unwrap_err();
    assert!(format!("{error:?}").contains("sentinel knows no primary"), "{error:?}");
    assert!(error.to_string().contains("connect with"), "{error}");
    assert!(store.load().await.unwrap().is_none());
}

/// An error of the client's own is told as one from a call is.
#[tokio::test]
async fn a_closure_that_finds_no_server_is_told_as_such() {
    let mut redis = RedisServer::start().await;
    redis.kill();
    let client = redis.client();
    let connect = connect_fn(move || {
        let client = client.clone();
        async move { client.get_multiplexed_async_connection().await }
    });
    let error = RedisStore::new(connect, NAME).unwrap().load().await.unwrap_err().to_string();
    assert!(error.contains("is the server up?"), "{error}");
}
