use std::io::{self, Write};

use zeroize::Zeroizing;

use super::Record;

impl Record {
    /// The record as bytes, which are wiped when they are dropped.
    ///
    /// It is written twice, because a buffer that grows gives back what it had, tokens and all: the
    /// first time only to know how long it will be.
    pub(in crate::store) fn to_json(&self) -> serde_json::Result<Zeroizing<Vec<u8>>> {
        let mut length = Length(0);
        serde_json::to_writer(&mut length, self)?;
        let mut json = Zeroizing::new(Vec::with_capacity(length.0));
        serde_json::to_writer(&mut *json, self)?;
        Ok(json)
    }
}

/// Counts what is written.
struct Length(usize);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
