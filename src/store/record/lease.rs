use std::time::Duration;

use super::unknown::Unknown;

/// Says that one session is calling the token endpoint, so that the others wait for what that
/// brings.
///
/// A lease has no date in it, because the clocks of two machines differ. A session that finds one
/// respects it for its [`life`](Self::life) by its own clock, counted from when it first read this
/// version of the record. The owner renews it in time by saving the record again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    owner: String,
    life: Duration,
    pub(super) unknown: Unknown,
}

/// No lease lasts longer, whatever is stored.
const LONGEST: Duration = Duration::from_secs(60);

impl Lease {
    pub(super) fn new(owner: String, life: Duration) -> Self {
        Self { owner, life: life.min(LONGEST), unknown: Unknown::default() }
    }

    /// A name that no other session has.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// How long the others wait for the owner to renew it: at most 60 s.
    pub fn life(&self) -> Duration {
        self.life
    }
}

/// The owner of the lease on a record that was put back into a store: no session.
pub(crate) const RESTORED: &str = "restored";
