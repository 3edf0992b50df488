//! What a session asks of the world: its settings, a store, an endpoint, a runtime, a listener.

use std::{
    future::{Future, pending, ready},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt};
use http::Uri;
use tokio::{runtime::Handle, time::timeout};
use tower::util::BoxCloneService;

use super::{
    config::Config,
    endpoint::{Endpoint, EndpointName},
    event::Events,
    sender::EventSender,
    state::{Busy, Identity, News},
};
use crate::{
    endpoint::{RefreshRequest, RevokeRequest, TokenResponse},
    error::{BoxError, Error, ErrorKind},
    store::{Record, SaveOutcome, TokenStore},
    token::Tokens,
};

/// A clone of the token endpoint, for one call.
pub(crate) type TokenEndpoint = BoxCloneService<RefreshRequest, TokenResponse, BoxError>;

/// A clone of the revocation endpoint, for one call.
pub(crate) type Revocation = BoxCloneService<RevokeRequest, (), BoxError>;

/// The session's side of the world. It has no key, no store handle and no endpoint type in it, so
/// that a session can be one of many.
pub(crate) trait Backend: Send + Sync {
    fn config(&self) -> &Config;

    /// Names this session among those that share a store.
    fn owner(&self) -> &str;

    /// Whether there is a store at all, or only this session's memory.
    fn is_stored(&self) -> bool;

    /// Reads the store, within its time-out. A record of another identity is an error.
    fn load(&self) -> BoxFuture<'_, Result<Option<Record>, Error>>;

    /// Writes to the store by compare-and-swap, within its time-out.
    fn save(
        &self,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'_, Result<SaveOutcome, Error>>;

    /// The first tokens of an identity of which the store holds nothing. `None`: a user has to log in.
    fn initial_tokens(&self) -> BoxFuture<'_, Result<Option<Tokens>, Error>> {
        ready(Ok(None)).boxed()
    }

    /// Whether the tokens may go to this URI, although its origin is none of the session's.
    fn reaches(&self, uri: &Uri) -> bool {
        let _ = uri;
        false
    }

    /// What is under way was this before a step of the session, and is that now.
    fn count(&self, before: Busy, after: Busy) {
        let _ = (before, after);
    }

    /// Resolves when the store may have changed. It keeps no session alive.
    fn changed(&self) -> BoxFuture<'static, ()>;

    fn endpoint(&self) -> TokenEndpoint;

    /// Where a new login is made once the refresh token is over.
    fn login(&self) -> Option<TokenEndpoint>;

    /// What messages call the token endpoint.
    fn endpoint_name(&self) -> EndpointName<'_>;

    /// What messages call the login endpoint.
    fn login_name(&self) -> EndpointName<'_>;

    fn revocation(&self) -> Option<Revocation>;

    /// What messages call the revocation endpoint.
    fn revocation_name(&self) -> EndpointName<'_>;

    /// The runtime that was named for this session's tasks.
    fn runtime(&self) -> Option<&Handle>;

    fn tell(&self, news: News);

    fn events(&self) -> Events;

    /// A refresh has ended after this long.
    fn refresh_took(&self, elapsed: Duration);

    /// The span that a refresh runs in, which replaces this generation.
    #[cfg(feature = "tracing")]
    fn span(&self, replaces: u64) -> tracing::Span;
}

/// The backend of a session that is built by itself.
pub(super) struct Single {
    pub(super) config: Config,
    /// As operators know the session, if it was named.
    pub(super) name: Option<String>,
    pub(super) owner: String,
    /// `None`: the session's memory is all there is.
    pub(super) store: Option<Arc<dyn TokenStore>>,
    pub(super) identity: Option<Arc<Identity>>,
    pub(super) endpoint: Endpoint<RefreshRequest, TokenResponse>,
    pub(super) login: Option<Box<Endpoint<RefreshRequest, TokenResponse>>>,
    pub(super) revocation: Option<Endpoint<RevokeRequest, ()>>,
    pub(super) runtime: Option<Handle>,
    pub(super) events: EventSender,
}

impl Backend for Single {
    fn config(&self) -> &Config {
        &self.config
    }

    fn owner(&self) -> &str {
        &self.owner
    }

    fn is_stored(&self) -> bool {
        self.store.is_some()
    }

    fn load(&self) -> BoxFuture<'_, Result<Option<Record>, Error>> {
        let Some(store) = &self.store else { return Box::pin(async { Ok(None) }) };
        let limit = self.config.store_timeout;
        Box::pin(async move {
            // An encrypted record is an error: it says nothing, not even that there are no tokens.
            let stored = in_store_time(limit, async { store.load().await }).await?;
            let Some(record) = stored.map(Record::opened).transpose()? else { return Ok(None) };
            // Invariant: nothing of another identity's record gets any further.
            if let Some(identity) = &self.identity {
                identity.check(&record)?;
            }
            Ok(Some(record))
        })
    }

    fn save(
        &self,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'_, Result<SaveOutcome, Error>> {
        let Some(store) = &self.store else {
            return Box::pin(async { Ok(SaveOutcome::Stored) });
        };
        let limit = self.config.store_timeout;
        Box::pin(
            async move { in_store_time(limit, async { store.save(record, expected).await }).await },
        )
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let Some(store) = self.store.clone() else { return pending().boxed() };
        async move {
            // One that panics has no news.
            if AssertUnwindSafe(async { store.changed().await }).catch_unwind().await.is_err() {
                pending().await
            }
        }
        .boxed()
    }

    fn endpoint(&self) -> TokenEndpoint {
        self.endpoint.instance()
    }

    fn login(&self) -> Option<TokenEndpoint> {
        Some(self.login.as_ref()?.instance())
    }

    fn login_name(&self) -> EndpointName<'_> {
        let host = self.login.as_deref().and_then(Endpoint::host);
        EndpointName { what: "login", host, session: self.name.as_deref() }
    }

    fn endpoint_name(&self) -> EndpointName<'_> {
        let (host, session) = (self.endpoint.host(), self.name.as_deref());
        EndpointName { what: "token", host, session }
    }

    fn revocation_name(&self) -> EndpointName<'_> {
        let host = self.revocation.as_ref().and_then(Endpoint::host);
        EndpointName { what: "revocation", host, session: self.name.as_deref() }
    }

    fn revocation(&self) -> Option<Revocation> {
        Some(self.revocation.as_ref()?.instance())
    }

    fn runtime(&self) -> Option<&Handle> {
        self.runtime.as_ref()
    }

    fn tell(&self, news: News) {
        match news {
            News::Event(event) => self.events.send(event),
            News::TokenLife(life) => self.events.observer().token_lives(life),
        }
    }

    fn events(&self) -> Events {
        self.events.subscribe()
    }

    fn refresh_took(&self, elapsed: Duration) {
        self.events.observer().refresh_took(elapsed);
    }

    #[cfg(feature = "tracing")]
    fn span(&self, replaces: u64) -> tracing::Span {
        self.events.observer().span(replaces)
    }
}

/// Gives a call to the store its time-out, and its failures their kind. A panic is a failure: a
/// refresh that died of it would take a rotated refresh token along.
pub(crate) async fn in_store_time<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, BoxError>>,
) -> Result<T, Error> {
    let call = AssertUnwindSafe(call).catch_unwind();
    let call = call.map(|result| result.unwrap_or_else(|_panic| Err("it panicked".into())));
    let result = match timeout(limit, call).await {
        Ok(result) => result,
        Err(_elapsed) => Err(format!("it did not answer within {limit:?}: is it up?").into()),
    };
    result.map_err(|error| {
        Error::with_source(ErrorKind::Store, "the token store cannot be used", error)
    })
}
