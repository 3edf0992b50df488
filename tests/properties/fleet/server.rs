//! A server that lets each refresh token be spent once, and what must be true of the calls to it.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::Duration,
};

use futures::future::{BoxFuture, pending};
use tokio::time::Instant;
use tower::Service;
use tower_refresh::{
    BoxError,
    endpoint::{EndpointError, RefreshRequest, Spent, TokenResponse},
};

use super::{
    plan::{Reply, Start},
    process::{Fate, Place, Process, Trip, Violations},
};

#[derive(Clone)]
pub(crate) struct Server {
    inner: Arc<Mutex<Inner>>,
    violations: Violations,
}

struct Inner {
    life: Duration,
    grace: Duration,
    /// By the number of the login.
    families: HashMap<u64, Family>,
    /// When each access token dies.
    dies_at: HashMap<String, Instant>,
    refused: HashSet<String>,
    issued: u64,
    replies: VecDeque<Reply>,
    calls: Vec<Call>,
}

/// All refresh tokens of one login.
#[derive(Default)]
struct Family {
    /// Which calls have spent its tokens, one after the other, and when.
    spent: Vec<(usize, Instant)>,
    revoked: bool,
}

struct Call {
    process: Arc<Process>,
    token: String,
    sent: Instant,
    /// For so long the store asks everybody else to leave the token alone.
    mark_ends: Option<Instant>,
    /// Nobody waits for its answer any more.
    over: bool,
    answered: bool,
}

impl Server {
    pub(crate) fn new(start: &Start, violations: Violations) -> Self {
        let inner = Inner {
            life: start.life,
            grace: start.grace,
            families: HashMap::new(),
            dies_at: HashMap::new(),
            refused: HashSet::new(),
            issued: 0,
            replies: VecDeque::new(),
            calls: Vec::new(),
        };
        Self { inner: Arc::new(Mutex::new(inner)), violations }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Somebody logs in: an access token and the first refresh token.
    pub(crate) fn log_in(&self, login: u64) -> (String, String) {
        let mut inner = self.lock();
        inner.families.insert(login, Family::default());
        let place = Place { login, turn: 0 };
        (inner.issue(place), refresh_token(place))
    }

    pub(crate) fn answer(&self, reply: Reply) {
        self.lock().replies.push_back(reply);
    }

    /// From now on it answers at once.
    pub(crate) fn heal(&self) {
        self.lock().replies.clear();
    }

    pub(crate) fn refuse(&self, access_token: &str) {
        self.lock().refused.insert(access_token.to_owned());
    }

    /// Whether the API takes this token.
    pub(crate) fn accepts(&self, access_token: &str) -> bool {
        let inner = self.lock();
        inner.left(access_token).is_some_and(|left| !left.is_zero())
            && !inner.refused.contains(access_token)
            && !inner.families[&Place::of(access_token).login].revoked
    }

    /// What is left of an access token's life.
    pub(crate) fn left(&self, access_token: &str) -> Option<Duration> {
        self.lock().left(access_token)
    }

    /// The refresh token that is good now; `None` if none is.
    pub(crate) fn newest(&self, login: u64) -> Option<Place> {
        let inner = self.lock();
        let family = inner.families.get(&login).filter(|family| !family.revoked)?;
        Some(Place { login, turn: family.spent.len() as u64 })
    }

    /// A process sends a call.
    fn sent(&self, process: &Arc<Process>, token: &str) -> usize {
        let (now, mut inner) = (Instant::now(), self.lock());
        let name = process.name;
        {
            let state = process.lock();
            self.violations.unless(!state.closed, || format!("{name} calls after its end"));
            // If it could not look whether another was faster, it may try again.
            let over = state.over.get(token).is_some_and(|&at| state.trouble < Some(at));
            self.violations.unless(!over, || {
                format!("{name} presents {token} although it was told that it is over")
            });
            let (place, told) = (Place::of(token), state.told);
            self.violations.unless(place.login != told.login || place >= told, || {
                format!("{name} presents {token} although it was told of its successor")
            });
        }
        for other in inner.calls.iter().filter(|call| !call.over) {
            let excused = !Arc::ptr_eq(&other.process, process)
                && (other.process.is_dead() || other.process.had_lease_trouble(other.sent));
            let (whose, since) = (other.process.name, now - other.sent);
            self.violations.unless(excused, || {
                format!("{name} calls while {whose} has done so for {since:?}")
            });
        }
        let (process, token) = (process.clone(), token.to_owned());
        let mark_ends = process.lock().mark_ends;
        let call = Call { process, token, sent: now, mark_ends, over: false, answered: false };
        inner.calls.push(call);
        inner.calls.len() - 1
    }

    /// The call is carried out.
    fn exchange(&self, call: usize) -> Result<TokenResponse, EndpointError> {
        let (now, mut inner) = (Instant::now(), self.lock());
        let token = inner.calls[call].token.clone();
        let place = Place::of(&token);
        let grace = inner.grace;
        let family = inner.families.get_mut(&place.login).expect("nobody makes tokens up");
        if family.revoked {
            return Err(EndpointError::invalid_grant("revoked"));
        }
        let next = Place { turn: place.turn + 1, ..place };
        match family.spent.get(place.turn as usize).copied() {
            None => family.spent.push((call, now)),
            Some((first, at)) => {
                let within = family.spent.len() as u64 == next.turn && now < at + grace;
                family.revoked = !within;
                self.check_excuse(&inner.calls[first], &inner.calls[call]);
                if !within {
                    return Err(EndpointError::invalid_grant("spent before"));
                }
            }
        }
        let response = TokenResponse::new(inner.issue(next)).unwrap();
        let response = response.with_expires_in(inner.life);
        Ok(response.with_refresh_token(refresh_token(next)).unwrap())
    }

    /// A token comes for the second time: nobody can know what became of the first, and its mark is
    /// over.
    fn check_excuse(&self, first: &Call, again: &Call) {
        let unknown = first.over && !first.answered
            || first.process.is_dead()
            || first.process.had_lease_trouble(first.sent);
        let marked = first.mark_ends.is_none_or(|at| again.sent < at);
        let excused = unknown && (Arc::ptr_eq(&first.process, &again.process) || !marked);
        self.violations.unless(excused, || {
            let (token, whose, who) = (&first.token, first.process.name, again.process.name);
            let times = (first.sent, again.sent - first.sent);
            format!("{token} was spent by {whose}, and is presented by {who}, at {times:?}")
        });
    }

    /// A process hears the answer.
    fn answered(&self, call: usize, result: &Result<TokenResponse, EndpointError>) {
        let mut inner = self.lock();
        let Call { answered, process, token, .. } = &mut inner.calls[call];
        *answered = true;
        let mut state = process.lock();
        match result {
            Ok(response) => {
                let refresh_token = response.refresh_token().unwrap().expose();
                state.told = state.told.max(Place::of(refresh_token));
            }
            Err(_) => {
                state.over.insert(token.clone(), Instant::now());
            }
        }
    }
}

impl Inner {
    fn issue(&mut self, place: Place) -> String {
        self.issued += 1;
        let token = format!("access.{}.{}.{}", place.login, place.turn, self.issued);
        self.dies_at.insert(token.clone(), Instant::now() + self.life);
        token
    }

    fn left(&self, access_token: &str) -> Option<Duration> {
        self.dies_at.get(access_token).map(|&at| at.saturating_duration_since(Instant::now()))
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
        Box::pin(async move {
            if process.is_dead() {
                return pending().await;
            }
            let token = request.refresh_token().expect("every session here has one");
            let call = server.sent(&process, token.expose());
            let _over = Over { server: server.clone(), call };
            let reply = server.lock().replies.pop_front().unwrap_or(Reply::Slow(20));
            let trip = match reply {
                Reply::Slow(most) => Trip::within(most / 2, Fate::Answered),
                Reply::Silence => Trip::within(20, Fate::LostBack),
                Reply::Busy | Reply::LostThere | Reply::LostBack => {
                    Trip::within(20, Fate::Answered)
                }
            };
            let there = server.clone();
            let result = process.call(trip, move || match reply {
                Reply::Busy => Err(EndpointError::transient("busy").with_spent(Spent::No)),
                Reply::LostThere => Err(EndpointError::transient("reset")),
                _ => there.exchange(call),
            });
            let result = result.await?;
            if reply == Reply::LostBack {
                return Err("the connection was reset".into());
            }
            if !matches!(reply, Reply::Busy | Reply::LostThere) {
                server.answered(call, &result);
            }
            Ok(result?)
        })
    }
}

struct Over {
    server: Server,
    call: usize,
}

impl Drop for Over {
    fn drop(&mut self) {
        let mut inner = self.server.lock();
        let call = &mut inner.calls[self.call];
        // The dead wait for ever, and nobody can tell.
        call.over = true;
    }
}
