use std::{
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

use super::buffer::Buffer;

/// A body that is kept while it is read, and who may read it.
///
/// Any number of copies share it, of which one *owns* it: it alone reads. The others *wait*, to
/// take over at a retry, or have been *superseded* by one that did. This is what lets a retry start
/// while an old connection holds on to its copy for as long as it likes.
pub(super) struct Recording<B> {
    state: Mutex<State<B>>,
}

/// Why a copy ends early.
pub(super) enum Failed<E> {
    /// Another copy has taken the body over.
    Superseded,
    /// The body itself has failed.
    Source(E),
}

pub(super) type PollFrame<E> = Poll<Option<Result<Frame<Bytes>, Failed<E>>>>;

/// Names a copy of a body among all that share its recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CopyId(u32);

/// A [`Recording`] of any body, seen from the spare.
pub(super) trait Takeover: Send + Sync {
    /// Makes a waiting copy the one that reads, from where it was split off, and fails the one
    /// that has read so far. Returns `false` if what was kept is lost.
    fn take_over(&self, id: CopyId) -> bool;

    /// Whether `take_over` would return `false`.
    fn is_lost(&self, id: CopyId) -> bool;
}

struct State<B> {
    /// The body that is recorded; `None` once it has ended or can have no reader any more.
    source: Option<Pin<Box<B>>>,
    /// Whether the source has failed: what it would say from there on is not to be replayed.
    failed: bool,
    /// The frames that were read and that a waiting copy needs, then those that the owner has yet
    /// to replay. Its reader is the owner.
    buffer: Buffer,
    /// The copy that reads; `None` once it was dropped.
    owner: Option<CopyId>,
    /// The task that wants to hear from the source: the owner's.
    waker: Option<Waker>,
    /// The copies that may take over. Frames are kept only while there are any; a copy is lost by
    /// taking it from here.
    waiting: Vec<Waiting>,
    next_id: u32,
}

struct Waiting {
    id: CopyId,
    /// The place in the buffer where the copy begins.
    place: usize,
}

impl<B: Body> Recording<B> {
    /// A recording of `body` with the copy that owns it. Nothing is kept before it is
    /// [split](Self::split).
    pub(super) fn new(body: B, limit: usize) -> (Self, CopyId) {
        let owner = CopyId(0);
        let state = State {
            source: Some(Box::pin(body)),
            failed: false,
            buffer: Buffer::new(limit),
            owner: Some(owner),
            waker: None,
            waiting: Vec::new(),
            next_id: 1,
        };
        let state = Mutex::new(state);
        (Self { state }, owner)
    }

    /// Adds a waiting copy of what remains of the copy `id`, unless it is lost already.
    pub(super) fn split(&self, id: CopyId) -> Option<CopyId> {
        let mut state = self.state();
        let place = state.place(id)?;
        let announced = state.size_hint(place).lower();
        if state.failed || announced > state.buffer.limit() {
            return None;
        }
        let id = CopyId(state.next_id);
        state.next_id += 1;
        state.waiting.push(Waiting { id, place });
        Some(id)
    }

    pub(super) fn poll_frame(&self, id: CopyId, cx: &mut Context<'_>) -> PollFrame<B::Error> {
        let mut state = self.state();
        if state.owner != Some(id) {
            // Not the end of the body: a chunked request would then pass for complete.
            return Poll::Ready(Some(Err(Failed::Superseded)));
        }
        if let Some(frame) = state.buffer.next() {
            state.settle();
            return Poll::Ready(Some(Ok(frame)));
        }
        state.poll_source(cx).map_err(Failed::Source)
    }

    pub(super) fn is_end_stream(&self, id: CopyId) -> bool {
        let state = self.state();
        state.place(id).is_some_and(|place| {
            let source = state.source.as_deref();
            state.buffer.is_exhausted(place) && source.is_none_or(Body::is_end_stream)
        })
    }

    pub(super) fn size_hint(&self, id: CopyId) -> SizeHint {
        let state = self.state();
        match state.place(id) {
            Some(place) => state.size_hint(place),
            None => SizeHint::default(),
        }
    }
}

impl<B> Recording<B> {
    /// The copy `id` was dropped.
    pub(super) fn leave(&self, id: CopyId) {
        let mut state = self.state();
        state.waiting.retain(|copy| copy.id != id);
        if state.owner == Some(id) {
            state.owner = None;
        }
        state.settle();
        if state.owner.is_some() || !state.waiting.is_empty() {
            return;
        }
        // Superseded copies, on connections that are slow to notice, must not hold what nobody can
        // read. The source goes after the lock: it may run code of its own when it is dropped.
        state.buffer.clear();
        let source = state.source.take();
        drop(state);
        drop(source);
    }

    /// A panic of the source leaves the state as it was before the source was asked: it changes
    /// only by what the source answers.
    fn state(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Send> Takeover for Recording<B> {
    fn take_over(&self, id: CopyId) -> bool {
        // A source that panicked has lost its place.
        let Ok(mut state) = self.state.lock() else {
            return false;
        };
        let Some(at) = state.waiting.iter().position(|copy| copy.id == id) else {
            return false;
        };
        let copy = state.waiting.swap_remove(at);
        state.owner = Some(copy.id);
        state.buffer.go_to(copy.place);
        state.settle();
        let superseded = state.waker.take();
        drop(state);
        // Its connection may sleep until the body goes on, which for that copy is never.
        if let Some(superseded) = superseded {
            superseded.wake();
        }
        true
    }

    fn is_lost(&self, id: CopyId) -> bool {
        let Ok(state) = self.state.lock() else {
            return true;
        };
        !state.waiting.iter().any(|copy| copy.id == id)
    }
}

impl<B: Body> State<B> {
    /// Asks the source for the frame after those in the buffer, all of which the owner has had.
    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(source) = &mut self.source else {
            return Poll::Ready(None);
        };
        let frame = match source.as_mut().poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(error))) => {
                self.failed = true;
                self.lose_waiting();
                return Poll::Ready(Some(Err(error)));
            }
            Poll::Ready(None) => {
                self.source = None;
                return Poll::Ready(None);
            }
            Poll::Pending => {
                self.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        };
        // Free for `Bytes`.
        let frame = frame.map_data(|mut data| data.copy_to_bytes(data.remaining()));
        if !self.waiting.is_empty() && !self.buffer.keep(&frame) {
            self.lose_waiting();
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn size_hint(&self, place: usize) -> SizeHint {
        let kept = self.buffer.remaining(place);
        let Some(source) = &self.source else {
            return SizeHint::with_exact(kept);
        };
        let rest = source.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(kept));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(kept)) {
            hint.set_upper(upper);
        }
        hint
    }
}

impl<B> State<B> {
    /// Where the copy goes on reading; `None` if it was superseded or lost.
    fn place(&self, id: CopyId) -> Option<usize> {
        if self.owner == Some(id) {
            return Some(self.buffer.place());
        }
        let waiting = self.waiting.iter().find(|copy| copy.id == id);
        waiting.map(|copy| copy.place)
    }

    fn lose_waiting(&mut self) {
        self.waiting.clear();
        self.settle();
    }

    /// Lets go of what no copy can come to need. To be called whenever the owner has replayed a
    /// frame or a copy has stopped waiting.
    fn settle(&mut self) {
        if self.waiting.is_empty() {
            self.buffer.forget_read();
        }
    }
}
