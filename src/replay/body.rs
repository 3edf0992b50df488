use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{Backup, Replay, ReplayError, reader::Reader};
use crate::BoxError;

/// How much payload a recording keeps unless told otherwise.
pub(super) const DEFAULT_LIMIT: usize = 64 * 1024;

/// Makes any body one that can be sent twice, by recording it while it is sent.
///
/// As the body type of a client (`Client<_, ReplayBody<Incoming>>`) it lets a
/// [`RefreshLayer`](crate::RefreshLayer) retry requests whose body is a stream. Nothing is kept
/// before the layer sends it, and nothing any more once the backup is used or dropped. See the
/// [module's documentation](super) for how a recording works and what it cannot do.
pub struct ReplayBody<B> {
    pub(super) reader: Reader<B>,
}

impl<B: Body> ReplayBody<B> {
    /// Records `body` up to 64 KiB.
    pub fn new(body: B) -> Self {
        Self::with_limit(body, DEFAULT_LIMIT)
    }

    /// Records `body` up to `limit` bytes of payload. A larger body is sent all the same, and not
    /// replayed.
    pub fn with_limit(body: B, limit: usize) -> Self {
        Self { reader: Reader::record(body, limit) }
    }
}

impl<B> ReplayBody<B> {
    pub(super) fn empty() -> Self {
        Self { reader: Reader::empty() }
    }
}

impl<B: Body + Send + 'static> Replay for ReplayBody<B> {
    fn backup(&mut self) -> Backup<Self> {
        self.reader.backup().map(|reader| Self { reader })
    }
}

// `'static` as `Replay` has it, without which no recording is needed: see `into_bytes`.
impl<B: Body<Error: Into<BoxError>> + 'static> Body for ReplayBody<B> {
    type Data = Bytes;
    type Error = ReplayError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReplayError>>> {
        self.reader.poll_frame(cx, ReplayError::from)
    }

    fn is_end_stream(&self) -> bool {
        self.reader.is_end_stream()
    }

    /// What remains for this copy.
    fn size_hint(&self) -> SizeHint {
        self.reader.size_hint()
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").finish_non_exhaustive()
    }
}
