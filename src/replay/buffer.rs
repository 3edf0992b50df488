use std::collections::VecDeque;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

/// Frames that are kept for a replay, and how many of them the reader has had.
pub(super) struct Buffer {
    frames: VecDeque<Kept>,
    /// The place of the reader: it has had the frames before this index.
    read: usize,
    /// The payload in `frames`; never more than `limit`.
    bytes: usize,
    limit: usize,
}

enum Kept {
    Data(Bytes),
    // Boxed because it is rare and several times as large as the other.
    Trailers(Box<HeaderMap>),
}

impl Buffer {
    pub(super) fn new(limit: usize) -> Self {
        Self { frames: VecDeque::new(), read: 0, bytes: 0, limit }
    }

    /// Keeps a frame that has just been handed to the reader, who has had all frames before it.
    ///
    /// Returns `false` if it cannot be kept: the cap is reached, or it is of a kind that did not
    /// exist when this was written.
    pub(super) fn keep(&mut self, frame: &Frame<Bytes>) -> bool {
        debug_assert_eq!(self.read, self.frames.len());
        if let Some(data) = frame.data_ref() {
            if data.len() > self.limit - self.bytes {
                return false;
            }
            // An endless row of empty frames would never reach the cap, and no reader misses them.
            if data.is_empty() {
                return true;
            }
            self.bytes += data.len();
            self.frames.push_back(Kept::Data(data.clone()));
        } else if let Some(trailers) = frame.trailers_ref() {
            let trailers = Box::new(trailers.clone());
            self.frames.push_back(Kept::Trailers(trailers));
        } else {
            return false;
        }
        self.read += 1;
        true
    }

    /// The next frame that the reader has not had.
    pub(super) fn next(&mut self) -> Option<Frame<Bytes>> {
        let frame = match self.frames.get(self.read)? {
            Kept::Data(data) => Frame::data(data.clone()),
            Kept::Trailers(trailers) => Frame::trailers(HeaderMap::clone(trailers)),
        };
        self.read += 1;
        Some(frame)
    }

    /// The place of the reader.
    pub(super) fn place(&self) -> usize {
        self.read
    }

    /// Puts the reader in another place. Places are good until the next `forget_read`.
    pub(super) fn go_to(&mut self, place: usize) {
        self.read = place;
    }

    /// Frees what the reader has had.
    pub(super) fn forget_read(&mut self) {
        for frame in self.frames.drain(..self.read) {
            self.bytes -= frame.len();
        }
        self.read = 0;
        if self.frames.is_empty() {
            self.frames = VecDeque::new();
        }
    }

    /// Frees everything.
    pub(super) fn clear(&mut self) {
        self.read = self.frames.len();
        self.forget_read();
    }

    /// Whether there are no frames from `place` on.
    pub(super) fn is_exhausted(&self, place: usize) -> bool {
        place == self.frames.len()
    }

    /// How much payload there is from `place` on.
    pub(super) fn remaining(&self, place: usize) -> u64 {
        self.frames.range(place..).map(|f| f.len() as u64).sum()
    }

    /// How much payload can be kept.
    pub(super) fn limit(&self) -> u64 {
        self.limit as u64
    }
}

impl Kept {
    fn len(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Trailers(_) => 0,
        }
    }
}
