use std::{
    fmt,
    marker::PhantomData,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{
    Replay, ReplayError, Spare, Superseded,
    recording::{CopyId, Failed, PollFrame, Recording},
};
use crate::BoxError;

/// How much payload a recording keeps unless told otherwise.
pub(super) const DEFAULT_LIMIT: usize = 64 * 1024;

/// Makes any body one that can be sent twice, by recording it while it is sent.
///
/// As the body type of a client (`Client<_, ReplayBody<Incoming>>`) it lets a
/// [`RefreshLayer`](crate::RefreshLayer) retry requests whose body is a stream. Nothing is kept
/// before the layer sends it, and nothing any more once the spare is used or dropped. See the
/// [module's documentation](super) for how a recording works and what it cannot do.
pub struct ReplayBody<B> {
    reader: Reader<B>,
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
    fn keep(&mut self) -> Spare<Self> {
        self.reader.keep().map(|reader| Self { reader })
    }
}

impl<B: Body<Error: Into<BoxError>>> Body for ReplayBody<B> {
    type Data = Bytes;
    type Error = ReplayError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReplayError>>> {
        self.reader.poll_frame(cx).map_err(ReplayError::from)
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

/// A recorded body that is to be boxed again, and so has to fail with the box's own error.
pub(super) struct Boxable<B, E> {
    reader: Reader<B>,
    error: PhantomData<fn() -> E>,
}

impl<B, E> Body for Boxable<B, E>
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
        self.reader.poll_frame(cx).map_err(|failed| match failed {
            Failed::Superseded => Superseded.into(),
            Failed::Source(error) => error.into(),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.reader.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.reader.size_hint()
    }
}

/// What can be made of a reader to be given the type of the body again.
pub(super) trait FromReader<B> {
    fn from_reader(reader: Reader<B>) -> Self;
}

impl<B> FromReader<B> for ReplayBody<B> {
    fn from_reader(reader: Reader<B>) -> Self {
        Self { reader }
    }
}

impl<B, E> FromReader<B> for Boxable<B, E> {
    fn from_reader(reader: Reader<B>) -> Self {
        Self { reader, error: PhantomData }
    }
}

/// Records a body whose type cannot say so itself, and gives both copies its type again by `wrap`.
/// An `empty` one takes its place meanwhile.
pub(super) fn rewrap<B, R>(
    body: &mut B,
    empty: impl FnOnce() -> B,
    wrap: impl Fn(R) -> B,
) -> Spare<B>
where
    B: Body + Send + 'static,
    R: FromReader<B>,
{
    // Most requests: two bodies that know nothing of each other, and no recording.
    if body.is_end_stream() {
        return Spare::ready(empty());
    }
    // To be sent once in any case, so it may as well stay as it is.
    if body.size_hint().lower() > DEFAULT_LIMIT as u64 {
        return Spare::none();
    }
    let wrap = |reader| wrap(R::from_reader(reader));
    let mut reader = Reader::record(mem::replace(body, empty()), DEFAULT_LIMIT);
    let spare = reader.keep();
    *body = wrap(reader);
    spare.map(wrap)
}

/// One copy of a body.
pub(super) struct Reader<B> {
    /// `None` if the body was empty from the start.
    copy: Option<Copy<B>>,
}

/// One copy's access to the recording.
struct Copy<B> {
    recording: Arc<Recording<B>>,
    id: CopyId,
}

impl<B: Body> Reader<B> {
    fn record(body: B, limit: usize) -> Self {
        if body.is_end_stream() {
            return Self::empty();
        }
        let (recording, id) = Recording::new(body, limit);
        Self::of(Arc::new(recording), id)
    }

    fn poll_frame(&self, cx: &mut Context<'_>) -> PollFrame<B::Error> {
        match &self.copy {
            Some(copy) => copy.recording.poll_frame(copy.id, cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.copy.as_ref().is_none_or(|copy| copy.recording.is_end_stream(copy.id))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.copy {
            Some(copy) => copy.recording.size_hint(copy.id),
            None => SizeHint::with_exact(0),
        }
    }
}

impl<B> Reader<B> {
    fn empty() -> Self {
        Self { copy: None }
    }

    fn of(recording: Arc<Recording<B>>, id: CopyId) -> Self {
        Self { copy: Some(Copy { recording, id }) }
    }
}

impl<B: Body + Send + 'static> Reader<B> {
    fn keep(&mut self) -> Spare<Self> {
        let Some(copy) = &self.copy else {
            return Spare::ready(Self::empty());
        };
        match copy.recording.split(copy.id) {
            Some(id) => {
                let spare = Self::of(copy.recording.clone(), id);
                Spare::recorded(spare, copy.recording.clone(), id)
            }
            None => Spare::none(),
        }
    }
}

impl<B> Drop for Copy<B> {
    fn drop(&mut self) {
        self.recording.leave(self.id);
    }
}
