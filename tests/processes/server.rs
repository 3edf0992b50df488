//! A Redis server for one test: started on a free port with its data in a directory of its own,
//! and killed when dropped.

use std::{
    io,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tower_refresh::store::RedisStore;

pub(crate) type Store = RedisStore<ConnectionManager>;

pub(crate) struct RedisServer {
    process: Option<Child>,
    port: u16,
    dir: TempDir,
    keeps_data: bool,
}

impl RedisServer {
    /// It forgets everything when it ends.
    pub(crate) async fn start() -> Self {
        Self::with(false).await
    }

    /// It writes everything to disk before it answers.
    pub(crate) async fn durable() -> Self {
        Self::with(true).await
    }

    async fn with(keeps_data: bool) -> Self {
        // Somebody else may take the port before the server does.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let dir = tempfile::tempdir().unwrap();
            let mut server = Self { process: None, port, dir, keeps_data };
            if server.try_up().await {
                return server;
            }
        }
        panic!("redis-server does not start");
    }

    /// Starts it again, after [`kill`](Self::kill).
    pub(crate) async fn up(&mut self) {
        assert!(self.try_up().await, "redis-server does not start again");
    }

    async fn try_up(&mut self) -> bool {
        self.process = Some(spawn(self.dir.path(), self.port, self.keeps_data));
        let up = async {
            while !self.answers().await.unwrap_or(false) {
                if self.process.as_mut().unwrap().try_wait().unwrap().is_some() {
                    return false;
                }
                sleep(Duration::from_millis(10)).await;
            }
            true
        };
        timeout(Duration::from_secs(20), up).await.unwrap_or(false)
    }

    /// Whether it is up, and not the server of another test that has taken the port.
    async fn answers(&self) -> redis::RedisResult<bool> {
        let mut connection = self.client().get_multiplexed_async_connection().await?;
        let (_, dir): (String, String) =
            redis::cmd("CONFIG").arg("GET").arg("dir").query_async(&mut connection).await?;
        Ok(Path::new(&dir).file_name() == self.dir.path().file_name())
    }

    /// Without a chance to say or write anything.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Connections stay, and nothing is answered.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        // The shell's own: not every system has a program of that name.
        let kill = format!("kill {signal} {}", self.process.as_ref().unwrap().id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) async fn replicates(&self, primary: &Self) {
        // It waits for more replicas first, by default.
        let _: () = primary.run("CONFIG SET repl-diskless-sync-delay 0").await;
        let _: () = self.run(&format!("REPLICAOF 127.0.0.1 {}", primary.port)).await;
    }

    pub(crate) fn client(&self) -> Client {
        Client::open(self.url()).unwrap()
    }

    /// A store on a connection of its own, as another process has it, with a subscription.
    pub(crate) fn store(&self) -> Store {
        self.store_without_subscription().subscribe(self.client())
    }

    pub(crate) fn store_without_subscription(&self) -> Store {
        store(&self.url())
    }

    pub(crate) async fn connection(&self) -> redis::aio::MultiplexedConnection {
        self.client().get_multiplexed_async_connection().await.unwrap()
    }

    /// What an operator does at the prompt.
    pub(crate) async fn run<T: redis::FromRedisValue>(&self, command: &str) -> T {
        // The client's own half second is little on a busy machine.
        let patience = Some(Duration::from_secs(10));
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(patience)
            .set_response_timeout(patience);
        let client = self.client();
        let connection = client.get_multiplexed_async_connection_with_config(&config).await;
        let mut connection = connection.unwrap_or_else(|error| panic!("{command}: {error}"));
        let mut words = command.split(' ');
        let mut cmd = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            cmd.arg(word);
        });
        cmd.query_async(&mut connection).await.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// How many subscriptions to the session's channel there are.
    pub(crate) async fn subscribers(&self) -> usize {
        let (_, subscribers): (String, usize) = self.run(&format!("PUBSUB NUMSUB {CHANGED}")).await;
        subscribers
    }

    pub(crate) async fn subscribers_reach(&self, wanted: usize) {
        let reached = async {
            while self.subscribers().await != wanted {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let reached = timeout(Duration::from_secs(10), reached).await;
        reached.unwrap_or_else(|_| panic!("there never were {wanted} subscribers"));
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) const NAME: &str = "billing";
pub(crate) const RECORD: &str = "tower-refresh:{billing}:record";
pub(crate) const CHANGED: &str = "tower-refresh:{billing}:changed";

pub(crate) fn store(url: &str) -> Store {
    let config = ConnectionManagerConfig::new().set_max_delay(Duration::from_millis(200));
    let client = Client::open(url).unwrap();
    let connection = ConnectionManager::new_lazy_with_config(client, config).unwrap();
    RedisStore::new(connection, NAME).unwrap()
}

fn spawn(dir: &Path, port: u16, keeps_data: bool) -> Child {
    let child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .args(["--appendonly", if keeps_data { "yes" } else { "no" }, "--appendfsync", "always"])
        .arg("--dir")
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match child {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => panic!(
            "these tests need a real Redis, and there is no `redis-server` on the PATH: \
             `apt-get install redis-server` (or `brew install redis`), or let `tests/run` do it"
        ),
        Err(error) => panic!("redis-server cannot be started: {error}"),
    }
}
