use std::{
    error, fmt,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{
    Replay, Spare,
    recording::{CopyId, Recording},
};
use crate::BoxError;

/// How much payload a recording keeps unless told otherwise.
pub(super) const DEFAULT_LIMIT: usize = 64 * 1024;

/// Makes any body one that can be sent twice, by recording it while it is sent.
///
/// As the body type of a client (`Client<_, ReplayBody<Incoming>>`) it lets a
/// [`RefreshLayer`](crate::RefreshLayer) retry requests whose body is a stream. Nothing is kept
/// before the layer splits it, and nothing any more once the spare is used or dropped. See the
/// [module's documentation](super) for how a recording works and what it cannot do.
///
/// `E` is the error that the body reports: those of `B` converted, and [`Superseded`]. Defaults to
/// [`BoxError`].
pub struct ReplayBody<B, E = BoxError> {
    /// `None` if the body was empty from the start.
    reader: Option<Reader<B>>,
    error: PhantomData<fn() -> E>,
}

/// One copy's access to the recording.
struct Reader<B> {
    recording: Arc<Recording<B>>,
    id: CopyId,
}

impl<B: Body> ReplayBody<B> {
    /// Records `body` up to 64 KiB.
    pub fn new(body: B) -> Self {
        Self::with_limit(body, DEFAULT_LIMIT)
    }

    /// Records `body` up to `limit` bytes of payload. A larger body is sent all the same, and not
    /// replayed.
    pub fn with_limit(body: B, limit: usize) -> Self {
        Self::record(body, limit)
    }
}

impl<B: Body, E> ReplayBody<B, E> {
    fn record(body: B, limit: usize) -> Self {
        if body.is_end_stream() {
            return Self::empty();
        }
        let (recording, id) = Recording::new(body, limit);
        Self::reading(Arc::new(recording), id)
    }

    fn empty() -> Self {
        Self { reader: None, error: PhantomData }
    }

    fn reading(recording: Arc<Recording<B>>, id: CopyId) -> Self {
        Self { reader: Some(Reader { recording, id }), error: PhantomData }
    }
}

/// Records a body whose type cannot say so itself, and gives both copies its type again by `wrap`.
pub(super) fn rewrap<B, E>(body: B, wrap: impl Fn(ReplayBody<B, E>) -> B) -> (B, Spare<B>)
where
    B: Body + Send + 'static,
{
    // Most requests: two bodies that know nothing of each other, and no recording.
    if body.is_end_stream() {
        return (body, Spare::ready(wrap(ReplayBody::empty())));
    }
    // To be sent once in any case, so it may as well stay as it is.
    if body.size_hint().lower() > DEFAULT_LIMIT as u64 {
        return (body, Spare::none());
    }
    let (body, spare) = ReplayBody::record(body, DEFAULT_LIMIT).replay();
    (wrap(body), spare.map(wrap))
}

impl<B, E> Replay for ReplayBody<B, E>
where
    B: Body + Send + 'static,
{
    fn replay(self) -> (Self, Spare<Self>) {
        let Some(reader) = &self.reader else {
            return (self, Spare::ready(Self::empty()));
        };
        let spare = match reader.recording.split(reader.id) {
            Some(id) => {
                let spare = Self::reading(reader.recording.clone(), id);
                Spare::recorded(spare, reader.recording.clone(), id)
            }
            None => Spare::none(),
        };
        (self, spare)
    }
}

impl<B, E> Body for ReplayBody<B, E>
where
    B: Body,
    E: From<B::Error> + From<Superseded>,
{
    type Data = Bytes;
    type Error = E;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        match &self.reader {
            Some(reader) => reader.recording.poll_frame(reader.id, cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        let reader = self.reader.as_ref();
        reader.is_none_or(|reader| reader.recording.is_end_stream(reader.id))
    }

    /// What remains for this copy.
    fn size_hint(&self) -> SizeHint {
        match &self.reader {
            Some(reader) => reader.recording.size_hint(reader.id),
            None => SizeHint::with_exact(0),
        }
    }
}

impl<B, E> fmt::Debug for ReplayBody<B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").finish_non_exhaustive()
    }
}

impl<B> Drop for Reader<B> {
    fn drop(&mut self) {
        self.recording.leave(self.id);
    }
}

/// The error of a body that is being sent again elsewhere.
///
/// When a server refuses a request before it has read the whole body, a retry takes the body over,
/// and the copy on the first connection ends in this error. Whoever waits for the response does not
/// see it; it may show up in the logs of a client, as the reason why a connection was closed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Superseded;

impl fmt::Display for Superseded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request was refused and its body is being sent again")
    }
}

impl error::Error for Superseded {}
