//! Inflates what comes in pieces (RFC 1950 to 1952).
//!
//! Everything that comes out is kept, as matches refer to it, and wiped in the end. Checksums are not
//! compared: what is whole, the JSON in it shows.

use miniz_oxide::inflate::{
    TINFLStatus,
    core::{
        DecompressorOxide, decompress,
        inflate_flags::{
            TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_IGNORE_ADLER32, TINFL_FLAG_PARSE_ZLIB_HEADER,
            TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
        },
    },
};

use super::wiped::Buffer;

/// What stands around the compressed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrapping {
    Gzip,
    Zlib,
    /// Nothing: what some servers send as `deflate`.
    None,
}

pub(super) struct Inflater {
    wrapping: Wrapping,
    /// The head of gzip, until it is whole.
    head: Option<Vec<u8>>,
    core: Box<DecompressorOxide>,
    out: Buffer,
    ended: bool,
}

/// Why the bytes are of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Damaged,
    TooLarge,
}

/// No file name or comment in a gzip head is longer.
const LONGEST_HEAD: usize = 4096;

const STEP: usize = 4096;

impl Inflater {
    pub(super) fn new(wrapping: Wrapping) -> Self {
        Self {
            wrapping,
            head: (wrapping == Wrapping::Gzip).then(Vec::new),
            core: Box::default(),
            out: Buffer::default(),
            ended: false,
        }
    }

    /// Takes more, and returns what came out of it, at most `max` bytes in all.
    pub(super) fn push(&mut self, bytes: &[u8], max: usize) -> (&[u8], Result<(), Broken>) {
        let before = self.out.len();
        let result = self.inflate(bytes, max);
        (&self.out.as_slice()[before..], result)
    }

    /// Whether all has come.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    fn inflate(&mut self, bytes: &[u8], max: usize) -> Result<(), Broken> {
        let Some(head) = &mut self.head else { return self.inflate_body(bytes, max) };
        head.extend_from_slice(bytes);
        let Some(length) = gzip_head(head) else {
            return if head.len() > LONGEST_HEAD { Err(Broken::Damaged) } else { Ok(()) };
        };
        let body = self.head.take().unwrap_or_default().split_off(length);
        self.inflate_body(&body, max)
    }

    fn inflate_body(&mut self, mut bytes: &[u8], max: usize) -> Result<(), Broken> {
        let mut flags = TINFL_FLAG_HAS_MORE_INPUT
            | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF
            | TINFL_FLAG_IGNORE_ADLER32;
        if self.wrapping == Wrapping::Zlib {
            flags |= TINFL_FLAG_PARSE_ZLIB_HEADER;
        }
        while !self.ended {
            let at = self.out.len();
            let room = STEP.max(at).min(max - at);
            let (status, read, written) =
                self.out.fill(room, |out| decompress(&mut self.core, bytes, out, at, flags));
            bytes = &bytes[read..];
            match status {
                TINFLStatus::Done => self.ended = true,
                TINFLStatus::NeedsMoreInput => return Ok(()),
                TINFLStatus::HasMoreOutput if at + written == max => return Err(Broken::TooLarge),
                TINFLStatus::HasMoreOutput => {}
                _ => return Err(Broken::Damaged),
            }
        }
        // Bytes after the end are no concern of ours.
        Ok(())
    }
}

/// How long the head of a gzip file is (RFC 1952 §2.3); `None` if it is not all there.
fn gzip_head(bytes: &[u8]) -> Option<usize> {
    let flags = *bytes.get(3)?;
    let has = |flag: u8| flags & flag != 0;
    let mut at = 10;
    if has(0x04) {
        let length = bytes.get(at..at + 2)?;
        at += 2 + usize::from(u16::from_le_bytes([length[0], length[1]]));
    }
    for flag in [0x08, 0x10] {
        if has(flag) {
            at += 1 + bytes.get(at..)?.iter().position(|&byte| byte == 0)?;
        }
    }
    if has(0x02) {
        at += 2;
    }
    (bytes.len() >= at).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"a":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}` as Python's zlib writes it.
    const RAW: &[u8] = b"\xabVJT\xb2RJ$\x12(\xd5\x02\x00";
    const ZLIB: &[u8] = b"x\x9c\xabVJT\xb2RJ$\x12(\xd5\x02\x00";
    const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\xabVJT\xb2RJ$\x12(\xd5\x02\x00";
    /// With an extra field, a name, a comment and a checksum of the head.
    const LONG_HEAD: &[u8] =
        b"\x1f\x8b\x08\x1e\x00\x00\x00\x00\x02\xff\x02\x00xyname\x00no\x00\x01\x02\xabVJT\xb2RJ$\x12(\xd5\x02\x00";

    fn plain() -> String {
        format!(r#"{{"a":"{}"}}"#, "a".repeat(40))
    }

    fn inflate(
        wrapping: Wrapping,
        bytes: &[u8],
        piece: usize,
        max: usize,
    ) -> (String, Result<(), Broken>) {
        let mut inflater = Inflater::new(wrapping);
        let mut all = Vec::new();
        for piece in bytes.chunks(piece) {
            let (out, result) = inflater.push(piece, max);
            all.extend_from_slice(out);
            if result.is_err() {
                return (String::from_utf8_lossy(&all).into_owned(), result);
            }
        }
        (String::from_utf8(all).unwrap(), Ok(()))
    }

    #[test]
    fn every_wrapping_is_taken_off_in_pieces_of_every_size() {
        for (wrapping, bytes) in [
            (Wrapping::None, RAW),
            (Wrapping::Zlib, ZLIB),
            (Wrapping::Gzip, GZIP),
            (Wrapping::Gzip, LONG_HEAD),
        ] {
            for piece in 1..=bytes.len() {
                let inflated = inflate(wrapping, bytes, piece, 1000);
                assert_eq!(inflated, (plain(), Ok(())), "{wrapping:?} {piece}");
            }
        }
    }

    #[test]
    fn what_is_damaged_or_too_large_gives_what_came_before() {
        let (out, result) = inflate(Wrapping::Gzip, GZIP, 100, 10);
        assert_eq!((&*out, result), (r#"{"a":"aaaa"#, Err(Broken::TooLarge)));
        let (out, result) = inflate(Wrapping::None, &[RAW, b"after it"].concat(), 100, 48);
        assert_eq!((out, result), (plain(), Ok(())));
        let (_, result) = inflate(Wrapping::Zlib, b"x\x9c\xff\xff\xff", 1, 1000);
        assert_eq!(result, Err(Broken::Damaged));
        let endless = [b"\x1f\x8b\x08\x08\x00\x00\x00\x00\x02\xff".to_vec(), vec![b'n'; 9000]];
        let (_, result) = inflate(Wrapping::Gzip, &endless.concat(), 100, 1000);
        assert_eq!(result, Err(Broken::Damaged));
    }
}
