//! Who may refresh.
//!
//! The lock file says who took the lease, and until when. That alone would keep everybody waiting
//! for a process that died; so its holder also keeps a file open and locked, and when that lock is
//! gone so is the lease. Both are read and changed under the lock of the store.

use std::{
    fs, io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    lock::{Holder, Lock, Locked, private},
    paths::Paths,
};
use crate::error::BoxError;

/// The lease as its holder has it.
pub(super) struct Held {
    owner: String,
    /// Shows that we live.
    _alive: Locked,
}

pub(super) fn take(
    paths: &Paths,
    lock: &mut Lock,
    held: &mut Option<Held>,
    owner: &str,
    life: Duration,
) -> Result<bool, BoxError> {
    let failed = |error| paths.failed("take the lease on", error);
    let now = since_epoch();
    let ours = held.as_ref().is_some_and(|held| held.owner == owner);
    match lock.holder().map_err(failed)? {
        Some(holder) if ours && holder.owner == owner => {}
        Some(holder) if holder.is_within(now) && is_alive(paths).map_err(failed)? => {
            if ours {
                // Ours had ended, and was taken over.
                *held = None;
            }
            return Ok(false);
        }
        _ => {
            *held = Some(Held {
                owner: owner.to_owned(),
                _alive: show_life(paths, held).map_err(failed)?,
            })
        }
    }
    let life = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
    let holder = Holder { owner: owner.to_owned(), until: now.saturating_add(life), life };
    if let Err(error) = lock.set_holder(&holder) {
        *held = None;
        return Err(failed(error));
    }
    Ok(true)
}

/// The word in the lock file may stay: without the lock on the other file it counts for nothing.
pub(super) fn release(held: &mut Option<Held>, owner: &str) {
    if held.as_ref().is_some_and(|held| held.owner == owner) {
        *held = None;
    }
}

impl Holder {
    /// Whether the lease has not ended. One that lasts far longer than its life was written by a
    /// clock that has been set back since.
    fn is_within(&self, now: u64) -> bool {
        now < self.until && self.until - now <= self.life.saturating_mul(2)
    }
}

/// Whether whoever took the lease last still runs.
fn is_alive(paths: &Paths) -> io::Result<bool> {
    match private().open(&paths.lease) {
        Ok(file) => Ok(Locked::try_lock(file)?.is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Locks a new file in the old one's place: a holder whose lease has ended may live and keep the
/// old one locked.
fn show_life(paths: &Paths, held: &mut Option<Held>) -> io::Result<Locked> {
    *held = None;
    match fs::remove_file(&paths.lease) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = private().create_new(true).open(&paths.lease)?;
    Locked::try_lock(file)?.ok_or_else(|| io::ErrorKind::ResourceBusy.into())
}

fn since_epoch() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
