use std::{
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{
    backup::{CopyId, Takeover},
    buffer::Buffer,
    error::Failed,
    source::Source,
};

/// A body that is kept while it is read, and who may read it.
///
/// Any number of copies share it, of which one *owns* it: it alone reads. The others *wait*, to
/// take over at a retry, or have been *superseded* by one that did. This is what lets a retry start
/// while an old connection holds on to its copy for as long as it likes.
pub(super) struct Recording<B> {
    state: Mutex<State<B>>,
}

/// What comes of a copy's asking for a frame.
pub(super) enum Turn<B: Body> {
    /// An answer, and whether the copy may be at its end now.
    Polled { polled: PollFrame<Failed<B::Error>>, may_be_over: bool },
    /// No copy waits, so the owner is to read the source itself: no other copy needs what it says.
    /// A copy can come to wait only by being split off the owner, which puts the source back first.
    Alone(Pin<Box<Source<B>>>),
}

type PollFrame<E> = Poll<Option<Result<Frame<Bytes>, E>>>;

struct State<B> {
    /// The body that is recorded; `None` while the owner has it for itself, and once it can have
    /// no reader any more.
    source: Option<Pin<Box<Source<B>>>>,
    /// The frames that were read and that a waiting copy needs, then those that the owner has yet
    /// to replay. Its reader is the owner.
    buffer: Buffer,
    /// The copy that reads; `None` once it was dropped.
    owner: Option<CopyId>,
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
            source: Some(Box::pin(Source::new(body))),
            buffer: Buffer::new(limit),
            owner: Some(owner),
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
        let failed = state.source.as_ref().is_some_and(|source| source.has_failed());
        if failed || announced > state.buffer.limit() {
            return None;
        }
        let id = CopyId(state.next_id);
        state.next_id += 1;
        state.waiting.push(Waiting { id, place });
        Some(id)
    }

    /// Takes back the source that the owner had for itself.
    pub(super) fn put_back(&self, source: Pin<Box<Source<B>>>) {
        self.state().source = Some(source);
    }

    pub(super) fn is_end_stream(&self, id: CopyId) -> bool {
        let state = self.state();
        state.place(id).is_some_and(|place| state.is_end_stream(place))
    }

    pub(super) fn size_hint(&self, id: CopyId) -> SizeHint {
        let state = self.state();
        match state.place(id) {
            Some(place) => state.size_hint(place),
            None => SizeHint::default(),
        }
    }
}

impl<B: Body + 'static> Recording<B> {
    pub(super) fn poll_frame(&self, id: CopyId, cx: &mut Context<'_>) -> Turn<B> {
        let mut state = self.state();
        if state.owner != Some(id) {
            // Not the end of the body: a chunked request would then pass for complete.
            let polled = Poll::Ready(Some(Err(Failed::Superseded)));
            return Turn::Polled { polled, may_be_over: false };
        }
        let polled = if let Some(frame) = state.buffer.next() {
            state.settle();
            Poll::Ready(Some(Ok(frame)))
        } else if state.waiting.is_empty()
            && let Some(source) = state.source.take()
        {
            return Turn::Alone(source);
        } else {
            state.poll_source(cx).map_err(Failed::Source)
        };
        Turn::Polled { polled, may_be_over: state.is_end_stream(state.buffer.place()) }
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
        // Superseded copies, on connections that are slow to notice, must not hold what no copy can
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
        let superseded = state.source.as_mut().and_then(|source| source.as_mut().take_waker());
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
    fn is_end_stream(&self, place: usize) -> bool {
        let source = self.source.as_deref();
        self.buffer.is_exhausted(place) && source.is_none_or(Source::is_end_stream)
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

impl<B: Body + 'static> State<B> {
    /// Asks the source for the frame after those in the buffer, all of which the owner has had, and
    /// keeps it for the copies that wait.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> PollFrame<B::Error> {
        let Some(source) = &mut self.source else {
            return Poll::Ready(None);
        };
        let polled = source.as_mut().poll_frame(cx);
        let is_kept = match &polled {
            Poll::Ready(Some(Ok(frame))) => self.buffer.keep(frame),
            Poll::Ready(Some(Err(_))) => false,
            Poll::Ready(None) | Poll::Pending => true,
        };
        if !is_kept {
            self.lose_waiting();
        }
        polled
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
