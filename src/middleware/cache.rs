//! A service's own copy of its session's snapshot.

use std::{ops::Deref, sync::Arc};

use arc_swap::Guard;

use super::rules::Config;
use crate::session::Snapshot;

/// What a service reads for each request.
///
/// Each request takes a reference to the configuration and one to the bytes of the header, and to
/// count a reference is to write: two threads that count the same ones wait for each other's
/// caches. So a service that is called a second time gets counts that are its own, with a copy of
/// the token; on two threads that is a third more requests per second. One that is cloned for each
/// request never gets that far, and reads what all clones share.
pub(crate) struct SnapshotCache<P> {
    pub(crate) config: Arc<Config<P>>,
    cached: Option<Cached>,
}

/// A copy of the session's snapshot, good until there is another.
struct Cached {
    version: u64,
    snapshot: Snapshot,
}

/// The session's current snapshot.
pub(crate) enum Loaded<'a> {
    Cached(&'a Snapshot),
    Shared(Guard<Arc<Snapshot>>),
}

impl<P> SnapshotCache<P> {
    /// One that has no copy yet.
    pub(crate) fn new(config: Config<P>) -> Self {
        Self { config: Arc::new(config), cached: None }
    }

    /// The session's current snapshot. `used` says whether this service has asked before: from the
    /// second time on the answer is a copy, which is made anew when it is out of date.
    #[inline(always)]
    pub(crate) fn load<'a>(
        this: &'a mut Arc<Self>,
        used: &mut bool,
    ) -> (&'a Arc<Self>, Loaded<'a>) {
        if !this.is_current() {
            if !*used {
                *used = true;
                return (this, Loaded::Shared(this.config.session.snapshot()));
            }
            *this = Arc::new(this.reload());
        }
        (this, this.cached())
    }

    /// What is cached, whether or not it is current.
    #[inline(always)]
    fn cached(&self) -> Loaded<'_> {
        match &self.cached {
            Some(cached) => Loaded::Cached(&cached.snapshot),
            None => Loaded::Shared(self.config.session.snapshot()),
        }
    }

    #[inline]
    fn is_current(&self) -> bool {
        let version = self.config.session.version();
        self.cached.as_ref().is_some_and(|cached| cached.version == version)
    }

    fn reload(&self) -> Self {
        let session = &self.config.session;
        // In this order: after a change between the two the copy is newer than it claims, and made
        // once more for nothing.
        let version = session.version();
        let snapshot = session.snapshot().unshared();
        Self { config: self.config.clone(), cached: Some(Cached { version, snapshot }) }
    }
}

impl Deref for Loaded<'_> {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        match self {
            Self::Cached(snapshot) => snapshot,
            Self::Shared(guard) => guard,
        }
    }
}
