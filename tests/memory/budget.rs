//! What refusals may cost: futile refreshes are bounded, and those that cured are not.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{future::join_all, poll};
use http::{Request, Response, header::AUTHORIZATION};
use http_body_util::Full;
use tokio::time::{Instant, advance, interval, sleep};
use tower::{Layer, Service, ServiceExt};
use tower_refresh::{
    ErrorKind, RefreshLayer, Session, SessionBuilder, Tokens,
    endpoint::EndpointError,
    replay::{Never, Policy, Standard},
    store::MemoryStore,
    testing::{Answer, GatedEndpoint},
};

use crate::support::{live, settle};

/// What an API answers to a token on a path.
type Judge = Arc<dyn Fn(&str, &str) -> u16 + Send + Sync>;

/// An API that goes by a closure.
#[derive(Clone)]
struct Api(Judge);

impl Service<Request<Full<Bytes>>> for Api {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let token = request.headers()[AUTHORIZATION].to_str().unwrap();
        let status = self.0(request.uri().path(), token.strip_prefix("Bearer ").unwrap());
        ready(Ok(Response::builder().status(status).body(()).unwrap()))
    }
}

/// A client of such an API.
#[derive(Clone)]
struct Client<P = Standard> {
    layer: RefreshLayer<P>,
    api: Api,
}

impl Client {
    fn new(session: &Session, judge: impl Fn(&str, &str) -> u16 + Send + Sync + 'static) -> Self {
        Self { layer: RefreshLayer::new(session.clone()), api: Api(Arc::new(judge)) }
    }
}

impl<P: Policy<Full<Bytes>>> Client<P> {
    /// The status of the answer on a path.
    async fn get(&self, path: &str) -> u16 {
        let request = Request::get(format!("https://api.example.com{path}"));
        let request = request.body(Full::default()).unwrap();
        self.layer.layer(self.api.clone()).oneshot(request).await.unwrap().status().as_u16()
    }
}

fn session(build: impl FnOnce(SessionBuilder) -> SessionBuilder) -> (GatedEndpoint, Session) {
    let endpoint = GatedEndpoint::new();
    let session = build(Session::builder(endpoint.clone()).initial_tokens(live())).build();
    (endpoint, session)
}

/// Sends `rate` requests a second for so long, a batch every 20 ms, and returns how many were not
/// answered with a 200. None waits for another.
async fn load(client: &Client, path: &'static str, rate: u32, seconds: u32) -> usize {
    let failed = Arc::new(AtomicUsize::new(0));
    let mut pace = interval(Duration::from_millis(20));
    for _ in 0..50 * seconds {
        pace.tick().await;
        for _ in 0..rate / 50 {
            let (client, failed) = (client.clone(), failed.clone());
            let mut request = Box::pin(async move {
                if client.get(path).await != 200 {
                    failed.fetch_add(1, SeqCst);
                }
            });
            // A task of its own takes longer than most answers.
            if poll!(&mut request).is_pending() {
                tokio::spawn(request);
            }
        }
    }
    sleep(Duration::from_secs(60)).await;
    failed.load(SeqCst)
}

/// An API where a token is good for less than its life, from when it is first shown.
fn good_for(life: Duration) -> impl Fn(&str, &str) -> u16 + Clone + Send + Sync + 'static {
    let shown = Arc::new(Mutex::new(HashMap::new()));
    move |_: &str, token: &str| {
        let mut shown = shown.lock().unwrap();
        let since = *shown.entry(token.to_owned()).or_insert_with(Instant::now);
        if since.elapsed() < life { 200 } else { 401 }
    }
}

// S70: a refusal that its refresh cured is taken back, also among sessions that share a store.
#[tokio::test(start_paused = true)]
async fn tokens_that_end_before_they_say_so_cost_no_caller_a_refusal() {
    for sessions in [1, 4] {
        let endpoint = GatedEndpoint::new();
        endpoint.set_life(Duration::from_secs(2));
        endpoint.answer_always(|| Answer::Next.after(Duration::from_millis(20)));
        let (store, api) = (Arc::new(MemoryStore::new()), good_for(Duration::from_millis(1200)));
        let clients: Vec<_> = (0..sessions)
            .map(|_| {
                let tokens = Tokens::from_refresh_token("refresh-0").unwrap();
                let session = Session::builder(endpoint.clone()).initial_tokens(tokens);
                Client::new(&session.store(store.clone()).build(), api.clone())
            })
            .collect();
        let rate = 1000 / sessions;
        let failed = join_all(clients.iter().map(|client| load(client, "/v", rate, 60))).await;
        assert_eq!(failed.into_iter().sum::<usize>(), 0, "{sessions} sessions");
        assert!(endpoint.calls() <= 60, "{} for {sessions} sessions", endpoint.calls());
    }
}

// S93: a load balancer with a bad node costs refreshes in proportion to the time, not to requests.
#[tokio::test(start_paused = true)]
async fn one_bad_node_of_ten_costs_at_most_five_hundred_refreshes_an_hour() {
    let (endpoint, session) = session(|builder| builder);
    endpoint.answer_always(|| Answer::Next.after(Duration::from_millis(20)));
    let random = Mutex::new(fastrand::Rng::with_seed(1));
    let client =
        Client::new(
            &session,
            move |_, _| if random.lock().unwrap().u8(0..10) == 0 { 401 } else { 200 },
        );
    let failed = load(&client, "/orders", 100, 3600).await;
    assert!((1..=500).contains(&endpoint.calls()), "{}", endpoint.calls());
    // Nine in ten are answered by the other nodes, and some of the rest by a retry.
    assert!(failed <= 36_000, "{failed}");
}

// S93: more refusing routes than are kept apart cost the budget, and not a refresh each.
#[tokio::test(start_paused = true)]
async fn sixty_five_refusing_paths_cost_at_most_the_budget() {
    let (endpoint, session) = session(|builder| builder);
    let client = Client::new(&session, |_, _| 401);
    let word = |n: u32| format!("/{}", char::from_u32('A' as u32 + n).unwrap());
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(600) {
        for path in (0..26).map(word).chain((32..58).map(word)) {
            client.get(&path).await;
        }
        for letter in 'a'..='m' {
            client.get(&format!("/x/{letter}")).await;
        }
        let windows = usize::try_from(start.elapsed().as_secs() / 30).unwrap() + 1;
        assert!(endpoint.calls() <= 3 * windows, "{} in {:?}", endpoint.calls(), start.elapsed());
        advance(Duration::from_secs(1)).await;
    }
    assert!(endpoint.calls() >= 20, "{}", endpoint.calls());
}

// S71: a route that refuses whatever token it is shown is left alone, and the others do not suffer.
#[tokio::test(start_paused = true)]
async fn a_route_that_always_refuses_costs_a_handful_of_refreshes_an_hour() {
    let (endpoint, session) = session(|builder| builder);
    let client = Client::new(&session, |path, _| if path == "/metrics" { 401 } else { 200 });
    for second in 0..3600 {
        if second % 15 == 0 {
            assert_eq!(client.get("/metrics").await, 401);
        }
        assert_eq!(client.get("/orders").await, 200);
        advance(Duration::from_secs(1)).await;
    }
    assert!((1..=13).contains(&endpoint.calls()), "{}", endpoint.calls());
}

// S71: a route that refuses whatever token it is shown costs at most the budget, and the others
// never fail for it, as long as there are at most eight such routes
#[tokio::test(start_paused = true)]
async fn a_revoked_token_is_replaced_beside_a_route_that_always_refuses() {
    let (endpoint, session) = session(|builder| builder);
    let revoked = Arc::new(Mutex::new(String::new()));
    let api = revoked.clone();
    let mut client = Client::new(&session, move |path, token| match path {
        "/admin" => 403,
        _ if *api.lock().unwrap() == token => 401,
        _ => 200,
    });
    client.layer = client.layer.refused_when(|_, response| {
        response.is_refusal() || response.status() == http::StatusCode::FORBIDDEN
    });
    for _ in 0..3 {
        assert_eq!(client.get("/admin").await, 403);
        advance(Duration::from_secs(2)).await;
    }
    assert_eq!(endpoint.calls(), 1, "the route was judged by the first retry");
    for calls in 2..=20 {
        let token = session.token().await.unwrap();
        *revoked.lock().unwrap() = token.expose().to_owned();
        assert_eq!(client.get("/a").await, 200);
        assert_eq!(client.get("/admin").await, 403);
        assert_eq!(endpoint.calls(), calls);
        advance(Duration::from_secs(11)).await;
    }
}

// S71: eight such routes that are asked again leave the last of the budget to the others.
#[tokio::test(start_paused = true)]
async fn known_refusing_routes_do_not_use_up_the_budget() {
    let (endpoint, session) = session(|builder| builder);
    let revoked = Arc::new(Mutex::new(String::new()));
    let api = revoked.clone();
    let client = Client::new(&session, move |path, token| {
        if path != "/a" || *api.lock().unwrap() == token { 401 } else { 200 }
    });
    let paths: Vec<_> = ('b'..='i').map(|letter| format!("/{letter}")).collect();
    for path in &paths {
        assert_eq!(client.get(path).await, 401);
        advance(Duration::from_secs(15)).await;
    }
    assert_eq!(endpoint.calls(), 8);
    advance(Duration::from_secs(300)).await;
    for path in &paths {
        assert_eq!(client.get(path).await, 401);
    }
    assert_eq!(endpoint.calls(), 10, "two of three");
    *revoked.lock().unwrap() = session.token().await.unwrap().expose().to_owned();
    assert_eq!(client.get("/a").await, 200);
    assert_eq!(endpoint.calls(), 11);
}

// S71: the first answer of a route that is no refusal ends what was found out about it.
#[tokio::test(start_paused = true)]
async fn a_route_that_accepts_again_is_like_any_other() {
    let (endpoint, session) = session(|builder| builder);
    let status = Arc::new(AtomicU16::new(401));
    let api = status.clone();
    let client = Client::new(&session, move |_, _| api.load(SeqCst));
    for _ in 0..5 {
        assert_eq!(client.get("/v").await, 401);
    }
    assert_eq!(endpoint.calls(), 1);
    // A failure of the server says nothing.
    status.store(503, SeqCst);
    assert_eq!(client.get("/v").await, 503);
    status.store(401, SeqCst);
    assert_eq!(client.get("/v").await, 401);
    assert_eq!(endpoint.calls(), 1);
    status.store(403, SeqCst);
    assert_eq!(client.get("/v").await, 403);
    status.store(401, SeqCst);
    assert_eq!(client.get("/v").await, 401);
    assert_eq!(endpoint.calls(), 2, "it counts as any other");
    // So does one that belongs to another login.
    session.set_tokens(live()).await.unwrap();
    assert_eq!(client.get("/v").await, 401);
    assert_eq!(endpoint.calls(), 3);
}

/// An API that answers the tokens of a row as it is told.
fn told(statuses: &[(&'static str, u16)]) -> impl Fn(&str, &str) -> u16 + use<> {
    let statuses: HashMap<_, _> = statuses.iter().copied().collect();
    move |_: &str, token: &str| statuses.get(token).copied().unwrap_or(200)
}

// S70: what a retry proves.
#[tokio::test(start_paused = true)]
async fn a_charge_is_taken_back_if_the_retry_is_accepted_and_the_refused_token_had_served() {
    let once_an_hour =
        |builder: SessionBuilder| builder.refusal_limit(1, Duration::from_secs(3600));
    let served = Duration::from_secs(10);
    for (after, retry, answers) in [
        (served, 200, 200),
        (served, 403, 200),
        (served - Duration::from_millis(1), 200, 401),
        // A failure of the server proves nothing either way.
        (served, 503, 401),
    ] {
        let (endpoint, session) = session(once_an_hour);
        let api = [("seed", 401), ("access-1", retry)];
        let first = Client::new(&session, told(&api));
        advance(after).await;
        assert_eq!(first.get("/v").await, retry);
        advance(served).await;
        let second = Client::new(&session, told(&[("access-1", 401)]));
        assert_eq!(second.get("/v").await, answers, "{after:?}, {retry}");
        assert_eq!(endpoint.calls(), if answers == 200 { 2 } else { 1 });
    }
}

// S70: one accepted retry takes back its own refresh, and ten thousand take back no more.
#[tokio::test(start_paused = true)]
async fn accepted_retries_take_back_one_charge_alone() {
    let (endpoint, session) =
        session(|builder| builder.refusal_limit(2, Duration::from_secs(3600)));
    let client = Client::new(&session, told(&[("seed", 401), ("access-1", 401)]));
    advance(Duration::from_secs(10)).await;
    // The charge for `access-1` stays, as its retry is refused.
    assert_eq!(client.get("/a").await, 401);
    let client = Client::new(&session, told(&[("access-1", 401)]));
    advance(Duration::from_secs(10)).await;
    for status in join_all((0..1000).map(|_| client.get("/b"))).await {
        assert_eq!(status, 200);
    }
    assert_eq!(endpoint.calls(), 2);
    let client = Client::new(&session, |_, _| 401);
    advance(Duration::from_secs(10)).await;
    assert_eq!((client.get("/c").await, endpoint.calls()), (401, 3));
    assert_eq!((client.get("/d").await, endpoint.calls()), (401, 3));
}

// S27: a refresh that brought no token is bounded by the pause after it.
#[tokio::test(start_paused = true)]
async fn a_refresh_that_failed_is_not_charged() {
    let (endpoint, session) = session(|builder| builder.pause(Duration::ZERO, Duration::ZERO));
    let client = Client::new(&session, told(&[("seed", 401)]));
    for _ in 0..5 {
        endpoint.answer(Answer::fail(EndpointError::misconfigured("no")));
        assert_eq!(client.get("/v").await, 401);
        advance(Duration::from_secs(600)).await;
    }
    endpoint.answer_always(|| Answer::fail(EndpointError::transient("busy")));
    for _ in 0..5 {
        assert_eq!(client.get("/v").await, 401);
        advance(Duration::from_secs(1)).await;
    }
    endpoint.answer_always(|| Answer::Next);
    assert_eq!(client.get("/v").await, 200);
}

// S27: a server that issues the same access token again has brought one.
#[tokio::test(start_paused = true)]
async fn a_server_that_issues_the_refused_token_again_is_asked_within_the_budget() {
    let (endpoint, session) = session(|builder| builder);
    endpoint.answer_always(|| tower_refresh::endpoint::TokenResponse::new("seed").unwrap().into());
    let client = Client::new(&session, |_, _| 401);
    for _ in 0..20 {
        assert_eq!(client.get("/v").await, 401);
        advance(Duration::from_secs(1)).await;
    }
    assert_eq!(endpoint.calls(), 3);
}

// S27: what a caller asks for by itself is bounded too, and what has served its time is not counted.
#[tokio::test(start_paused = true)]
async fn successors_that_a_caller_asks_for_are_counted_unless_they_have_served() {
    let (endpoint, caller) = session(|builder| builder);
    for _ in 0..3 {
        let token = caller.token().await.unwrap();
        caller.replace(token.id()).await.unwrap();
    }
    let token = caller.token().await.unwrap();
    let error = caller.replace(token.id()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TokenRefused);
    assert_eq!(endpoint.calls(), 3);

    let (endpoint, caller) = session(|builder| builder);
    endpoint.set_life(Duration::from_secs(4));
    caller.refresh().await.unwrap();
    for _ in 0..30 {
        advance(Duration::from_secs(1)).await;
        let token = caller.token().await.unwrap();
        caller.replace(token.id()).await.unwrap();
    }
    assert_eq!(endpoint.calls(), 31);
}

// S71: where a request cannot be sent again, the next answer on its route tells.
#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_sent_again_is_judged_by_the_next_answer_on_its_route() {
    async fn get(client: Client) -> u16 {
        let Client { layer, api } = client;
        let status = Client { layer: layer.replay_with(Never), api }.get("/v").await;
        settle().await;
        status
    }

    let (endpoint, refusing) = session(|builder| builder);
    let client = Client::new(&refusing, |_, _| 401);
    for _ in 0..10 {
        assert_eq!(get(client.clone()).await, 401);
        advance(Duration::from_secs(2)).await;
    }
    assert_eq!(endpoint.calls(), 1, "the second answer told");

    let (endpoint, curing) = session(|builder| builder.refusal_limit(1, Duration::from_secs(3600)));
    for calls in 1..=3 {
        advance(Duration::from_secs(10)).await;
        let current = curing.token().await.unwrap().expose().to_owned();
        let client = Client::new(&curing, move |_, token| if token == current { 401 } else { 200 });
        assert_eq!(get(client.clone()).await, 401);
        assert_eq!(get(client.clone()).await, 200);
        assert_eq!(endpoint.calls(), calls);
    }
}
