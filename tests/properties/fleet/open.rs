//! A process, its session, and what is asked of it.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time::Instant};
use tower_refresh::{Error, Session};

use super::{
    process::{Place, Process, Violations},
    server::Server,
    world::World,
};

/// What sessions keep by default: a caller's patience, and a call's to the store.
pub(crate) const WAIT_LIMIT: Duration = Duration::from_secs(30);
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// A process that takes requests.
#[derive(Clone)]
pub(crate) struct Open {
    pub(crate) process: Arc<Process>,
    pub(crate) session: Session,
    pub(crate) callers: Vec<Arc<JoinHandle<()>>>,
}

impl Open {
    /// A request, which is refused if its token is no good.
    pub(crate) fn ask(&mut self, world: &World) {
        let (open, server, violations) =
            (self.alone(), world.server.clone(), world.violations.clone());
        self.call(async move {
            let _ = open.get(&server, &violations).await;
        });
    }

    pub(crate) async fn get(
        &self,
        server: &Server,
        violations: &Violations,
    ) -> Result<String, Error> {
        let token = self.within(WAIT_LIMIT, "a token", violations, self.session.token()).await?;
        self.process.saw(token.expose(), violations);
        if server.accepts(token.expose()) {
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
            let refresh = open.session.refresh();
            if let Ok(token) = open.within(WAIT_LIMIT, "a refresh", &violations, refresh).await {
                open.process.saw(token.expose(), &violations);
            }
        });
    }

    /// Somebody logs in or out here. It counts from the first poll on.
    pub(crate) fn decide(
        &mut self,
        number: u64,
        world: &World,
        decision: impl Future<Output = Result<(), Error>> + Send + 'static,
    ) {
        let (open, violations) = (self.alone(), world.violations.clone());
        let mut decision = Box::pin(decision);
        self.process.lock().decided = number;
        let first = futures::FutureExt::now_or_never(&mut decision);
        self.process.lock().seen = Place { login: number, turn: 0 };
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
        let closed = self.within(WAIT_LIMIT, "an end", &violations, close).await;
        self.process.lock().closed = closed.is_ok();
        let lost = closed.is_ok() && self.session.status().is_unsaved();
        violations.unless(!lost, || format!("{name} ends with tokens unsaved"));
        closed
    }

    /// Whether its newest tokens, or that there are none, go back to somebody's decision here.
    pub(crate) fn has_decided(&self) -> bool {
        let state = self.process.lock();
        state.decided >= state.seen.login
    }

    /// The same without those who wait.
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
        let start = Instant::now();
        let output = work.await;
        let (took, name) = (start.elapsed(), self.process.name);
        // Tokio's timers are as fine as a millisecond.
        let in_time = took <= limit + Duration::from_millis(1);
        violations.unless(in_time, || format!("{name} waited {took:?} for {what}"));
        output
    }
}

impl Process {
    /// A token is in use here.
    pub(crate) fn saw(&self, token: &str, violations: &Violations) {
        let (place, mut state) = (Place::of(token), self.lock());
        let (seen, name) = (state.seen, self.name);
        violations.unless(seen <= place, || format!("{name} goes back to {token} from {seen:?}"));
        state.seen = seen.max(place);
    }
}
