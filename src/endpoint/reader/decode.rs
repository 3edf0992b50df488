//! From the bytes on the wire to text: content codings (RFC 9110 §8.4.1) and UTF-16.
//!
//! What the bytes are themselves counts for more than what the header says of them: servers compress
//! unasked, and proxies inflate and leave the header as it was.

use http::{HeaderMap, header::CONTENT_ENCODING};
use zeroize::Zeroizing;

use super::{
    inflate::{Broken, Inflater, Wrapping},
    wiped::Buffer,
};

/// As much as tells what a body is.
const SNIFFED: usize = 4;

pub(super) struct Decoder {
    /// The codings in the header, but for those that change nothing.
    codings: Vec<String>,
    max: usize,
    stage: Stage,
    charset: Charset,
    /// The text so far, in UTF-8 if it is not in another superset of ASCII.
    text: Buffer,
}

enum Stage {
    Sniff(Buffer),
    Plain,
    Inflate(Inflater),
    /// In a coding that is not read.
    Opaque(String),
}

enum Charset {
    Unknown(Buffer),
    /// UTF-8, or any other in which ASCII stands for itself.
    Ascii,
    Utf16 {
        swapped: bool,
        half: Option<u8>,
        high: Option<u16>,
    },
}

impl Decoder {
    pub(super) fn new(headers: &HeaderMap, max: usize) -> Self {
        Self {
            codings: codings(headers),
            max,
            stage: Stage::Sniff(Buffer::default()),
            charset: Charset::Unknown(Buffer::default()),
            text: Buffer::default(),
        }
    }

    pub(super) fn text(&self) -> &[u8] {
        self.text.as_slice()
    }

    /// The coding that the body is in, if that is one that is not read.
    pub(super) fn unread_coding(&self) -> Option<String> {
        match &self.stage {
            Stage::Opaque(coding) => Some(coding.clone()),
            // Compressed twice.
            Stage::Inflate(_) if magic(self.text()).is_some() => Some(self.named("gzip, gzip")),
            Stage::Inflate(_) if self.codings.len() > 1 => Some(self.named("gzip, gzip")),
            // What is not compressed in spite of the header is text that a proxy has inflated.
            Stage::Plain
                if self.codings.iter().any(|coding| coding != "gzip" && coding != "deflate")
                    && !self.text().trim_ascii().is_empty() =>
            {
                Some(self.named(""))
            }
            _ => None,
        }
    }

    fn named(&self, unnamed: &str) -> String {
        if self.codings.is_empty() { unnamed.to_owned() } else { self.codings.join(", ") }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        if let Stage::Sniff(head) = &mut self.stage {
            head.extend(bytes);
            return if head.len() < SNIFFED { Ok(()) } else { self.sniff() };
        }
        self.decode(bytes)
    }

    /// There is no more to come.
    pub(super) fn end(&mut self) -> Result<(), Broken> {
        if let Stage::Sniff(_) = self.stage {
            self.sniff()?;
        }
        if let Charset::Unknown(head) = &mut self.charset {
            let head = std::mem::take(head);
            self.charset = Charset::Ascii;
            self.write(head.as_slice())?;
        }
        match &self.stage {
            Stage::Inflate(inflater) if !inflater.has_ended() => Err(Broken::Damaged),
            _ => Ok(()),
        }
    }

    fn sniff(&mut self) -> Result<(), Broken> {
        let Stage::Sniff(head) = std::mem::replace(&mut self.stage, Stage::Plain) else {
            return Ok(());
        };
        let says_deflate = self.codings == ["deflate"];
        self.stage = match magic(head.as_slice()) {
            Some(Magic::Zstd) => Stage::Opaque(self.named("zstd")),
            Some(Magic::Gzip) => Stage::Inflate(Inflater::new(Wrapping::Gzip)),
            Some(Magic::Zlib) => Stage::Inflate(Inflater::new(Wrapping::Zlib)),
            None if says_deflate && !looks_like_text(head.as_slice()) => {
                let zlib = head.as_slice().starts_with(b"x");
                let wrapping = if zlib { Wrapping::Zlib } else { Wrapping::None };
                Stage::Inflate(Inflater::new(wrapping))
            }
            None => Stage::Plain,
        };
        self.decode(head.as_slice())
    }

    fn decode(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        match &mut self.stage {
            Stage::Inflate(inflater) => {
                let (inflated, result) = inflater.push(bytes, self.max);
                let inflated = Zeroizing::new(inflated.to_vec());
                self.recode(&inflated)?;
                result
            }
            Stage::Opaque(_) => Ok(()),
            _ => self.recode(bytes),
        }
    }

    /// Makes UTF-8 of UTF-16.
    fn recode(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        match &mut self.charset {
            Charset::Ascii => self.write(bytes),
            Charset::Unknown(head) => {
                head.extend(bytes);
                if head.len() < SNIFFED {
                    return Ok(());
                }
                let head = std::mem::take(head);
                self.charset = Charset::of(head.as_slice());
                self.recode(head.as_slice())
            }
            Charset::Utf16 { swapped, half, high } => {
                let swapped = *swapped;
                let mut utf8 = Buffer::default();
                for &byte in bytes {
                    let Some(first) = half.take() else {
                        *half = Some(byte);
                        continue;
                    };
                    let pair = [first, byte];
                    let unit =
                        if swapped { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) };
                    if high.is_none() && (0xD800..0xDC00).contains(&unit) {
                        *high = Some(unit);
                        continue;
                    }
                    for c in char::decode_utf16(high.take().into_iter().chain([unit])) {
                        let c = c.unwrap_or(char::REPLACEMENT_CHARACTER);
                        utf8.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                }
                self.write(utf8.as_slice())
            }
        }
    }

    fn write(&mut self, text: &[u8]) -> Result<(), Broken> {
        let room = self.max - self.text.len();
        self.text.extend(&text[..text.len().min(room)]);
        if text.len() > room { Err(Broken::TooLarge) } else { Ok(()) }
    }
}

impl Charset {
    /// By the byte order mark, or by where the zeros of ASCII stand.
    fn of(head: &[u8]) -> Self {
        let utf16 = |swapped| Self::Utf16 { swapped, half: None, high: None };
        match head {
            [0xFE, 0xFF, ..] | [0, 1..=255, 0, 1..=255, ..] => utf16(false),
            [0xFF, 0xFE, ..] | [1..=255, 0, 1..=255, 0, ..] => utf16(true),
            _ => Self::Ascii,
        }
    }
}

enum Magic {
    Gzip,
    Zlib,
    Zstd,
}

fn magic(head: &[u8]) -> Option<Magic> {
    match head {
        [0x1F, 0x8B, 8, ..] => Some(Magic::Gzip),
        // Of the four that a compressor writes the fourth is text (`x^`).
        [0x78, 0x01 | 0x9C | 0xDA, ..] => Some(Magic::Zlib),
        [0x28, 0xB5, 0x2F, 0xFD, ..] => Some(Magic::Zstd),
        _ => None,
    }
}

/// No JSON that was deflated begins like this.
fn looks_like_text(head: &[u8]) -> bool {
    matches!(head, [b'{' | b'[' | b'"' | b'<' | b' ' | b'\n' | b'\r' | 0xEF, ..] | [])
}

fn codings(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let names = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    names
        .map(|name| name.trim().to_ascii_lowercase())
        .map(|name| name.strip_prefix("x-").unwrap_or(&name).to_owned())
        .filter(|name| {
            let is_name = name.len() <= 20 && name.bytes().all(|byte| byte.is_ascii_graphic());
            let changes_nothing = ["", "identity", "none", "binary", "chunked", "aws-chunked"];
            // A charset is often mistaken for a coding.
            let is_charset = ["utf", "iso-", "us-ascii"].iter().any(|set| name.starts_with(set));
            is_name && !is_charset && !changes_nothing.contains(&&**name)
        })
        .collect()
}
