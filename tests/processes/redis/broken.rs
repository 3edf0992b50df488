//! A connection that breaks once, in the middle of a refresh.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use futures::FutureExt;
use http::StatusCode;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};
use tower_refresh::{
    Event,
    store::{Record, TokenStore},
    testing::Login,
};

use super::support::{access_token, auth_server, builder, client, get};
use crate::server::{RedisServer, store};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Lost {
    /// The server has not seen the command.
    Command,
    /// The server has carried it out.
    Answer,
}

/// Stands between a store and its server, and breaks one connection.
struct Proxy {
    url: String,
    /// Which of the next commands is lost, and how.
    breaks: Arc<Mutex<Option<(usize, Lost)>>>,
}

impl Proxy {
    async fn to(redis: &RedisServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}/", listener.local_addr().unwrap());
        let breaks: Arc<Mutex<_>> = Arc::default();
        let (port, shared) = (redis.port(), breaks.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tokio::spawn(pass_on(client, server, shared.clone()));
            }
        });
        Self { url, breaks }
    }

    /// Breaks the connection over the command of this number, counted from now on.
    fn breaks_at(&self, command: usize, lost: Lost) {
        *self.breaks.lock().unwrap() = Some((command, lost));
    }

    fn has_broken(&self) -> bool {
        self.breaks.lock().unwrap().is_none()
    }
}

/// What is lost with this command, if it is its turn.
fn next_loss(breaks: &Mutex<Option<(usize, Lost)>>) -> Option<Lost> {
    let mut breaks = breaks.lock().unwrap();
    let (command, lost) = breaks.as_mut()?;
    *command -= 1;
    let lost = (*command == 0).then_some(*lost);
    if lost.is_some() {
        *breaks = None;
    }
    lost
}

async fn pass_on(
    mut client: TcpStream,
    mut server: TcpStream,
    breaks: Arc<Mutex<Option<(usize, Lost)>>>,
) -> std::io::Result<()> {
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let sent = &up[..read?];
                if sent.is_empty() {
                    return Ok(());
                }
                let is_command = sent.windows(7).any(|word| word == b"EVALSHA");
                let lost = if is_command { next_loss(&breaks) } else { None };
                if lost == Some(Lost::Command) {
                    return Ok(());
                }
                server.write_all(sent).await?;
                if lost == Some(Lost::Answer) {
                    let _answered = server.read(&mut down).await?;
                    return Ok(());
                }
            }
            read = server.read(&mut down) => {
                let answered = &down[..read?];
                if answered.is_empty() {
                    return Ok(());
                }
                client.write_all(answered).await?;
            }
        }
    }
}

/// Tokens that are due for a refresh, and live for some time yet.
fn near_its_end(login: &Login) -> Record {
    let hour = Duration::from_secs(3600);
    let obtained_at = SystemTime::now() - hour + Duration::from_secs(25);
    let obtained_at = obtained_at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    serde_json::from_value(json!({
        "format": "tower-refresh/1",
        "version": 1,
        "turn": 1,
        "tokens": {
            "access_token": login.access_token,
            "refresh_token": login.refresh_token,
            "obtained_at": obtained_at.as_millis() as u64,
            "life": hour.as_millis() as u64,
        },
    }))
    .unwrap()
}

// S100: a Redis connection that breaks once in the middle of a refresh costs nothing
#[tokio::test]
async fn a_connection_that_breaks_once_over_a_refresh_is_noticed_by_nobody() {
    for (number, command) in [(1, "load"), (2, "lease"), (3, "save")] {
        for lost in [Lost::Command, Lost::Answer] {
            let (redis, server) = (RedisServer::start().await, auth_server().await);
            let (login, proxy) = (server.log_in(), Proxy::to(&redis).await);
            redis.store().save(near_its_end(&login), None).await.unwrap();
            // After an outage it leaves a shared refresh token alone for the life of a lease.
            let session = builder(&server, &login).store(store(&proxy.url));
            let session = session.lease(Duration::from_millis(300)).build();
            session.ready().await.unwrap();
            let (client, mut events) = (client(&session), session.events());

            proxy.breaks_at(number, lost);
            let start = Instant::now();
            while server.counts().refreshes == 0
                || access_token(&session) == login.access_token
                || !proxy.has_broken()
            {
                let asked = Instant::now();
                assert_eq!(get(&client, &server.api_url()).await.unwrap(), StatusCode::OK);
                let held_up = asked.elapsed() > Duration::from_secs(1);
                assert!(!held_up && start.elapsed() < Duration::from_secs(9), "{command} {lost:?}");
                sleep(Duration::from_millis(5)).await;
            }
            let mut told = Vec::new();
            while let Some(Some(event)) = events.next().now_or_never() {
                told.push(event);
            }
            let [Event::Refreshed { adopted: false, .. }] = told[..] else {
                panic!("{command} {lost:?}: {told:?}");
            };
            let counts = server.counts();
            assert_eq!((counts.calls, counts.reuses), (1, 0), "{command} {lost:?}");
            let stored = redis.store().load().await.unwrap().unwrap();
            let stored = stored.tokens().unwrap().access_token().unwrap().expose().to_owned();
            assert_eq!(stored, access_token(&session), "{command} {lost:?}");
        }
    }
}
