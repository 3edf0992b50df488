//! Starts the members, kills some of them, and listens to what they report.

use std::{
    io,
    pin::Pin,
    time::{Duration, Instant},
};

use futures::future::join_all;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout},
    sync::watch,
    task::JoinHandle,
    time::{interval, timeout},
};
use tower_refresh::{BoxError, testing::AuthServer};

use crate::{
    member::{Orders, Progress},
    table::{Live, Row, State, Summary, Totals},
};

pub(crate) const SIZE: usize = 8;
const TOKEN_LIFE: Duration = Duration::from_secs(2);
const BETWEEN_DRAWINGS: Duration = Duration::from_millis(200);
/// Whoever starts has so much time before the end at least.
const NO_MORE_KILLS: Duration = Duration::from_secs(2);
const ORDERLY_END: Duration = Duration::from_secs(20);

pub(crate) struct Fleet {
    server: AuthServer,
    orders: Orders,
    members: Vec<Member>,
    start: Instant,
}

impl Fleet {
    pub(crate) async fn start(redis_url: String) -> Result<Self, BoxError> {
        let server = AuthServer::builder().rotate(true).access_life(TOKEN_LIFE).start().await?;
        let orders = Orders {
            redis_url,
            refresh_url: server.refresh_url(),
            api_url: server.api_url(),
            refresh_token: server.log_in().refresh_token,
        };
        let members = (0..SIZE).map(|_| Member::start(&orders)).collect::<Result<_, _>>()?;
        Ok(Self { server, orders, members, start: Instant::now() })
    }

    /// Lets them work and die for so long, or until somebody has seen enough.
    pub(crate) async fn run(
        &mut self,
        time: Duration,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), BoxError> {
        let live = Live::new();
        let mut ticks = interval(BETWEEN_DRAWINGS);
        let mut next_kill = until_next_kill();
        while self.start.elapsed() < time {
            tokio::select! {
                _ = ticks.tick() => {}
                () = &mut stop => break,
            }
            if self.start.elapsed() >= next_kill {
                if self.start.elapsed() + NO_MORE_KILLS < time {
                    self.replace_one().await?;
                }
                next_kill = self.start.elapsed() + until_next_kill();
            }
            live.draw(&self.living(), &self.totals());
        }
        Ok(())
    }

    /// Lets those that are left end in order.
    pub(crate) async fn stop(mut self) -> Summary {
        let totals = self.totals();
        join_all(self.members.iter_mut().map(Member::stop)).await;
        let counts = self.server.counts();
        let rows: Vec<_> = self.rows(|_| true);
        Summary::new(&rows, &Totals { counts, ..totals })
    }

    async fn replace_one(&mut self) -> io::Result<()> {
        let living = self.members.iter_mut().filter(|member| member.state == State::Running);
        if let Some(victim) = fastrand::choice(living.collect::<Vec<_>>()) {
            victim.kill().await?;
        }
        self.members.push(Member::start(&self.orders)?);
        Ok(())
    }

    fn living(&self) -> Vec<Row> {
        self.rows(|member| member.state == State::Running)
    }

    fn rows(&self, shown: impl Fn(&Member) -> bool) -> Vec<Row> {
        let members = self.members.iter().enumerate().filter(|(_, member)| shown(member));
        members.map(|(i, member)| member.row(i + 1)).collect()
    }

    fn totals(&self) -> Totals {
        let killed = |member: &&Member| matches!(member.state, State::Killed(_));
        Totals {
            elapsed: self.start.elapsed(),
            token_life: TOKEN_LIFE,
            kills: self.members.iter().filter(killed).count(),
            counts: self.server.counts(),
        }
    }
}

/// A process, and what it said last.
struct Member {
    process: Child,
    pid: u32,
    start: Instant,
    state: State,
    progress: watch::Receiver<Progress>,
    reader: JoinHandle<()>,
}

impl Member {
    fn start(orders: &Orders) -> io::Result<Self> {
        let mut command = tokio::process::Command::from(orders.command()?);
        let mut process = command.kill_on_drop(true).spawn()?;
        let (sender, progress) = watch::channel(Progress::default());
        let reader = tokio::spawn(read(process.stdout.take().expect("it is piped"), sender));
        Ok(Self {
            pid: process.id().expect("nobody has waited for its end"),
            process,
            start: Instant::now(),
            state: State::Running,
            progress,
            reader,
        })
    }

    /// SIGKILL: it has no chance to say or save anything.
    async fn kill(&mut self) -> io::Result<()> {
        let ended_before = self.process.try_wait()?.is_some();
        self.process.kill().await?;
        self.state = match ended_before {
            true => State::Died,
            false => State::Killed(self.start.elapsed()),
        };
        Ok(())
    }

    async fn stop(&mut self) {
        if self.state != State::Running {
            return;
        }
        drop(self.process.stdin.take());
        let ended = timeout(ORDERLY_END, self.process.wait()).await;
        if ended.is_err() {
            let _ = self.process.kill().await;
        }
        let _ = (&mut self.reader).await;
        self.state = match self.progress.borrow().ended {
            true => State::Ended,
            false => State::Died,
        };
    }

    fn row(&self, number: usize) -> Row {
        let progress = self.progress.borrow();
        Row {
            number,
            pid: self.pid,
            requests: progress.requests,
            failures: progress.failures,
            refreshes: progress.refreshes,
            error: progress.error.clone(),
            state: self.state,
        }
    }
}

async fn read(stdout: ChildStdout, progress: watch::Sender<Progress>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // Whoever is killed may leave half a line.
        if let Ok(read) = serde_json::from_str(&line) {
            progress.send_replace(read);
        }
    }
}

fn until_next_kill() -> Duration {
    Duration::from_millis(fastrand::u64(2_000..4_000))
}
