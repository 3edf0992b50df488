//! A process that takes requests: its session, and what is asked of it.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time::Instant};
use tower_refresh::{Error, Refresh, Session};

use super::{
    api::{Api, Requests},
    process::{Place, Process, STORE_TIMEOUT, TICK, Violations},
    server::Server,
    shelf::Shelf,
    world::World,
};

/// How long a caller waits for a token: less than a refresh may take.
pub(crate) const WAIT_LIMIT: Duration = Duration::from_secs(25);

/// How long a program waits for its end: what a call may take, and a save.
const CLOSE_LIMIT: Duration = Duration::from_secs(68);

#[derive(Clone)]
pub(crate) struct Open {
    pub(crate) process: Arc<Process>,
    pub(crate) session: Session,
    pub(crate) client: Refresh<Api>,
    pub(crate) requests: Requests,
    pub(crate) callers: Vec<Arc<JoinHandle<()>>>,
    /// When the session was seen last without a refresh.
    pub(crate) quiet_at: Instant,
}

impl Open {
    /// A request through the layer, which is sent again if its token is refused.
    pub(crate) fn ask(&mut self) {
        let (requests, session, client) =
            (self.requests.clone(), self.session.clone(), self.client.clone());
        self.call(requests.send(session, client));
    }

    /// A token that the API accepts, if there is one.
    pub(crate) async fn get(
        &self,
        server: &Server,
        violations: &Violations,
    ) -> Result<String, Error> {
        let token = self.within(WAIT_LIMIT, "a token", violations, self.session.token()).await?;
        self.process.saw(token.expose(), violations);
        if server.issuer.accepts(token.expose()) {
            return Ok(token.expose().to_owned());
        }
        let successor = self.session.replace(token.id());
        let token = self.within(WAIT_LIMIT, "a successor", violations, successor).await?;
        self.process.saw(token.expose(), violations);
        Ok(token.expose().to_owned())
    }

    pub(crate) fn refresh(&mut self, world: &World) {
        let (open, violations) = (self.alone(), world.violations.clone());
        self.call(async move {
            let _by_hand = ByHand::new(&open.process);
            let refresh = open.session.refresh();
            if let Ok(token) = open.within(WAIT_LIMIT, "a refresh", &violations, refresh).await {
                open.process.saw(token.expose(), &violations);
            }
        });
    }

    /// A user logs in or out here. It counts from the first poll on.
    pub(crate) fn decide(
        &mut self,
        number: u64,
        world: &World,
        decision: impl Future<Output = Result<(), Error>> + Send + 'static,
    ) {
        let (open, violations) = (self.alone(), world.violations.clone());
        let mut decision = Box::pin(decision);
        {
            let mut state = self.process.lock();
            state.decided = number;
            state.told = Place { login: number, turn: 0 };
        }
        let first = futures::FutureExt::now_or_never(&mut decision);
        {
            let mut state = self.process.lock();
            state.seen = Place { login: number, turn: 0 };
            state.seen_access = state.seen;
        }
        if first.is_none() {
            self.call(async move {
                let _ = open.within(STORE_TIMEOUT, "a decision", &violations, decision).await;
            });
        }
    }

    /// The program ends, as it should or because it has waited long enough.
    pub(crate) async fn close(self, violations: Violations) -> Result<(), Error> {
        let name = self.process.name;
        let close = self.session.close();
        let closed = self.within(CLOSE_LIMIT, "an end", &violations, close).await;
        self.process.lock().closed = closed.is_ok();
        let lost = closed.is_ok() && self.session.status().is_unsaved();
        violations.unless(!lost, || format!("{name} ends with tokens unsaved"));
        closed
    }

    /// Whether its newest tokens, or that there are none, go back to a decision here.
    pub(crate) fn has_decided(&self) -> bool {
        let decided = self.process.lock().decided;
        decided >= self.process.login()
    }

    /// No process drops a refresh token that it was told of, unless the store has had a newer one
    /// or a decision. With no refresh under way nothing is to come.
    pub(crate) fn has_dropped(&self, shelf: &Shelf) -> Option<String> {
        let (name, told) = (self.process.name, self.process.lock().told);
        let tokens = self.session.tokens()?;
        let kept = Place::of(tokens.refresh_token()?.expose());
        let dropped = kept < told && shelf.newest() <= told;
        dropped.then(|| format!("{name} keeps {kept:?} although it was told of {told:?}"))
    }

    /// The same without the callers.
    fn alone(&self) -> Self {
        Self { callers: Vec::new(), ..self.clone() }
    }

    fn call(&mut self, call: impl Future<Output = ()> + Send + 'static) {
        self.callers.push(Arc::new(tokio::spawn(call)));
    }

    async fn within<F: Future>(
        &self,
        limit: Duration,
        what: &str,
        violations: &Violations,
        work: F,
    ) -> F::Output {
        let (start, jumped) = (Instant::now(), self.process.lock().jumped);
        let output = work.await;
        let late = self.process.lock().jumped - jumped;
        let (took, name) = (start.elapsed().saturating_sub(late), self.process.name);
        let in_time = took <= limit + TICK;
        violations.unless(in_time, || format!("{name} waited {took:?} for {what}"));
        output
    }
}

/// A refresh that was asked for by hand, and its caller.
struct ByHand<'a>(&'a Process);

impl<'a> ByHand<'a> {
    fn new(process: &'a Process) -> Self {
        process.lock().by_hand.1 += 1;
        Self(process)
    }
}

impl Drop for ByHand<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.by_hand.1 -= 1;
        // The refresh that it started may outlive it.
        state.by_hand.0 = Some(Instant::now() + Duration::from_secs(130));
    }
}

impl Process {
    /// A token is in use here.
    pub(crate) fn saw(&self, token: &str, violations: &Violations) {
        let (place, name) = (Place::of(token), self.name);
        let mut state = self.lock();
        let seen = match token.starts_with("access") {
            true => &mut state.seen_access,
            false => &mut state.seen,
        };
        let known = std::mem::replace(seen, place.max(*seen));
        violations.unless(known <= place, || format!("{name} goes back to {token} from {known:?}"));
    }
}
