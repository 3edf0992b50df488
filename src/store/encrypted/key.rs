use std::{fmt, str::FromStr};

use base64::{Engine, alphabet, engine};
use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead, KeyInit, Payload},
};
use zeroize::Zeroizing;

use crate::error::Error;

/// The key of an [`Encrypted`](super::Encrypted) store: 32 random bytes.
///
/// From text (`"…".parse()`): 64 hexadecimal digits, or base64 in either alphabet, with or without
/// padding. `Debug` shows its [`id`](Self::id) only, and its memory is wiped on drop.
#[derive(Clone)]
pub struct EncryptionKey(Zeroizing<[u8; 32]>);

impl EncryptionKey {
    /// The key of these bytes. They must be random (`openssl rand 32`); a password is no key.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// What is said of a key where it must not be shown: sixteen hexadecimal digits, computed from
    /// it, that tell it from others and give nothing away.
    pub fn id(&self) -> String {
        // An authentication tag under a nonce that is never drawn for a record: without the
        // key it cannot be computed, and the key cannot be computed from it.
        let payload = Payload { msg: b"", aad: b"tower-refresh key id" };
        let tag = self.cipher().encrypt(&XNonce::default(), payload).unwrap_or_default();
        tag.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.0).into())
    }
}

impl FromStr for EncryptionKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        // One byte more than a key has: so much base64 asks for. A vector that is given back,
        // because it has to grow or because the text is in the other alphabet, is not wiped.
        let mut bytes = Zeroizing::new([0; 33]);
        let length = match text.len() {
            64 => from_hex(text, &mut *bytes),
            _ => BASE64
                .decode_slice(text, &mut *bytes)
                .or_else(|_| BASE64_URL.decode_slice(text, &mut *bytes))
                .ok(),
        };
        match (length, bytes.first_chunk()) {
            (Some(32), Some(key)) => Ok(Self::new(*key)),
            _ => Err(Error::invalid(
                "the encryption key is not 32 bytes in base64 or hexadecimal: make one with \
                 `openssl rand -base64 32`",
            )),
        }
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncryptionKey({})", self.id())
    }
}

/// How many bytes `text` stands for.
fn from_hex(text: &str, bytes: &mut [u8]) -> Option<usize> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks_exact(2);
    let length = pairs.len();
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(length)
}

const EITHER_PADDING: engine::GeneralPurposeConfig = engine::GeneralPurposeConfig::new()
    .with_decode_padding_mode(engine::DecodePaddingMode::Indifferent);
pub(super) const BASE64: engine::GeneralPurpose =
    engine::GeneralPurpose::new(&alphabet::STANDARD, EITHER_PADDING);
const BASE64_URL: engine::GeneralPurpose =
    engine::GeneralPurpose::new(&alphabet::URL_SAFE, EITHER_PADDING);
