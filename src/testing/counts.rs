use tokio::sync::watch;

/// What an [`AuthServer`](super::AuthServer) has seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Calls to the token endpoints that arrived whole, whatever became of them.
    pub calls: u64,
    /// Calls that issued an access token, whether or not the answer reached the client.
    pub refreshes: u64,
    /// Refreshes with a spent refresh token that the grace period let pass. They are among the
    /// `refreshes` too.
    pub within_grace: u64,
    /// Calls with a spent refresh token that revoked the family. They are among the `rejected`
    /// too.
    pub reuses: u64,
    /// Calls that the protocol refused: a bad refresh token, a wrong client, a malformed call.
    pub rejected: u64,
    /// Requests to the protected API.
    pub requests: u64,
    /// Requests to the protected API that were refused.
    pub refused: u64,
    /// Calls to the revocation endpoint that named a token the server knew.
    pub revocations: u64,
}

/// The counts as they grow, and a way to wait for them.
#[derive(Debug, Default)]
pub(super) struct Counters(watch::Sender<Counts>);

impl Counters {
    pub(super) fn add(&self, change: impl FnOnce(&mut Counts)) {
        self.0.send_modify(change);
    }

    pub(super) fn now(&self) -> Counts {
        *self.0.borrow()
    }

    pub(super) async fn reached(&self, enough: impl FnMut(&Counts) -> bool) -> Counts {
        let mut counts = self.0.subscribe();
        let reached = counts.wait_for(enough).await;
        *reached.expect("the sender lives in `self`")
    }
}
