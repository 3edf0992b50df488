use std::fmt;

use zeroize::Zeroizing;

/// Bytes that are wiped, also where they were before there was room for more.
#[derive(Default)]
pub(super) struct Buffer(Zeroizing<Vec<u8>>);

impl Buffer {
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    /// Makes room for `room` bytes, and keeps as many as `write` says it has written.
    pub(super) fn fill<S>(
        &mut self,
        room: usize,
        write: impl FnOnce(&mut [u8]) -> (S, usize, usize),
    ) -> (S, usize, usize) {
        self.reserve(room);
        let length = self.0.len();
        self.0.resize(length + room, 0);
        let outcome = write(&mut self.0);
        self.0.truncate(length + outcome.2);
        outcome
    }

    /// A vector that grows leaves its old memory behind as it is.
    fn reserve(&mut self, room: usize) {
        let needed = self.0.len() + room;
        if needed > self.0.capacity() {
            let mut larger = Vec::with_capacity(needed.max(2 * self.0.capacity()));
            larger.extend_from_slice(&self.0);
            // The old one is wiped as it is dropped.
            self.0 = Zeroizing::new(larger);
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.0.len())
    }
}
