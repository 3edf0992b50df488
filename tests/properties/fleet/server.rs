//! The token endpoint: servers of several kinds, and how each call to them goes.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::Duration,
};

use futures::future::{BoxFuture, pending};
use tokio::time::{Instant, sleep};
use tower::Service;
use tower_refresh::{
    BoxError,
    endpoint::{EndpointError, RefreshRequest, Spent, TokenResponse},
};

use super::{
    judge::Judge,
    plan::{self, Life, Peer, Reply, Start},
    process::{Fate, Place, Process, Trip, Violations},
    shelf::Shelf,
};

/// All access tokens that were issued.
#[derive(Clone, Default)]
pub(crate) struct Issuer(Arc<Mutex<Issued>>);

#[derive(Default)]
struct Issued {
    count: u64,
    /// The last one of each login.
    newest: HashMap<u64, String>,
    /// When each dies at the API.
    dies_at: HashMap<String, Instant>,
    /// When each is over by the word of the server, counted from its last arrival.
    over_at: HashMap<String, Instant>,
    refused: HashSet<String>,
    revoked: HashSet<u64>,
    /// The API refuses everything.
    refuses_all: bool,
}

impl Issuer {
    fn lock(&self) -> MutexGuard<'_, Issued> {
        self.0.lock().unwrap()
    }

    pub(crate) fn issue(&self, place: Place, life: Duration) -> String {
        let mut issued = self.lock();
        issued.count += 1;
        let token = format!("access.{}.{}.{}", place.login, place.turn, issued.count);
        issued.dies_at.insert(token.clone(), Instant::now() + life);
        issued.newest.insert(place.login, token.clone());
        token
    }

    fn newest(&self, login: u64) -> Option<String> {
        self.lock().newest.get(&login).cloned()
    }

    /// What is left of an access token's life.
    pub(crate) fn left(&self, access_token: &str) -> Option<Duration> {
        let dies_at = *self.lock().dies_at.get(access_token)?;
        Some(dies_at.saturating_duration_since(Instant::now()))
    }

    fn arrived(&self, access_token: &str, life: Duration) {
        let over_at = Instant::now() + life;
        let mut issued = self.lock();
        let known = issued.over_at.entry(access_token.to_owned()).or_insert(over_at);
        *known = over_at.max(*known);
    }

    /// It came once more, and nothing says for how long.
    fn came_again(&self, access_token: &str) {
        self.lock().over_at.remove(access_token);
    }

    /// Whether no session can take it for live, at that time.
    pub(crate) fn is_over(&self, access_token: &str, at: Instant) -> bool {
        self.lock().over_at.get(access_token).is_some_and(|&over_at| over_at <= at)
    }

    pub(crate) fn refuse(&self, access_token: &str) {
        self.lock().refused.insert(access_token.to_owned());
    }

    pub(crate) fn refuse_all(&self, all: bool) {
        self.lock().refuses_all = all;
    }

    /// Whether the API takes this token.
    pub(crate) fn accepts(&self, access_token: &str) -> bool {
        let left = self.left(access_token);
        let issued = self.lock();
        left.is_some_and(|left| !left.is_zero())
            && !issued.refuses_all
            && !issued.refused.contains(access_token)
            && !issued.revoked.contains(&Place::of(access_token).login)
    }
}

#[derive(Clone)]
pub(crate) struct Server {
    inner: Arc<Mutex<Inner>>,
    pub(crate) issuer: Issuer,
    judge: Judge,
}

struct Inner {
    kind: plan::Server,
    life: Duration,
    /// By the number of the login.
    families: HashMap<u64, Family>,
    /// The last login or log-out there was.
    login: u64,
    replies: VecDeque<Reply>,
    healed: bool,
}

/// All refresh tokens of one login.
#[derive(Default)]
struct Family {
    /// When its tokens were used, one after the other.
    used: Vec<Instant>,
    /// How many calls are at work on the newest one.
    at_work: u32,
}

/// A verdict of the server, or what it issues.
type Exchanged = Result<TokenResponse, EndpointError>;

impl Server {
    pub(crate) fn new(start: &Start, issuer: Issuer, shelf: Shelf, hold: Violations) -> Self {
        let inner = Inner {
            kind: start.server,
            life: start.life,
            families: HashMap::new(),
            login: 0,
            replies: VecDeque::new(),
            healed: false,
        };
        let judge = Judge::new(start, shelf, hold);
        Self { inner: Arc::new(Mutex::new(inner)), issuer, judge }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// A login or a log-out: its number is returned.
    pub(crate) fn decide(&self) -> u64 {
        let mut inner = self.lock();
        inner.login += 1;
        let login = inner.login;
        inner.families.insert(login, Family::default());
        login
    }

    /// An access token of the newest login, without a call.
    pub(crate) fn issue(&self, life: Life) -> String {
        let (login, usual) = {
            let inner = self.lock();
            (inner.login, inner.life)
        };
        let of = if let Life::Of(life) = life { life } else { usual };
        let token = self.issuer.issue(Place { login, turn: 0 }, of);
        if let Life::Of(life) = life {
            self.issuer.arrived(&token, life);
        }
        token
    }

    /// The first refresh token of the newest login, where there is one.
    pub(crate) fn refresh_token(&self) -> Option<String> {
        let inner = self.lock();
        let rotates = inner.kind != plan::Server::Credentials;
        rotates.then(|| refresh_token(Place { login: inner.login, turn: 0 }))
    }

    pub(crate) fn answer(&self, reply: Reply) {
        self.lock().replies.push_back(reply);
    }

    /// From now on it answers at once.
    pub(crate) fn heal(&self) {
        let mut inner = self.lock();
        inner.replies.clear();
        inner.healed = true;
        self.issuer.refuse_all(false);
    }

    /// The refresh token that is good now; `None` if none is.
    pub(crate) fn newest(&self, login: u64) -> Option<Place> {
        let inner = self.lock();
        let family = inner.families.get(&login)?;
        let turn = family.used.len() as u64;
        let is_over = self.issuer.lock().revoked.contains(&login);
        (!is_over).then_some(Place { login, turn })
    }

    pub(crate) fn is_calling(&self, process: &Process) -> bool {
        self.judge.is_calling(process)
    }

    /// When each call was sent.
    pub(crate) fn when_called(&self) -> Vec<Instant> {
        self.judge.when_called()
    }

    pub(crate) fn last_call(&self, process: &Process) -> Option<Instant> {
        self.judge.last_call(process)
    }

    pub(crate) fn may_have_lost_a_rotation(&self, process: &Process) -> bool {
        self.judge.may_have_lost_a_rotation(process)
    }

    /// The call arrives.
    fn arrive(&self, place: Option<Place>) -> Result<(), EndpointError> {
        let mut inner = self.lock();
        let kind = inner.kind;
        let Some(family) = place.and_then(|place| inner.families.get_mut(&place.login)) else {
            return Ok(());
        };
        if kind == plan::Server::AtWork && family.at_work > 0 {
            let error = EndpointError::invalid_grant("concurrent").with_code("invalid_grant");
            return Err(error.with_said("a token request is already being processed"));
        }
        family.at_work += 1;
        Ok(())
    }

    /// The call is carried out.
    fn exchange(&self, place: Option<Place>, reply: Reply) -> Exchanged {
        let mut inner = self.lock();
        let (kind, login, usual) = (inner.kind, inner.login, inner.life);
        let next = match place {
            None => Place { login, turn: 0 },
            Some(place) => {
                let family = inner.families.get_mut(&place.login).expect("no token is made up");
                family.at_work = family.at_work.saturating_sub(1);
                if reply == Reply::InvalidGrant {
                    self.issuer.lock().revoked.insert(place.login);
                }
                if self.issuer.lock().revoked.contains(&place.login) {
                    return Err(EndpointError::invalid_grant("revoked"));
                }
                self.successor(kind, family, place)?
            }
        };
        let same = self.issuer.newest(next.login).filter(|_| reply == Reply::SameToken);
        let life = match reply {
            Reply::Life(Life::Of(life)) => life,
            _ => usual,
        };
        let access_token = match same {
            Some(token) => token,
            None => self.issuer.issue(next, life),
        };
        let response = TokenResponse::new(access_token).unwrap();
        let response = match reply {
            Reply::Life(Life::Unknown) | Reply::SameToken => response,
            _ => response.with_expires_in(life),
        };
        match place {
            Some(_) => Ok(response.with_refresh_token(refresh_token(next)).unwrap()),
            None => Ok(response),
        }
    }

    fn successor(
        &self,
        kind: plan::Server,
        family: &mut Family,
        place: Place,
    ) -> Result<Place, EndpointError> {
        let grace = match kind {
            plan::Server::Rotates { grace } => grace,
            plan::Server::AtWork => Duration::ZERO,
            plan::Server::Keeps | plan::Server::Credentials => return Ok(place),
        };
        let (next, now) = (Place { turn: place.turn + 1, ..place }, Instant::now());
        match family.used.get(place.turn as usize).copied() {
            None => family.used.push(now),
            Some(at) if family.used.len() as u64 == next.turn && now < at + grace => {}
            Some(_) => {
                self.issuer.lock().revoked.insert(place.login);
                return Err(EndpointError::invalid_grant("used before"));
            }
        }
        Ok(next)
    }

    fn next_reply(&self) -> Reply {
        let mut inner = self.lock();
        let slow = inner.kind == plan::Server::AtWork && !inner.healed && fastrand::u8(..4) == 0;
        let usual = if slow { Reply::Slow(11_000) } else { Reply::Slow(20) };
        inner.replies.pop_front().unwrap_or(usual)
    }
}

fn refresh_token(place: Place) -> String {
    format!("refresh.{}.{}", place.login, place.turn)
}

/// The server as one process calls it.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) server: Server,
    pub(crate) process: Arc<Process>,
}

impl Service<RefreshRequest> for Endpoint {
    type Response = TokenResponse;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<TokenResponse, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RefreshRequest) -> Self::Future {
        let (server, process) = (self.server.clone(), self.process.clone());
        let token = request.refresh_token().map(|token| token.expose().to_owned());
        Box::pin(async move {
            if process.is_dead() {
                return pending().await;
            }
            let place = token.as_deref().map(Place::of);
            let call = server.judge.sent(&process, token.as_deref());
            let reply = server.next_reply();
            if reply == Reply::Panic {
                panic!("the endpoint panics, as it was told to");
            }
            let answer = server.go(&process, place, reply).await?;
            if reply == Reply::LostBack {
                return Err("the connection was reset".into());
            }
            if let Ok(response) = &answer {
                let access_token = response.access_token().expose();
                match response.expires_in() {
                    // A life of nothing says nothing.
                    Some(life) if !life.is_zero() => server.issuer.arrived(access_token, life),
                    _ => server.issuer.came_again(access_token),
                }
            }
            call.answered(&answer);
            Ok(answer?)
        })
    }
}

impl Server {
    /// The call on its way there and back.
    async fn go(
        &self,
        process: &Process,
        place: Option<Place>,
        reply: Reply,
    ) -> Result<Exchanged, BoxError> {
        let trip = match reply {
            Reply::Slow(time) => Trip::taking(time),
            Reply::Silence => Trip::within(20, Fate::LostBack),
            _ => Trip::within(20, Fate::Answered),
        };
        let error = match reply {
            Reply::Busy(None) => EndpointError::transient("busy").with_spent(Spent::No),
            Reply::Busy(Some(time)) => {
                EndpointError::transient("busy").with_spent(Spent::No).with_retry_after(time)
            }
            Reply::LostThere => EndpointError::transient("reset"),
            Reply::Misconfigured => EndpointError::misconfigured("who are you?"),
            _ => return self.carry_out(process, place, (reply, trip)).await,
        };
        process.call(Peer::Endpoint, trip, move || Err(error)).await
    }

    /// It arrives soon, and is carried out when it has been at work for a while.
    async fn carry_out(
        &self,
        process: &Process,
        place: Option<Place>,
        (reply, trip): (Reply, Trip),
    ) -> Result<Exchanged, BoxError> {
        let there = self.clone();
        if self.lock().kind != plan::Server::AtWork {
            let exchange = move || there.exchange(place, reply);
            return process.call(Peer::Endpoint, trip, exchange).await;
        }
        let (answer, answered) = tokio::sync::oneshot::channel();
        let arrival = Trip { there: trip.there.min(Duration::from_millis(20)), ..trip };
        let arrival = Trip { back: Duration::ZERO, fate: Fate::Answered, ..arrival };
        let work = trip.there - arrival.there;
        let server = self.clone();
        let arrive = move || match server.arrive(place) {
            Err(error) => drop(answer.send(Err(error))),
            Ok(()) => drop(tokio::spawn(async move {
                sleep(work).await;
                let result = there.exchange(place, reply);
                sleep(trip.back).await;
                if trip.fate == Fate::Answered {
                    let _ = answer.send(result);
                }
            })),
        };
        process.call(Peer::Endpoint, arrival, arrive).await?;
        let back = async { answered.await.ok() };
        match back.await {
            Some(result) if !process.is_dead() => Ok(result),
            _ => pending().await,
        }
    }
}
