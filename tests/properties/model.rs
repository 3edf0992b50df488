//! What an onlooker knows who sees every call to the endpoint and every request to the API, and
//! what must be true of them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use http::HeaderValue;
use tokio::time::Instant;
use tower_refresh::endpoint::TokenResponse;

use crate::operation::Life;

/// Rounds follow each other by no less than this.
const SPACING: Duration = Duration::from_secs(1);

/// Calls in one round.
const ATTEMPTS: usize = 3;

/// A save may hold a token back for so long, and its life begins when it is put into use.
const SAVE_LIMIT: Duration = Duration::from_secs(2);

#[derive(Clone, Default)]
pub(crate) struct Model(Arc<Mutex<Inner>>);

#[derive(Default)]
pub(crate) struct Inner {
    /// Counts the times that somebody logged in or out.
    epoch: u64,
    /// The refresh token that was handed out last in this epoch.
    newest: Option<String>,
    /// The endpoint has ended the grant, or somebody logged out.
    login_required: bool,
    /// The newest refresh token may be spent, and the answer lost.
    in_doubt: bool,
    /// The grant has ended while that was so.
    rotation_lost: bool,
    access: HashMap<String, Access>,
    /// How many tokens have been handed out.
    issued: u64,
    /// The one handed out last in this epoch.
    current: Option<String>,
    /// The place of the newest token that any request has carried.
    top_sent: u64,
    /// When each call began, and in which epoch.
    calls: Vec<(Instant, u64)>,
    pub(crate) requests: Vec<Requested>,
    /// The request whose first poll is under way.
    starting: Option<usize>,
    closed: bool,
    /// How late timers may have rung.
    pub(crate) jumped: Duration,
    violations: Vec<String>,
}

/// An access token. Later ones have a higher place.
#[derive(Clone, Copy)]
struct Access {
    place: u64,
    epoch: u64,
    dies_at: Option<Instant>,
}

/// A request, and what was true when it started.
pub(crate) struct Requested {
    at: Instant,
    epoch: u64,
    /// No token before this one may be sent.
    least: u64,
    /// How many tokens there were.
    known: u64,
    live: bool,
    sent: Vec<(String, Access)>,
    /// The API has refused it, and it has had no second sending yet.
    pub(crate) refused: bool,
    pub(crate) done: bool,
}

impl Model {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }
}

impl Inner {
    /// Somebody logs in with these.
    pub(crate) fn log_in(&mut self, access: Option<(&str, Life)>, refresh: Option<&str>) {
        self.epoch += 1;
        self.current = None;
        (self.in_doubt, self.rotation_lost) = (false, false);
        self.login_required = false;
        self.newest = refresh.map(str::to_owned);
        if let Some((access, life)) = access {
            let life = match life {
                Life::Unknown => None,
                Life::Of(life) => Some(life),
            };
            self.issue(access, life, self.epoch);
        }
    }

    pub(crate) fn log_out(&mut self) {
        self.epoch += 1;
        self.newest = None;
        (self.in_doubt, self.rotation_lost) = (false, false);
        self.login_required = true;
    }

    pub(crate) fn newest(&self) -> Option<&str> {
        self.newest.as_deref()
    }

    pub(crate) fn is_logged_out(&self) -> bool {
        self.login_required && self.newest.is_none()
    }

    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// A call arrives at the endpoint; the epoch that it belongs to is returned.
    pub(crate) fn call(&mut self, presented: Option<&str>) -> u64 {
        let newest = self.newest.clone();
        let login_required = self.login_required;
        self.hold(presented == newest.as_deref(), || {
            format!("{presented:?} was presented when the newest was {newest:?}")
        });
        self.hold(!login_required, || "a call although somebody has to log in".into());
        let closed = self.closed;
        self.hold(!closed, || "a call after the session was closed".into());
        self.calls.push((Instant::now(), self.epoch));
        self.epoch
    }

    /// The endpoint hands these out to a call of that epoch.
    pub(crate) fn granted(&mut self, epoch: u64, response: &TokenResponse) {
        self.issue(response.access_token().expose(), response.expires_in(), epoch);
        self.in_doubt &= epoch != self.epoch;
        if epoch == self.epoch
            && let Some(refresh) = response.refresh_token()
        {
            self.newest = Some(refresh.expose().to_owned());
        }
    }

    /// Nobody knows what became of a call of that epoch.
    pub(crate) fn ambiguous(&mut self, epoch: u64) {
        self.in_doubt |= epoch == self.epoch;
    }

    /// The endpoint has refused the refresh token of that epoch.
    pub(crate) fn refused_grant(&mut self, epoch: u64) {
        self.rotation_lost |= epoch == self.epoch && self.in_doubt;
    }

    /// The session says that the answer to a call is lost.
    pub(crate) fn told_of_lost_rotation(&mut self) {
        let lost = self.rotation_lost;
        self.hold(lost, || "a rotation was called lost although no answer was".into());
    }

    /// The endpoint ends the grant, and the store does not say otherwise.
    pub(crate) fn grant_over(&mut self, epoch: u64) {
        if epoch == self.epoch {
            self.login_required = true;
        }
    }

    /// A request starts while `in_use` is the session's token, `live` or not.
    pub(crate) fn request(&mut self, in_use: Option<&str>, live: bool) -> usize {
        let in_use = in_use.and_then(|token| self.access.get(token)).map_or(0, |token| token.place);
        let id = self.requests.len();
        self.requests.push(Requested {
            at: Instant::now(),
            epoch: self.epoch,
            least: self.top_sent.max(in_use),
            known: self.issued,
            live,
            sent: Vec::new(),
            refused: false,
            done: false,
        });
        self.starting = Some(id);
        id
    }

    pub(crate) fn started(&mut self) {
        self.starting = None;
    }

    /// The API gets a request.
    pub(crate) fn sent(&mut self, id: usize, authorization: &[HeaderValue]) {
        let token = match authorization {
            [only] => only.to_str().ok().and_then(|value| value.strip_prefix("Bearer ")),
            _ => None,
        };
        let Some(token) = token.map(str::to_owned) else {
            self.violations.push(format!("{} headers with a token", authorization.len()));
            return;
        };
        let Some(&access) = self.access.get(&token) else {
            self.violations.push(format!("{token} was never handed out"));
            return;
        };
        self.top_sent = self.top_sent.max(access.place);
        let at_once = self.starting == Some(id);
        let request = &mut self.requests[id];
        let mut wrong = Vec::new();
        if access.epoch < request.epoch {
            wrong.push("is of an earlier epoch than the request");
        }
        if access.place < request.least {
            wrong.push("is older than one that was in use when the request started");
        }
        let was_there = access.place <= request.known;
        let over = access.dies_at.is_some_and(|at| at + SAVE_LIMIT <= request.at);
        if was_there && over {
            wrong.push("had expired when the request started");
        }
        if at_once && !request.live {
            wrong.push("was not live");
        }
        match request.sent.as_slice() {
            [] => {}
            [(_, first)] => {
                if !request.refused {
                    wrong.push("goes out a second time without a refusal");
                }
                if access.epoch != first.epoch {
                    wrong.push("is of another epoch than the one that was refused");
                }
                if access.place <= first.place {
                    wrong.push("is no successor of the one that was refused");
                }
            }
            _ => wrong.push("goes out a third time"),
        }
        request.refused = false;
        request.sent.push((token.clone(), access));
        self.violations.extend(wrong.into_iter().map(|wrong| format!("{token} {wrong}")));
    }

    /// The API refuses a request, which may be its last word.
    pub(crate) fn refused(&mut self, id: usize) {
        self.requests[id].refused = true;
    }

    /// Nothing is ready to run, and `in_use` is the session's token.
    pub(crate) fn at_rest(&mut self, in_use: Option<&str>, live: bool) {
        let waits = self.requests.iter().any(|request| {
            let current = request.sent.last().map(|(token, _)| token.as_str()) == in_use;
            request.sent.len() == 1 && request.refused && !request.done && current
        });
        self.hold(!(waits && live), || {
            format!("{in_use:?} is live while the successor of it is waited for")
        });
    }

    pub(crate) fn hold(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(otherwise());
        }
    }

    pub(crate) fn when_called(&self) -> impl Iterator<Item = Instant> {
        self.calls.iter().map(|&(at, _)| at)
    }

    /// The violations so far, and those that only the whole shows.
    pub(crate) fn violations(&mut self) -> Vec<String> {
        for calls in self.calls.windows(ATTEMPTS + 1) {
            let ((first, epoch), (last, then)) = (calls[0], calls[ATTEMPTS]);
            // So many calls are of two rounds at least.
            if epoch == then && last - first < SPACING {
                let took = last - first;
                self.violations.push(format!("{} calls within {took:?}", calls.len()));
            }
        }
        std::mem::take(&mut self.violations)
    }

    fn issue(&mut self, access: &str, life: Option<Duration>, epoch: u64) {
        let dies_at = life.map(|life| Instant::now() + life);
        // The token in use may come once more, with another life; any other that comes again is new.
        if epoch == self.epoch && self.current.as_deref() == Some(access) {
            let known = self.access.get_mut(access).expect("it was handed out");
            known.dies_at = dies_at;
            return;
        }
        self.issued += 1;
        self.access.insert(access.to_owned(), Access { place: self.issued, epoch, dies_at });
        if epoch == self.epoch {
            self.current = Some(access.to_owned());
        }
    }
}
