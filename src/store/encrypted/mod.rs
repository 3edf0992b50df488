//! Tokens that the place where they are kept cannot read.

mod key;

use std::{borrow::Cow, fmt};

use base64::Engine;
use chacha20poly1305::{
    XNonce,
    aead::{Aead, Generate, Payload},
};
use futures_util::future::FutureExt;
use zeroize::Zeroizing;

use self::key::BASE64;
use super::{
    BoxFuture, Record, SaveOutcome, TokenStore,
    record::{Sealed, Unreadable},
};
use crate::error::{BoxError, Error, ErrorKind};

pub use self::key::EncryptionKey;

/// A store around another, which gets to see the tokens encrypted only.
///
/// ```
/// use tower_refresh::store::{Encrypted, MemoryStore};
///
/// # fn doc(key: &str) -> Result<(), tower_refresh::BoxError> {
/// // `openssl rand -base64 32` makes one; keep it apart from what it protects.
/// let store = Encrypted::new(MemoryStore::new(), "billing", key.parse()?);
/// # Ok(())
/// # }
/// # doc("x0aSHAaUHzLmHeGVsJ5bVVPsDbp3dZbKIWZS6f6vQqM=").unwrap();
/// ```
///
/// Records are sealed whole with XChaCha20-Poly1305 under a fresh random nonce. The record's
/// version, turn and lease stay readable, because the store inside compares them; they and the name
/// that was given are bound to what is sealed, so that none can be changed, and the record of one
/// name cannot be put in the place of another's. The name and the id of the key can be read too.
/// Members that this version of the crate does not know stay where they are, inside or outside.
///
/// # What it does not protect from
///
/// Who can write to the store inside can delete the record, or put back an *older* one that was
/// sealed for the same name. Both cost a log-in; neither shows a token.
///
/// # Another key
///
/// Give the new key to [`new`](Self::new), and the old one to [`old_key`](Self::old_key): what the
/// old one sealed can still be read, and each save seals with the new one. All processes have to
/// know the new key before the first of them seals with it; until then give them both the other
/// way round.
#[must_use = "a store does nothing before a session has it"]
pub struct Encrypted<S> {
    inner: S,
    name: String,
    /// The first one seals.
    keys: Vec<EncryptionKey>,
    accepts_unencrypted: bool,
}

impl<S> Encrypted<S> {
    /// Seals what goes into `inner` with `key`. `name` says whose tokens they are, and is the same
    /// for all processes that share them; give each record of one place a name of its own.
    pub fn new(inner: S, name: impl Into<String>, key: EncryptionKey) -> Self {
        Self { inner, name: name.into(), keys: vec![key], accepts_unencrypted: false }
    }

    /// A key that opens what was sealed with it, and seals nothing any more.
    pub fn old_key(mut self, key: EncryptionKey) -> Self {
        self.keys.push(key);
        self
    }

    /// Whether a record that is not encrypted may be read: for a store that was used without
    /// encryption before. The next save encrypts it. While this is on, who can write to the store
    /// inside can put tokens of their own there.
    ///
    /// Defaults to `false`.
    pub fn accept_unencrypted(mut self, accept: bool) -> Self {
        self.accepts_unencrypted = accept;
        self
    }

    /// The store inside.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Gives the store inside back.
    pub fn into_inner(self) -> S {
        self.inner
    }

    fn seal(&self, record: &Record) -> Result<Record, BoxError> {
        let key = &self.keys[0];
        let plain = record.to_json()?;
        let nonce = XNonce::try_generate()?;
        let payload = Payload { msg: &plain, aad: &self.bound_to() };
        let sealed = key.cipher().encrypt(&nonce, payload).map_err(|_| "too large to encrypt")?;
        let data = BASE64.encode([nonce.as_slice(), &sealed].concat());
        let sealed = Sealed { key: key.id(), name: self.name.clone(), data };
        Ok(record.sealed_as(sealed))
    }

    fn open(&self, record: Record) -> Result<Record, BoxError> {
        let Some(sealed) = record.sealed() else {
            return match self.accepts_unencrypted {
                true => Ok(record),
                false => Err(unusable(
                    "the stored tokens are not encrypted: if they were stored before encryption \
                     was turned on, let `Encrypted::accept_unencrypted` take them over",
                )),
            };
        };
        if sealed.name != self.name {
            return Err(unusable(format!(
                "the stored tokens were encrypted for the name {:?}, not for {:?}: is this the \
                 right store? If the name was changed, log in again with an empty store",
                sealed.name, self.name
            )));
        }
        let Some(key) = self.keys.iter().find(|key| key.id() == sealed.key) else {
            let known: Vec<_> = self.keys.iter().map(EncryptionKey::id).collect();
            return Err(unusable(format!(
                "the stored tokens were encrypted with the key {:?}, and known is only {}: add \
                 that key with `Encrypted::old_key`, or log in again with an empty store",
                sealed.key,
                known.join(", ")
            )));
        };
        let changed = || {
            unusable(
                "the stored tokens were changed without the key, or damaged: find \
                 out who can write to the store, and log in again with an empty one",
            )
        };
        let plain = self.unseal(sealed, key).ok_or_else(changed)?;
        match Record::from_json(&plain) {
            // What stands outside was sealed too, and has to agree.
            Ok(inside) => record.unsealed(inside).ok_or_else(changed),
            Err(error @ Unreadable::Requires(_)) => {
                Err(unusable(format!("the encrypted token record {error}")))
            }
            Err(_) => Err(changed()),
        }
    }

    fn unseal(&self, sealed: &Sealed, key: &EncryptionKey) -> Option<Zeroizing<Vec<u8>>> {
        let data = BASE64.decode(&sealed.data).ok()?;
        let (nonce, sealed) = data.split_at_checked(NONCE)?;
        let payload = Payload { msg: sealed, aad: &self.bound_to() };
        key.cipher().decrypt(&nonce.try_into().ok()?, payload).ok().map(Zeroizing::new)
    }

    /// What a sealed record cannot be taken away from.
    fn bound_to(&self) -> Vec<u8> {
        [b"tower-refresh-sealed/1\0".as_slice(), self.name.as_bytes()].concat()
    }
}

impl<S: TokenStore> TokenStore for Encrypted<S> {
    fn load(&self) -> BoxFuture<'_, Result<Option<Record>, BoxError>> {
        async { self.inner.load().await?.map(|record| self.open(record)).transpose() }.boxed()
    }

    fn save(
        &self,
        record: Record,
        expected: Option<u64>,
    ) -> BoxFuture<'_, Result<SaveOutcome, BoxError>> {
        async move { self.inner.save(self.seal(&record)?, expected).await }.boxed()
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        self.inner.changed()
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }
}

impl<S: fmt::Debug> fmt::Debug for Encrypted<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encrypted")
            .field("inner", &self.inner)
            .field("name", &self.name)
            .field("keys", &self.keys)
            .field("accepts_unencrypted", &self.accepts_unencrypted)
            .finish()
    }
}

fn unusable(message: impl Into<Cow<'static, str>>) -> BoxError {
    Error::new(ErrorKind::Store, message).into()
}

/// Bytes of a nonce, which stands before the ciphertext.
const NONCE: usize = 24;

#[cfg(all(test, feature = "test-util"))]
mod tests {
    use futures_util::future::FutureExt;

    use super::*;
    use crate::store::MemoryStore;

    // S88: unknown members of a record are kept, and what `crit` requires and is unknown is refused
    #[test]
    fn a_sealed_record_that_requires_what_this_version_does_not_know_is_no_damage() {
        let store = Encrypted::new(MemoryStore::new(), "billing", EncryptionKey::new([1; 32]));
        let saved = store.save(Record::empty(1, 1).requiring("dpop"), None).now_or_never();
        assert_eq!(saved.unwrap().unwrap(), SaveOutcome::Stored);
        let error = store.load().now_or_never().unwrap().unwrap_err().to_string();
        assert!(error.contains("requires \"dpop\"") && error.contains("update"), "{error}");
    }
}
