//! A Redis server of our own, gone when dropped.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::time::{sleep, timeout};
use tower_refresh::BoxError;

const UP: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct RedisServer {
    process: Child,
    port: u16,
    folder: PathBuf,
}

impl RedisServer {
    pub(crate) async fn start() -> Result<Self, BoxError> {
        // Somebody else may take the port before the server does.
        for _ in 0..10 {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            let mut server = Self::spawn(port)?;
            if timeout(UP, server.is_up()).await.is_ok_and(|up| up) {
                return Ok(server);
            }
        }
        Err("redis-server is installed, but does not start".into())
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn spawn(port: u16) -> Result<Self, BoxError> {
        let name = format!("tower-refresh-fleet-{}-{port}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder)?;
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--dir"])
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        not_for_ctrl_c(&mut command);
        match command.spawn() {
            Ok(process) => Ok(Self { process, port, folder }),
            Err(error) => {
                let _ = std::fs::remove_dir_all(&folder);
                Err(match error.kind() {
                    io::ErrorKind::NotFound => "this example needs a real Redis, and there is no \
                         redis-server on the PATH: `apt-get install redis-server`, `brew install \
                         redis`, or whatever your system has"
                        .into(),
                    _ => format!("redis-server cannot be started: {error}").into(),
                })
            }
        }
    }

    /// False if it has ended, as it does when its port is taken.
    async fn is_up(&mut self) -> bool {
        while self.ping().await.is_err() {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return false;
            }
            sleep(Duration::from_millis(10)).await;
        }
        true
    }

    async fn ping(&self) -> redis::RedisResult<()> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd("PING").query_async(&mut connection).await
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A Ctrl-C goes to all processes of the terminal's group, and only the first is to hear of it.
pub(crate) fn not_for_ctrl_c(command: &mut Command) {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    #[cfg(not(unix))]
    let _ = command;
}
