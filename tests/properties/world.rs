//! A session between an endpoint and an API, both in memory and both watched by the model.

use std::{
    collections::HashSet,
    convert::Infallible,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::Full;
use tokio::{
    sync::watch,
    task::{JoinHandle, yield_now},
    time::{Instant, advance, sleep},
};
use tower::{Layer, Service, ServiceExt};
use tower_refresh::{
    AccessToken, BoxError, Error, Event, Events, Refresh, RefreshLayer, Session, Tokens,
    endpoint::{EndpointError, FailureClass, RefreshRequest, Spent, TokenResponse},
    testing::{Answer, GatedEndpoint, Hold},
};

use crate::{
    model::Model,
    operation::{Health, Life, Operation, Reply, Start},
    store::Fragile,
};

/// A caller waits no longer for a token: less than a round may take.
const WAIT_LIMIT: Duration = Duration::from_secs(7);

pub(crate) struct World {
    pub(crate) model: Model,
    pub(crate) session: Session,
    pub(crate) endpoint: GatedEndpoint,
    pub(crate) api: Api,
    store: Option<Fragile>,
    client: Refresh<Api>,
    events: Events,
    callers: Vec<JoinHandle<()>>,
    holds: Vec<Hold>,
    /// Names tokens.
    named: usize,
}

impl World {
    pub(crate) fn new(start: &Start) -> Self {
        let (model, endpoint) = (Model::default(), GatedEndpoint::new());
        let store = start.store.map(Fragile::new);
        let tokens = tokens(start.access.map(|life| ("seed", life)), start.refresh.then_some("r"));
        // A seed that waits for a store ages by the wall clock, which stands still here.
        let known = start.access.map(|life| match store {
            Some(_) => ("seed", Life::Unknown),
            None => ("seed", life),
        });
        model.lock().log_in(known, start.refresh.then_some("r"));
        let watched =
            Watched { inner: endpoint.clone(), model: model.clone(), store: store.clone() };
        let session = Session::builder(watched).initial_tokens(tokens).keep_fresh(start.keep_fresh);
        let session = session.wait_limit(WAIT_LIMIT);
        let session = match &store {
            Some(store) => session.store(store.clone()),
            None => session,
        };
        let session = session.build();
        let api = Api::new(model.clone());
        let client = RefreshLayer::new(session.clone()).layer(api.clone());
        let events = session.events();
        Self {
            model,
            session,
            endpoint,
            api,
            store,
            client,
            events,
            callers: Vec::new(),
            holds: Vec::new(),
            named: 0,
        }
    }

    pub(crate) async fn step(&mut self, operation: &Operation) {
        match operation {
            Operation::Request => self.request(),
            Operation::Refresh => self.refresh(),
            Operation::Drop(index) => {
                if !self.callers.is_empty() {
                    let caller = self.callers.swap_remove(index.index(self.callers.len()));
                    caller.abort();
                }
            }
            Operation::Sleep(time) => sleep(*time).await,
            Operation::Jump(time) => {
                self.model.lock().jumped += *time;
                advance(*time).await;
            }
            Operation::RefuseCurrent => {
                if let Some(token) = self.in_use() {
                    self.api.state.lock().unwrap().refused.insert(token);
                }
            }
            Operation::RefuseAll(all) => self.api.refuse_all(*all),
            Operation::HoldApi(held) => self.api.hold(*held),
            Operation::Answer(reply) => {
                let answer = self.answer(reply);
                self.endpoint.answer(answer);
            }
            Operation::HoldEndpoint => self.holds.push(self.endpoint.hold()),
            Operation::LetOneThrough => {
                if let Some(hold) = self.holds.last() {
                    hold.let_through(1);
                }
            }
            Operation::ReleaseEndpoint => self.holds.clear(),
            Operation::SetTokens(life) => {
                let access = self.name("set");
                self.set(Some((access, *life)));
            }
            Operation::SetRefreshToken => self.set(None),
            Operation::Clear => {
                let (model, session) = (self.model.clone(), self.session.clone());
                self.callers.push(tokio::spawn(async move {
                    model.lock().log_out();
                    let _ = session.log_out().await;
                }));
            }
            Operation::Store(health) => {
                if let Some(store) = &self.store {
                    store.set(*health);
                }
            }
        }
        self.rest().await;
    }

    /// Lets everything run that can, and looks.
    pub(crate) async fn rest(&mut self) {
        for _ in 0..32 {
            yield_now().await;
        }
        while let Some(Some(event)) = self.events.next().now_or_never() {
            if matches!(event, Event::RotationLost) {
                self.model.lock().told_of_lost_rotation();
            }
        }
        let (in_use, live) = (self.in_use(), self.session.status().is_live());
        self.model.lock().at_rest(in_use.as_deref(), live);
        self.callers.retain(|caller| !caller.is_finished());
    }

    /// Everything answers again.
    fn release(&mut self) {
        self.holds.clear();
        self.api.hold(false);
        if let Some(store) = &self.store {
            store.set(Health::Well);
        }
    }

    /// Everything answers again, and time goes on until nobody can have any reason to wait.
    pub(crate) async fn end(&mut self) {
        self.release();
        self.rest().await;
        // A token for the request, and one for its retry; then every pause is over.
        sleep(WAIT_LIMIT * 2).await;
        self.rest().await;
        let waiting = self.callers.len();
        self.model.lock().hold(waiting == 0, || format!("{waiting} callers wait for ever"));
        sleep(Duration::from_secs(400)).await;
    }

    /// After this nothing starts any more, and the newest refresh token is where it belongs.
    pub(crate) async fn close(&mut self) {
        self.release();
        let mut closed = self.session.close().await;
        if closed.is_err() {
            // A round may take longer than anybody waits.
            self.end().await;
            closed = self.session.close().await;
        }
        let newest = self.after_close(closed);
        if let Some(store) = &self.store
            && let Some(stored) =
                tower_refresh::store::TokenStore::load(&*store.inner).await.unwrap()
        {
            let stored = stored.tokens().and_then(Tokens::refresh_token).map(|t| t.expose());
            self.model.lock().hold(stored == newest.as_deref(), || {
                format!("{stored:?} is stored although the newest is {newest:?}")
            });
        }
        self.request();
        self.refresh();
        sleep(Duration::from_secs(100_000)).await;
        self.request();
        self.rest().await;
        sleep(WAIT_LIMIT).await;
        let waiting = self.callers.iter().filter(|caller| !caller.is_finished()).count();
        self.model.lock().hold(waiting == 0, || "callers wait after the end".into());
    }

    /// What memory holds is the newest refresh token; it is returned.
    fn after_close(&self, closed: Result<(), Error>) -> Option<String> {
        let mut model = self.model.lock();
        model.hold(closed.is_ok(), || format!("{closed:?}"));
        model.close();
        let in_use = self.session.tokens();
        let loaded = self.store.is_none() || in_use.is_some() || model.is_logged_out();
        let in_use = in_use.as_ref().and_then(Tokens::refresh_token).map(|token| token.expose());
        let newest = model.newest().map(str::to_owned);
        model.hold(!loaded || in_use == newest.as_deref(), || {
            format!("{in_use:?} is kept although the newest is {newest:?}")
        });
        newest
    }

    pub(crate) fn request(&mut self) {
        let (model, session, client) =
            (self.model.clone(), self.session.clone(), self.client.clone());
        self.callers.push(tokio::spawn(async move {
            let in_use = in_use(&session);
            let id = model.lock().request(in_use.as_deref(), session.status().is_live());
            let mut request = Request::new(Full::from("hello"));
            *request.uri_mut() = "https://api.example/v1".parse().unwrap();
            request.extensions_mut().insert(Id(id));
            let _done = Done { model: model.clone(), id };
            let mut response = client.oneshot(request).boxed();
            let first = futures::poll!(&mut response);
            model.lock().started();
            if first.is_pending() {
                let _ = response.await;
            }
        }));
    }

    fn refresh(&mut self) {
        let (model, session) = (self.model.clone(), self.session.clone());
        self.callers.push(tokio::spawn(async move {
            let (began, jumped) = (Instant::now(), model.lock().jumped);
            let _ = session.refresh().await;
            let mut model = model.lock();
            let took = began.elapsed().saturating_sub(model.jumped - jumped);
            // Tokio's timers are as fine as a millisecond.
            let in_time = took <= WAIT_LIMIT + Duration::from_millis(1);
            model.hold(in_time, || format!("a caller waited for {took:?}"));
        }));
    }

    fn set(&mut self, access: Option<(String, Life)>) {
        let refresh = self.name("set-refresh");
        let (model, session) = (self.model.clone(), self.session.clone());
        self.callers.push(tokio::spawn(async move {
            let access = access.as_ref().map(|(access, life)| (access.as_str(), *life));
            // They count from the first poll on: nothing comes between these two.
            model.lock().log_in(access, Some(&refresh));
            let _ = session.set_tokens(tokens(access, Some(&refresh))).await;
        }));
    }

    fn answer(&mut self, reply: &Reply) -> Answer {
        match reply {
            Reply::Tokens { life, rotates } => {
                let mut response = TokenResponse::new(self.name("access")).unwrap();
                if let Life::Of(life) = life {
                    response = response.with_expires_in(*life);
                }
                if *rotates {
                    response = response.with_refresh_token(self.name("refresh")).unwrap();
                }
                response.into()
            }
            Reply::SameToken => {
                let same = self.in_use().unwrap_or_else(|| self.name("access"));
                let response = TokenResponse::new(same).unwrap();
                response.with_refresh_token(self.name("refresh")).unwrap().into()
            }
            Reply::Busy(retry_after) => {
                let error = EndpointError::transient("busy").with_spent(Spent::No);
                match retry_after {
                    Some(time) => error.with_retry_after(*time),
                    None => error,
                }
                .into()
            }
            Reply::Ambiguous => EndpointError::transient("lost").into(),
            Reply::Misconfigured => EndpointError::misconfigured("who are you?").into(),
            Reply::InvalidGrant => EndpointError::invalid_grant("it is over").into(),
            Reply::Panic => Answer::Panic,
            Reply::Silence => Answer::Never,
            Reply::Late(time, reply) => self.answer(reply).after(*time),
        }
    }

    fn in_use(&self) -> Option<String> {
        in_use(&self.session)
    }

    fn name(&mut self, what: &str) -> String {
        self.named += 1;
        format!("{what}-{}-own", self.named)
    }
}

/// Tells the model when nobody waits for the request any more.
struct Done {
    model: Model,
    id: usize,
}

impl Drop for Done {
    fn drop(&mut self) {
        self.model.lock().requests[self.id].done = true;
    }
}

fn in_use(session: &Session) -> Option<String> {
    let tokens = session.tokens()?;
    tokens.access_token().map(AccessToken::expose).map(str::to_owned)
}

fn tokens(access: Option<(&str, Life)>, refresh: Option<&str>) -> Tokens {
    let mut tokens = match access {
        Some((access, Life::Of(life))) => {
            Tokens::new(access).unwrap().with_expires_at(SystemTime::now() + life)
        }
        Some((access, Life::Unknown)) => Tokens::new(access).unwrap(),
        None => Tokens::default(),
    };
    if let Some(refresh) = refresh {
        tokens = tokens.with_refresh_token(refresh).unwrap();
    }
    tokens
}

/// The endpoint, and the model that looks on.
#[derive(Clone)]
struct Watched {
    inner: GatedEndpoint,
    model: Model,
    store: Option<Fragile>,
}

impl Service<RefreshRequest> for Watched {
    type Response = TokenResponse;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<TokenResponse, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: RefreshRequest) -> Self::Future {
        let (model, store) = (self.model.clone(), self.store.clone());
        let presented = request.refresh_token().map(|token| token.expose());
        let epoch = model.lock().call(presented);
        let call = self.inner.call(request);
        Box::pin(async move {
            let unanswered = Unanswered { model: model.clone(), epoch };
            let result = call.await;
            let mut model = model.lock();
            match &result {
                Ok(response) => model.granted(epoch, response),
                Err(error) => {
                    let error = error.downcast_ref::<EndpointError>();
                    if error.is_none_or(|error| error.spent() != Spent::No) {
                        model.ambiguous(epoch);
                    }
                    if error.is_some_and(|error| error.class() == FailureClass::InvalidGrant) {
                        model.refused_grant(epoch);
                        if store.is_none_or(|store| store.answers()) {
                            model.grant_over(epoch);
                        }
                    }
                }
            }
            drop(model);
            unanswered.answered();
            result
        })
    }
}

/// A call that may never be answered: it panics, or lasts too long.
struct Unanswered {
    model: Model,
    epoch: u64,
}

impl Unanswered {
    fn answered(mut self) {
        self.model = Model::default();
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.model.lock().ambiguous(self.epoch);
    }
}

/// Which request of the model this is.
#[derive(Clone, Copy)]
struct Id(usize);

/// An API that refuses what it is told to.
#[derive(Clone)]
pub(crate) struct Api {
    state: Arc<Mutex<ApiState>>,
    held: watch::Sender<bool>,
    model: Model,
}

#[derive(Default)]
struct ApiState {
    refused: HashSet<String>,
    refuses_all: bool,
}

impl Api {
    fn new(model: Model) -> Self {
        Self { state: Arc::default(), held: watch::Sender::new(false), model }
    }

    pub(crate) fn refuse_all(&self, all: bool) {
        self.state.lock().unwrap().refuses_all = all;
    }

    fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    fn refuses(&self, authorization: &str) -> bool {
        let state = self.state.lock().unwrap();
        let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
        state.refuses_all || state.refused.contains(token)
    }
}

impl Service<Request<Full<Bytes>>> for Api {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let api = self.clone();
        let Id(id) = *request.extensions().get().unwrap();
        let authorization: Vec<_> =
            request.headers().get_all(AUTHORIZATION).iter().cloned().collect();
        api.model.lock().sent(id, &authorization);
        Box::pin(async move {
            // It decides when it answers, so that a refusal may come late.
            api.held.subscribe().wait_for(|&held| !held).await.unwrap();
            let mut response = Response::new(Full::default());
            let token = authorization.first().and_then(|value| value.to_str().ok());
            if token.is_some_and(|token| api.refuses(token)) {
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                api.model.lock().refused(id);
            }
            Ok(response)
        })
    }
}
