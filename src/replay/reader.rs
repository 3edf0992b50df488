use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{
    backup::{Backup, CopyId},
    error::Failed,
    recording::{Recording, Turn},
    source::Source,
};

/// One copy of a body.
pub(super) struct Reader<B> {
    /// `None` if the body was empty from the start.
    copy: Option<Copy<B>>,
}

/// One copy's access to the recording.
struct Copy<B> {
    recording: Arc<Recording<B>>,
    id: CopyId,
    /// The source, while there is no other copy that could come to need it: then the recording has
    /// no part in it, and nothing is locked. The mutex is there for `Sync`.
    own: Mutex<Option<Pin<Box<Source<B>>>>>,
    /// Whether this copy may be at its end. It is not if it was not after the last frame, and that
    /// is known without a lock.
    may_be_over: bool,
}

impl<B> Reader<B> {
    pub(super) fn empty() -> Self {
        Self { copy: None }
    }
}

impl<B: Body> Reader<B> {
    pub(super) fn record(body: B, limit: usize) -> Self {
        if body.is_end_stream() {
            return Self::empty();
        }
        let (recording, id) = Recording::new(body, limit);
        Self { copy: Some(Copy::new(Arc::new(recording), id)) }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.copy.as_ref().is_none_or(Copy::is_end_stream)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.copy.as_ref().map_or_else(|| SizeHint::with_exact(0), Copy::size_hint)
    }
}

impl<B: Body + 'static> Reader<B> {
    /// The next frame; `fail` makes the error of a failure.
    pub(super) fn poll_frame<E>(
        &mut self,
        cx: &mut Context<'_>,
        fail: impl FnOnce(Failed<B::Error>) -> E,
    ) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        match &mut self.copy {
            Some(copy) => copy.poll_frame(cx, fail),
            None => Poll::Ready(None),
        }
    }
}

impl<B: Body + Send + 'static> Reader<B> {
    /// Splits off a backup of what remains.
    pub(super) fn backup(&mut self) -> Backup<Self> {
        let Some(copy) = &mut self.copy else {
            return Backup::ready(Self::empty());
        };
        let own = copy.own().take();
        if let Some(source) = own {
            copy.recording.put_back(source);
        }
        match copy.recording.split(copy.id) {
            Some(id) => {
                let backup = Self { copy: Some(Copy::new(copy.recording.clone(), id)) };
                Backup::recorded(backup, copy.recording.clone(), id)
            }
            None => Backup::none(),
        }
    }
}

impl<B> Copy<B> {
    fn new(recording: Arc<Recording<B>>, id: CopyId) -> Self {
        Self { recording, id, own: Mutex::new(None), may_be_over: true }
    }

    fn own(&self) -> MutexGuard<'_, Option<Pin<Box<Source<B>>>>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Body> Copy<B> {
    fn is_end_stream(&self) -> bool {
        self.may_be_over
            && match &*self.own() {
                Some(source) => source.is_end_stream(),
                None => self.recording.is_end_stream(self.id),
            }
    }

    fn size_hint(&self) -> SizeHint {
        match &*self.own() {
            Some(source) => source.size_hint(),
            None => self.recording.size_hint(self.id),
        }
    }
}

impl<B: Body + 'static> Copy<B> {
    fn poll_frame<E>(
        &mut self,
        cx: &mut Context<'_>,
        fail: impl FnOnce(Failed<B::Error>) -> E,
    ) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        let own = self.own.get_mut().unwrap_or_else(PoisonError::into_inner);
        let source = match own {
            Some(source) => source,
            None => match self.recording.poll_frame(self.id, cx) {
                Turn::Polled { polled, may_be_over } => {
                    self.may_be_over = may_be_over;
                    return polled.map_err(fail);
                }
                Turn::Alone(source) => own.insert(source),
            },
        };
        let polled = source.as_mut().poll_frame(cx);
        self.may_be_over = source.is_end_stream();
        polled.map_err(|error| fail(Failed::Source(error)))
    }
}

impl<B> Drop for Copy<B> {
    fn drop(&mut self) {
        self.recording.leave(self.id);
    }
}
