//! A service's own way to its session.

use std::{ops::Deref, sync::Arc};

use arc_swap::Guard;

use crate::{layer::Policy, session::Snapshot};

/// What a service reads for each request.
///
/// Each request takes a reference to the policy and one to the bytes of the header, and whoever
/// counts references writes: two threads that count the same ones wait for each other's caches. So
/// a service that is called a second time gets counts that are its own, with a copy of the token;
/// on two threads that is a third more requests per second. One that is cloned for each request
/// never gets that far, and goes by what all clones share.
pub(crate) struct Lane<P> {
    policy: Arc<Policy<P>>,
    own: Option<Own>,
}

/// A copy of the session's snapshot, good until there is another.
struct Own {
    version: u64,
    snapshot: Snapshot,
}

/// The snapshot to go by.
pub(crate) enum Read<'a> {
    Own(&'a Snapshot),
    Shared(Guard<Arc<Snapshot>>),
}

impl<P> Lane<P> {
    /// One that has nothing of its own yet.
    pub(crate) fn new(policy: Policy<P>) -> Self {
        Self { policy: Arc::new(policy), own: None }
    }

    /// One with a copy of how the session is now.
    pub(crate) fn anew(&self) -> Self {
        // In this order: after a change between the two the copy is newer than it claims, and made
        // once more for nothing.
        let version = self.session.version();
        let snapshot = self.session.snapshot().unshared();
        Self { policy: self.policy.clone(), own: Some(Own { version, snapshot }) }
    }

    /// Its own copy, if it has one that still holds.
    #[inline]
    pub(crate) fn own(&self) -> Option<&Snapshot> {
        let version = self.session.version();
        self.own.as_ref().filter(|own| own.version == version).map(|own| &own.snapshot)
    }

    pub(crate) fn read(&self) -> Read<'_> {
        self.own().map_or_else(|| Read::Shared(self.session.snapshot()), Read::Own)
    }
}

impl<P> Deref for Lane<P> {
    type Target = Policy<P>;

    fn deref(&self) -> &Policy<P> {
        &self.policy
    }
}

impl Deref for Read<'_> {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        match self {
            Self::Own(snapshot) => snapshot,
            Self::Shared(guard) => guard,
        }
    }
}
