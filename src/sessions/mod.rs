//! Many identities: one session for each, made when it is needed and forgotten when it is not.
//!
//! Read `residents` for what is kept and what may be forgotten, `member` for what a session of a
//! set asks of it, and `sweep` for the one task that does what is due in time.

mod builder;
mod events;
mod member;
mod residents;
mod set;
mod sweep;

use std::{
    fmt,
    hash::Hash,
    sync::{Arc, atomic::Ordering},
};

use futures_util::future::join_all;
use tower_service::Service;

pub use self::{
    builder::SessionsBuilder,
    events::{SetEvent, SetEvents},
};
use self::{
    member::Member,
    residents::{Resident, Residents},
    set::Set,
};
use crate::{
    endpoint::{RefreshRequest, TokenResponse},
    error::{BoxError, Error},
    session::{Session, member_cell},
};

/// A bounded set of sessions, one for each key: the users of a gateway, the tenants of a job
/// runner.
///
/// [`get`](Self::get) makes the session of a key when it is first asked for. It is a
/// [`Session`] as any other: log in with [`set_tokens`](Session::set_tokens), out with
/// [`log_out`](Session::log_out).
///
/// ```
/// # use tower_refresh::{BoxError, Sessions, Tokens, testing::GatedEndpoint};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let endpoint = GatedEndpoint::new();
/// let sessions = Sessions::builder(move |_user: &u64| endpoint.clone()).build();
///
/// // Ann logs in.
/// sessions.get(&1).set_tokens(Tokens::from_refresh_token("tGzv3JOkF0")?).await?;
/// // Her requests carry her token.
/// let token = sessions.get(&1).token().await?;
/// assert_eq!(token.header_value(), "Bearer access-1");
/// # Ok(())
/// # }
/// ```
///
/// # What is kept
///
/// A session stays while anything holds it (a request, a refresh, a variable of yours), and while
/// something would be lost with it: tokens that are not saved, a call without an answer, the pause
/// after a failure. Any other may be forgotten: when it was not used for
/// [`idle`](SessionsBuilder::idle), and when there are more than
/// [`capacity`](SessionsBuilder::capacity). The next `get` makes it anew, and its first use reads
/// the [store](SessionsBuilder::store).
///
/// Without a store a session whose refresh token exists nowhere else is never forgotten, nor is one
/// that was logged out: give the set a store, or bound the users by other means.
///
/// There are never two sessions of one set for one key, so a refresh token is used once.
///
/// # What it costs
///
/// A session that is not used costs memory and nothing else: no task, no timer, no connection, no
/// look at the store. One task per set does what is due, while the set is not empty.
pub struct Sessions<K> {
    inner: Arc<Inner<K>>,
}

struct Inner<K> {
    residents: Residents<K>,
    /// What all sessions share. It does not hold the map, which holds them.
    set: Arc<Set<K>>,
}

impl<K: Eq + Hash + Clone + Send + Sync + 'static> Inner<K> {
    fn get(&self, key: &K) -> Resident<K> {
        let set = &self.set;
        self.residents.get(key, || {
            Arc::new(member_cell(Member::new(key.clone(), set.clone()), set.membership()))
        })
    }
}

impl<K> Drop for Inner<K> {
    fn drop(&mut self) {
        self.set.gone.notify_one();
    }
}

impl<K: Eq + Hash + Clone + Send + Sync + 'static> Sessions<K> {
    /// Starts to build a set whose sessions get their tokens from what `endpoint` returns for their
    /// key: the clone of an endpoint that all share, or one of the key's own.
    ///
    /// It is called for each attempt of a refresh, and what it returns is dropped after the call.
    /// So clone there, and do not build: an endpoint that is built anew has a limit, a breaker and
    /// discovered metadata of its own each time.
    ///
    /// ```
    /// # use std::collections::HashMap;
    /// # use tower_refresh::{Sessions, endpoint::OAuth2Endpoint};
    /// # fn doc(shared: OAuth2Endpoint, tenants: HashMap<String, OAuth2Endpoint>) {
    /// let users = Sessions::builder(move |_user: &u64| shared.clone());
    /// let tenants = Sessions::builder(move |tenant: &String| tenants[tenant].clone());
    /// # let _: (tower_refresh::SessionsBuilder<u64>, _) = (users, tenants.build());
    /// # }
    /// ```
    pub fn builder<F, E>(endpoint: F) -> SessionsBuilder<K>
    where
        F: Fn(&K) -> E + Send + Sync + 'static,
        E: Service<RefreshRequest, Response = TokenResponse> + Clone + Send + 'static,
        E::Error: Into<BoxError>,
        E::Future: Send + 'static,
    {
        SessionsBuilder::new(endpoint)
    }

    /// The session of `key`. It is made if there is none, and does no I/O before it is used.
    pub fn get(&self, key: &K) -> Session {
        let set = &self.inner.set;
        let member = self.inner.get(key);
        member.backend().touch();
        let session = Session::of(member);
        // In this order: `close` says so first, and then tells those that there are.
        if set.closed.load(Ordering::SeqCst) {
            session.begin_close();
        }
        sweep::start(&self.inner);
        session
    }

    /// How many sessions there are in memory.
    pub fn len(&self) -> usize {
        self.inner.residents.len()
    }

    /// Whether there are no sessions in memory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys of the sessions in memory, as they are now.
    pub fn keys(&self) -> Vec<K> {
        self.inner.residents.keys()
    }

    /// How things stand, for a health check.
    pub fn status(&self) -> SessionsStatus {
        let set = &self.inner.set;
        SessionsStatus {
            resident: self.len(),
            refreshing: set.refreshing.load(Ordering::Relaxed),
            unsaved: set.unsaved.load(Ordering::Relaxed),
        }
    }

    /// What happens to any session of the set from now on. A reader that is slow misses events, and
    /// is told so; it never holds up a session.
    pub fn events(&self) -> SetEvents<K> {
        self.inner.set.events()
    }

    /// Starts no more refreshes, and waits until those under way are done and all tokens are saved.
    /// Call it before a program ends.
    ///
    /// A token that is live is still given out afterwards.
    ///
    /// # Errors
    ///
    /// That of the first session which could not be closed, with how many could not; see
    /// [`Session::close`].
    pub async fn close(&self) -> Result<(), Error> {
        self.inner.set.closed.store(true, Ordering::SeqCst);
        let mut busy = Vec::new();
        self.inner.residents.each(|session| {
            session.begin_close();
            if !session.is_settled() {
                busy.push(session.clone());
            }
        });
        let closed = join_all(busy.iter().map(Session::close)).await;
        let mut failed = closed.into_iter().filter_map(Result::err);
        let Some(first) = failed.next() else { return Ok(()) };
        let sessions = 1 + failed.count();
        let message = format!("{sessions} sessions of the set could not be closed in time");
        Err(Error::with_source(first.kind(), message, first))
    }
}

/// How things stand with a set of sessions; see [`Sessions::status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionsStatus {
    resident: usize,
    refreshing: usize,
    unsaved: usize,
}

impl SessionsStatus {
    /// How many sessions are in memory.
    pub fn resident(&self) -> usize {
        self.resident
    }

    /// How many refreshes are under way.
    pub fn refreshing(&self) -> usize {
        self.refreshing
    }

    /// How many sessions have tokens in use that the store does not have yet.
    pub fn unsaved(&self) -> usize {
        self.unsaved
    }
}

/// A clone is the same set.
impl<K> Clone for Sessions<K> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

// No key: it may name a user.
impl<K: Eq + Hash + Clone + Send + Sync + 'static> fmt::Debug for Sessions<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { residents, set } = &*self.inner;
        f.debug_struct("Sessions")
            .field("resident", &residents.len())
            .field("refreshing", &set.refreshing)
            .field("unsaved", &set.unsaved)
            .finish_non_exhaustive()
    }
}
