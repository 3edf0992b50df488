//! What refusals may cost: which refreshes they have caused in vain, and which routes refuse by
//! themselves.
//!
//! A refusal is the token's fault or the route's, and only the answer to the retry tells which. So
//! a refresh that a refusal has caused is *charged*, and the charge is taken back when the retry is
//! accepted; a route that refuses the new token as well is remembered.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::{Now, State};
use crate::{
    error::{Error, ErrorKind},
    session::{config::Config, snapshot::TokenId},
};

/// Where a request goes, as the hash of its origin and the beginning of its path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route(pub(crate) u64);

/// A refusal of a token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused {
    pub(crate) token: TokenId,
    /// `None` if the caller has judged the answer.
    pub(crate) route: Option<Route>,
    /// Whether the request is sent again with the successor.
    pub(crate) is_retried: bool,
}

/// The answer to a request that tells something of its route.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct Answer {
    pub(in crate::session) token: TokenId,
    pub(in crate::session) route: Route,
    /// If it answers a request that was sent again with the successor of a refused token: when that
    /// was.
    pub(in crate::session) retried_at: Option<Instant>,
    /// Whether it is no refusal, and not the server's failure either.
    pub(in crate::session) is_accepted: bool,
}

/// How many routes are kept apart.
const MOST_ROUTES: usize = 8;

/// How long a route that refuses by itself causes no other refresh.
const ROUTE_PAUSE: Duration = Duration::from_secs(5 * 60);

/// A token has served for this long, or for a quarter of its life: then its refusal is its own.
const SERVED: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct Refusals {
    /// Oldest first. Invariant: never more than the limit within the window.
    charges: VecDeque<Charge>,
    /// Oldest first. Invariant: at most `MOST_ROUTES`, each once.
    routes: Vec<Watched>,
}

/// A refresh that a refusal has caused, and that nothing has shown to have cured it.
struct Charge {
    cause: Cause,
    /// The token that it brought.
    generation: u64,
}

/// Why a refresh was started.
#[derive(Clone, Copy)]
pub(super) struct Cause {
    at: Instant,
    /// Whether the refused token had served. One that is refused earlier shows that the API
    /// refuses now and then, whatever token it is shown: then an accepted retry proves nothing.
    had_served: bool,
    /// Whether there is a retry whose answer will tell.
    is_judged: bool,
}

struct Watched {
    route: Route,
    since: Instant,
    finding: Finding,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Finding {
    /// A request was refused and could not be sent again: the next answer to a later token tells.
    Unknown { refused: u64 },
    /// It has refused a token and its successor.
    Refuses,
}

impl Refusals {
    /// Whether a refusal may cause one more refresh. A route that refuses by itself leaves the last
    /// one to the others.
    fn admits(&mut self, refuses: bool, now: Instant, (most, window): (u32, Duration)) -> bool {
        self.charges.retain(|charge| now.duration_since(charge.cause.at) < window);
        let most = if refuses { most.saturating_sub(1).max(most.min(1)) } else { most };
        self.charges.len() < most as usize
    }

    /// Whether there is nothing in it that still counts.
    #[cfg(feature = "sessions")]
    pub(super) fn are_over(&self, now: Instant, window: Duration) -> bool {
        let is_old = |since: Instant, life| now.duration_since(since) >= life;
        self.charges.iter().all(|charge| is_old(charge.cause.at, window))
            && self.routes.iter().all(|watched| is_old(watched.since, ROUTE_PAUSE))
    }

    fn watch(&mut self, route: Route, since: Instant, finding: Finding) {
        self.forget(route);
        if self.routes.len() == MOST_ROUTES {
            self.routes.remove(0);
        }
        self.routes.push(Watched { route, since, finding });
    }

    fn forget(&mut self, route: Route) {
        self.routes.retain(|watched| watched.route != route);
    }

    fn finding(&self, route: Option<Route>) -> Option<(Finding, Instant)> {
        let watched = self.routes.iter().find(|watched| Some(watched.route) == route)?;
        Some((watched.finding, watched.since))
    }

    /// Routes that nothing is heard of any more cost each request a look.
    fn prune(&mut self, now: Instant) {
        self.routes.retain(|watched| now.duration_since(watched.since) < 2 * ROUTE_PAUSE);
    }

    /// What the generation brought was worth its refresh.
    fn take_back(&mut self, generation: u64, is_judged: bool) {
        self.charges.retain(|Charge { cause, generation: brought }| {
            *brought != generation || !cause.had_served || cause.is_judged != is_judged
        });
    }
}

impl State {
    /// Whether the refusal of the current token may cause a refresh.
    pub(super) fn admit(
        &mut self,
        refused: &Refused,
        config: &Config,
        now: &Now,
    ) -> Result<Cause, Error> {
        let (generation, had_served) = (self.slot.generation, self.has_served(now.mono));
        let refusals = self.life.refusals.get_or_insert_default();
        if had_served {
            // No retry tells what a caller's own request for a successor was worth, but its life.
            refusals.take_back(generation, false);
        }
        let refuses = refusals.finding(refused.route).is_some();
        if !refusals.admits(refuses, now.mono, config.refusals) {
            return Err(Error::new(
                ErrorKind::TokenRefused,
                "the API has refused several new tokens in a row: it is left alone for a while",
            ));
        }
        if let Some(route) = refused.route.filter(|_| refuses) {
            refusals.watch(route, now.mono, Finding::Refuses);
        }
        Ok(Cause { at: now.mono, had_served, is_judged: refused.route.is_some() })
    }

    /// Whether the route refuses the current token as it refuses any.
    pub(super) fn check_route(&mut self, refused: &Refused, now: &Now) -> Result<(), Error> {
        let has_served = self.has_served(now.mono);
        let Some(refusals) = &mut self.life.refusals else { return Ok(()) };
        match (refusals.finding(refused.route), refused.route) {
            (Some((Finding::Refuses, since)), _) if now.mono < since + ROUTE_PAUSE => {}
            (Some((Finding::Unknown { refused }, _)), Some(route))
                if refused < self.slot.generation && !has_served =>
            {
                refusals.watch(route, now.mono, Finding::Refuses);
            }
            _ => return Ok(()),
        }
        Err(Error::new(
            ErrorKind::TokenRefused,
            "the API has refused a token and its successor here: it is left alone for a while",
        ))
    }

    /// A request was refused that cannot be sent again.
    pub(super) fn watch_route(&mut self, refused: &Refused, now: &Now) {
        if let Some(route) = refused.route {
            let finding = Finding::Unknown { refused: refused.token.generation.into() };
            self.life.refusals.get_or_insert_default().watch(route, now.mono, finding);
        }
    }

    /// A refresh brought a token. If a refusal has caused it, it is charged.
    pub(super) fn charge(&mut self, cause: Option<Cause>, now: &Now) {
        if let Some(refusals) = &mut self.life.refusals {
            refusals.prune(now.mono);
        }
        if let Some(cause) = cause {
            let charge = Charge { cause, generation: self.slot.generation };
            self.life.refusals.get_or_insert_default().charges.push_back(charge);
        }
    }

    /// Whether answers of routes tell anything.
    pub(in crate::session) fn watches_routes(&self) -> bool {
        self.life.refusals.as_ref().is_some_and(|refusals| !refusals.routes.is_empty())
    }

    /// Whether this answer does.
    pub(in crate::session) fn is_telling(&self, answer: &Answer) -> bool {
        let id = self.id();
        answer.token.is_of_login(&id)
            && self.life.refusals.as_ref().is_some_and(|refusals| {
                answer.retried_at.is_some() && (!answer.is_accepted || !refusals.charges.is_empty())
                    || refusals.finding(Some(answer.route)).is_some()
            })
    }

    pub(in crate::session) fn judge(&mut self, answer: &Answer, now: &Now) {
        let Answer { token, route, retried_at, is_accepted } = *answer;
        let generation = u64::from(token.generation);
        // An old token that is refused says nothing of the route.
        let is_new = retried_at.is_some_and(|at| token == self.id() && !self.has_served(at));
        let Some(refusals) = &mut self.life.refusals else { return };
        if !is_accepted {
            if is_new {
                refusals.watch(route, now.mono, Finding::Refuses);
            }
            return;
        }
        match refusals.finding(Some(route)) {
            Some((Finding::Unknown { refused }, _)) if generation <= refused => {}
            Some((Finding::Unknown { .. }, _)) => {
                refusals.forget(route);
                refusals.take_back(generation, true);
            }
            Some((Finding::Refuses, _)) => refusals.forget(route),
            None => {}
        }
        if retried_at.is_some() {
            refusals.take_back(generation, true);
        }
    }

    /// What the API refused to one login it may give to another.
    pub(super) fn forget_routes(&mut self) {
        if let Some(refusals) = &mut self.life.refusals {
            refusals.routes.clear();
        }
    }

    /// Whether the token in use had served at this moment.
    fn has_served(&self, at: Instant) -> bool {
        self.slot.current.as_ref().is_none_or(|current| {
            let quarter = current.tokens.life.map_or(SERVED, |life| life / 4);
            current.age(at) >= SERVED.min(quarter)
        })
    }

    /// How long it takes until this token is as old as that, if it is in use and younger.
    pub(in crate::session) fn until_aged(
        &self,
        token: TokenId,
        age: Duration,
        now: &Now,
    ) -> Option<Duration> {
        let current = self.slot.current.as_ref().filter(|_| token == self.id())?;
        age.checked_sub(current.age(now.mono)).filter(|rest| !rest.is_zero())
    }
}

/// No path, and not its hash either.
impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Route").finish_non_exhaustive()
    }
}
