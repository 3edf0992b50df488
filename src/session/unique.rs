use std::{
    hash::{BuildHasher, RandomState},
    process,
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

/// Counts the sessions: a token is of one session of this process.
pub(super) fn next_session() -> u64 {
    static SESSIONS: AtomicU64 = AtomicU64::new(0);
    SESSIONS.fetch_add(1, Ordering::Relaxed)
}

/// A name that nothing else has, in whatever process on whatever machine.
///
/// `fastrand` begins with the clock, and a program may begin it anew. These keys are the operating
/// system's; a fork has them from its parent, and is another process at another time.
pub(crate) fn unique() -> String {
    let part = || RandomState::new().hash_one((process::id(), SystemTime::now()));
    format!("{:016x}{:016x}", part(), part())
}
