//! Strings that are wiped, and that nothing prints.

use std::{fmt, sync::Arc};

use zeroize::Zeroizing;

/// A string that is wiped when its last clone is dropped and that `Debug` does not print.
#[derive(Clone)]
pub(crate) struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    pub(crate) fn new(secret: String) -> Self {
        Self(Arc::new(Zeroizing::new(secret)))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// `Bytes::from_owner` asks for `AsRef<[u8]>`, which `Zeroizing` has for its inner type only.
pub(crate) struct Wiped(pub(crate) Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
