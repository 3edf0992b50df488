//! A fleet behind one address, at which another server answers after a failover.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering::SeqCst},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tower_refresh::store::TokenStore;

use super::support::{access_token, auth_server, eventually, session};
use crate::server::{RedisServer, store};

/// An address that leads new connections to another server than the old ones, which stay.
struct Address {
    url: String,
    target: Arc<AtomicU16>,
}

impl Address {
    async fn of(server: &RedisServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}/", listener.local_addr().unwrap());
        let target = Arc::new(AtomicU16::new(server.port()));
        let now = target.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let port = now.load(SeqCst);
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
                    copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Self { url, target }
    }

    fn leads_to(&self, server: &RedisServer) {
        self.target.store(server.port(), SeqCst);
    }
}

/// The access token that a server keeps, if it can tell.
async fn kept(redis: &RedisServer) -> Option<String> {
    let record = redis.store().load().await.ok()??;
    Some(record.tokens()?.access_token()?.expose().to_owned())
}

#[tokio::test]
async fn a_primary_that_became_a_replica_is_left_for_the_new_one() {
    let (old, new) = (RedisServer::start().await, RedisServer::start().await);
    let server = auth_server().await;
    new.replicates(&old).await;
    let address = Address::of(&old).await;
    let session = session(&server, &server.log_in(), store(&address.url));
    session.refresh().await.unwrap();
    eventually(async || match kept(&new).await == Some(access_token(&session)) {
        true => Ok(()),
        false => Err("the replica does not have it"),
    })
    .await;

    let _: () = new.run("REPLICAOF NO ONE").await;
    old.replicates(&new).await;
    address.leads_to(&new);
    eventually(async || session.refresh().await).await;

    assert_eq!(kept(&new).await, Some(access_token(&session)));
    let counts = server.counts();
    assert_eq!((counts.reuses, counts.rejected), (0, 0), "{counts:?}");
}
