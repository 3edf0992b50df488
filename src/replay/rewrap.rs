use std::{
    marker::PhantomData,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{Backup, ReplayBody, Superseded, body::DEFAULT_LIMIT, error::Failed, reader::Reader};

/// A recorded body that is to be boxed again, and so has to fail with the box's own error.
pub(super) struct Boxable<B, E> {
    reader: Reader<B>,
    error: PhantomData<fn() -> E>,
}

impl<B, E> Body for Boxable<B, E>
where
    B: Body + 'static,
    E: From<B::Error> + From<Superseded>,
{
    type Data = Bytes;
    type Error = E;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        self.reader.poll_frame(cx, |failed| match failed {
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
) -> Backup<B>
where
    B: Body + Send + 'static,
    R: FromReader<B>,
{
    // Most requests: two bodies that know nothing of each other, and no recording.
    if body.is_end_stream() {
        return Backup::ready(empty());
    }
    // To be sent once in any case, so it may as well stay as it is.
    if body.size_hint().lower() > DEFAULT_LIMIT as u64 {
        return Backup::none();
    }
    let wrap = |reader| wrap(R::from_reader(reader));
    let mut reader = Reader::record(mem::replace(body, empty()), DEFAULT_LIMIT);
    let backup = reader.backup();
    *body = wrap(reader);
    backup.map(wrap)
}
