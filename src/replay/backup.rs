use std::{fmt, sync::Arc};

/// What is kept of a body for a second sending.
///
/// Dropping it frees what is kept and stops the recording, if there is one.
#[must_use = "what is kept is gone with it"]
pub struct Backup<B> {
    kept: Kept<B>,
}

enum Kept<B> {
    Nothing,
    Copy(B),
    /// The body reads from the recording, once that copy has taken it over.
    Recorded(B, Arc<dyn Takeover>, CopyId),
}

/// Names a copy of a body among all that share its recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CopyId(pub(super) u32);

/// A recording of any body, as a backup sees it.
pub(super) trait Takeover: Send + Sync {
    /// Makes a waiting copy the one that reads, from where it was split off, and fails the one
    /// that has read so far. Returns `false` if what was kept is lost.
    fn take_over(&self, id: CopyId) -> bool;

    /// Whether `take_over` would return `false`.
    fn is_lost(&self, id: CopyId) -> bool;
}

impl<B> Backup<B> {
    /// Nothing is kept: the request is sent once.
    pub fn none() -> Self {
        Kept::Nothing.into()
    }

    /// A copy that is ready to be sent.
    pub fn ready(body: B) -> Self {
        Kept::Copy(body).into()
    }

    /// Wraps the body that is kept, as the body that is sent was wrapped.
    pub fn map<C>(self, wrap: impl FnOnce(B) -> C) -> Backup<C> {
        match self.kept {
            Kept::Nothing => Kept::Nothing,
            Kept::Copy(body) => Kept::Copy(wrap(body)),
            Kept::Recorded(body, recording, id) => Kept::Recorded(wrap(body), recording, id),
        }
        .into()
    }

    pub(super) fn recorded(body: B, recording: Arc<dyn Takeover>, id: CopyId) -> Self {
        Kept::Recorded(body, recording, id).into()
    }

    /// Whether there is nothing to send again, from the start or by now.
    pub(crate) fn is_unavailable(&self) -> bool {
        match &self.kept {
            Kept::Nothing => true,
            Kept::Copy(_) => false,
            Kept::Recorded(_, recording, id) => recording.is_lost(*id),
        }
    }

    /// The body to send again, unless it is lost by now.
    ///
    /// A first copy that is still being read fails from here on, and a response on the same
    /// connection may fail with it: first finish with, or drop, the response.
    pub(crate) fn into_body(self) -> Option<B> {
        match self.kept {
            Kept::Nothing => None,
            Kept::Copy(body) => Some(body),
            Kept::Recorded(body, recording, id) => recording.take_over(id).then_some(body),
        }
    }
}

impl<B> From<Kept<B>> for Backup<B> {
    fn from(kept: Kept<B>) -> Self {
        Self { kept }
    }
}

impl<B> fmt::Debug for Backup<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kept {
            Kept::Nothing => "Backup::None",
            Kept::Copy(_) => "Backup::Ready",
            Kept::Recorded(..) => "Backup::Recorded",
        })
    }
}
