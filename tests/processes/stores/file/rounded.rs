//! Real processes at a provider whose tokens end before they say so.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{Request, Response, header::AUTHORIZATION};
use http_body_util::Full;
use tokio::{task::JoinSet, time};
use tower::{Layer, ServiceExt};
use tower_refresh::{
    BoxError, RefreshLayer, Session, Tokens,
    endpoint::{RefreshRequest, TokenResponse},
    store::FileStore,
};

use super::child::{Child, listen, say};
use crate::stores::support::Folder;

/// What the provider says, and before rounding means.
const LIFE: Duration = Duration::from_secs(2);
const PACE: Duration = Duration::from_millis(4);
const EACH: usize = 4000;

// S70: a token that the API refuses after a half of its life is cured each time, whichever of the
// processes that share it finds out first.
#[test]
fn four_processes_at_a_provider_that_rounds_lives_down_answer_every_request() {
    let folder = Folder::new();
    let path = folder.join("tokens");
    let mut children: Vec<_> = (0..4).map(|_| Child::start("rounded", &path, EACH)).collect();
    children.iter_mut().for_each(|child| assert_eq!(child.says().unwrap(), "ready"));
    children.iter_mut().for_each(Child::go);
    let said: Vec<_> = children.iter_mut().map(|child| child.says().unwrap()).collect();
    let numbers = said.iter().map(|said| said.split_once(' ').unwrap());
    let (failed, calls): (Vec<usize>, Vec<usize>) =
        numbers.map(|(f, c)| (f.parse::<usize>().unwrap(), c.parse::<usize>().unwrap())).unzip();
    assert_eq!(failed, [0; 4], "of {EACH} each");
    // A token is good for a second at least, and all use it.
    let calls: usize = calls.iter().sum();
    let seconds = (PACE * u32::try_from(EACH).unwrap()).as_secs();
    assert!((5..60).contains(&calls), "{calls} calls in some {seconds} s");
}

/// Sends so many requests, and says how many failed and how often it has called the endpoint.
pub(super) async fn send_paced(store: FileStore, requests: usize) {
    let calls = Arc::new(AtomicUsize::new(0));
    let called = calls.clone();
    let endpoint = tower::service_fn(move |_: RefreshRequest| {
        called.fetch_add(1, SeqCst);
        async {
            time::sleep(Duration::from_millis(20)).await;
            let tokens = TokenResponse::new(now().as_millis().to_string())?;
            Ok::<_, BoxError>(tokens.with_refresh_token("refresh")?.with_expires_in(LIFE))
        }
    });
    let tokens = Tokens::from_refresh_token("refresh").unwrap();
    let session = Session::builder(endpoint).initial_tokens(tokens).store(store).build();
    let client = RefreshLayer::new(session).layer(tower::service_fn(accept));
    say("ready");
    tokio::task::spawn_blocking(listen).await.unwrap();

    let (mut pace, mut answers) = (time::interval(PACE), JoinSet::new());
    for _ in 0..requests {
        pace.tick().await;
        let request = Request::get("https://api.example.com/v").body(Full::default()).unwrap();
        answers.spawn(client.clone().oneshot(request));
    }
    let answers = answers.join_all().await;
    let failed = answers.iter().filter(|answer| answer.as_ref().unwrap().status() != 200).count();
    say(format_args!("{failed} {}", calls.load(SeqCst)));
}

/// The API. The end of a token is rounded down to a whole second.
async fn accept(request: Request<Full<Bytes>>) -> Result<Response<()>, BoxError> {
    let token = request.headers()[AUTHORIZATION].to_str()?.strip_prefix("Bearer ").unwrap();
    let issued = Duration::from_millis(token.parse()?);
    let end = Duration::from_secs((issued + LIFE).as_secs());
    let status = if now() < end { 200 } else { 401 };
    Ok(Response::builder().status(status).body(())?)
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}
