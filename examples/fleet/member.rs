//! One process of the fleet: what a microservice does, and a line of JSON now and then that tells
//! how it goes.

use std::{
    cell::{Cell, RefCell},
    env,
    error::Error,
    io::{self, Write as _},
    process::{Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::join_all;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use serde::{Deserialize, Serialize};
use tokio::{
    io::AsyncReadExt,
    sync::watch,
    time::{interval, sleep},
};
use tower::{Layer, ServiceExt};
use tower_refresh::{
    BoxError, Refresh, RefreshLayer, Session, Tokens, endpoint::JsonEndpoint, store::RedisStore,
};

use crate::redis_server::not_for_ctrl_c;

const ORDERS: &str = "TOWER_REFRESH_FLEET_ORDERS";
const TASKS: usize = 2;
const BETWEEN_REQUESTS: Duration = Duration::from_millis(20);
const BETWEEN_REPORTS: Duration = Duration::from_millis(100);

/// What a member has to know. It travels in the environment, as there is a token in it.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Orders {
    pub(crate) redis_url: String,
    pub(crate) refresh_url: String,
    pub(crate) api_url: String,
    /// What somebody got by logging in once; long spent when a later member starts.
    pub(crate) refresh_token: String,
}

/// A line that a member writes.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Progress {
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    /// Its own calls to the token endpoint that brought a token.
    pub(crate) refreshes: u64,
    /// What its first failure said.
    pub(crate) error: Option<String>,
    /// Whether this is its last line, of an orderly end.
    pub(crate) ended: bool,
}

impl Orders {
    /// None in the process that gives them.
    pub(crate) fn from_env() -> Option<Self> {
        let orders = env::var(ORDERS).ok()?;
        Some(serde_json::from_str(&orders).expect("the fleet has written them"))
    }

    /// This program, as a member. It ends when its stdin does.
    pub(crate) fn command(&self) -> io::Result<Command> {
        let mut command = Command::new(env::current_exe()?);
        command
            .env(ORDERS, serde_json::to_string(self)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        not_for_ctrl_c(&mut command);
        Ok(command)
    }
}

pub(crate) async fn run(orders: Orders) -> Result<ExitCode, BoxError> {
    let refreshes = Arc::new(AtomicU64::new(0));
    let session = session(&orders, refreshes.clone())?;
    // An HTTP client as any other; whoever is given it need not know that there are tokens.
    let http = Client::builder(TokioExecutor::new()).build_http();
    let client = RefreshLayer::new(session.clone()).layer(http);

    let tally = &Tally { refreshes, ..Tally::default() };
    let (stop, stopped) = watch::channel(false);
    let tasks = (0..TASKS).map(|_| send_requests(client.clone(), &orders.api_url, tally, &stopped));
    let work = async {
        tokio::select! {
            _ = join_all(tasks) => {}
            () = report_regularly(tally) => {}
        }
    };
    let listen = async {
        let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
        stop.send_replace(true);
    };
    tokio::join!(work, listen);
    if let Err(error) = session.close().await {
        tally.failed(chain(&error));
    }
    tally.report(true);
    Ok(ExitCode::SUCCESS)
}

fn session(orders: &Orders, refreshes: Arc<AtomicU64>) -> Result<Session, BoxError> {
    let redis = redis::Client::open(orders.redis_url.as_str())?;
    let config = ConnectionManagerConfig::new();
    let connection = ConnectionManager::new_lazy_with_config(redis.clone(), config)?;
    let store = RedisStore::new(connection, "fleet")?.subscribe(redis);
    let endpoint = JsonEndpoint::new(orders.refresh_url.as_str())?.map_response(move |answer| {
        refreshes.fetch_add(1, Relaxed);
        answer
    });
    let seed = Tokens::from_refresh_token(&orders.refresh_token)?;
    Ok(Session::builder(endpoint).name("fleet").initial_tokens(seed).store(store).build())
}

type Http = Client<HttpConnector, Full<Bytes>>;

async fn send_requests(
    client: Refresh<Http>,
    api_url: &str,
    tally: &Tally,
    stopped: &watch::Receiver<bool>,
) {
    while !*stopped.borrow() {
        let request = Request::get(format!("{api_url}/orders")).body(Full::default());
        let request = request.expect("the URL is the server's own");
        match send(&client, request).await {
            Ok(StatusCode::OK) => {}
            Ok(status) => tally.failed(format!("status {status}")),
            Err(error) => tally.failed(chain(&*error)),
        }
        tally.requests.set(tally.requests.get() + 1);
        sleep(BETWEEN_REQUESTS).await;
    }
}

async fn send(
    client: &Refresh<Http>,
    request: Request<Full<Bytes>>,
) -> Result<StatusCode, BoxError> {
    let response = client.clone().oneshot(request).await?;
    let status = response.status();
    response.into_body().collect().await?;
    Ok(status)
}

#[derive(Default)]
struct Tally {
    requests: Cell<u64>,
    failures: Cell<u64>,
    error: RefCell<Option<String>>,
    refreshes: Arc<AtomicU64>,
}

impl Tally {
    fn failed(&self, error: String) {
        self.failures.set(self.failures.get() + 1);
        self.error.borrow_mut().get_or_insert(error);
    }

    fn report(&self, ended: bool) {
        let progress = Progress {
            requests: self.requests.get(),
            failures: self.failures.get(),
            refreshes: self.refreshes.load(Relaxed),
            error: self.error.borrow().clone(),
            ended,
        };
        let line = serde_json::to_string(&progress).expect("numbers and strings");
        // Nobody reads when the fleet was killed, and then the stdin has ended as well.
        let _ = writeln!(io::stdout(), "{line}");
    }
}

async fn report_regularly(tally: &Tally) {
    let mut ticks = interval(BETWEEN_REPORTS);
    loop {
        ticks.tick().await;
        tally.report(false);
    }
}

/// An error with all that is behind it.
fn chain(error: &(dyn Error + 'static)) -> String {
    let all = std::iter::successors(Some(error), |&error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
