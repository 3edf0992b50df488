use std::{
    hash::{BuildHasher, RandomState},
    process,
    time::SystemTime,
};

/// A name that nothing else has, in whatever process on whatever machine.
///
/// `fastrand` begins with the clock, and a program may begin it anew. These keys are the operating
/// system's; a fork has them from its parent, and is another process at another time.
pub(super) fn unique() -> String {
    let part = || RandomState::new().hash_one((process::id(), SystemTime::now()));
    format!("{:016x}{:016x}", part(), part())
}
