use std::{borrow::Cow, fmt, str::FromStr};

use crate::error::Error;

/// What stands before the token in the header (RFC 9110 §11.1).
///
/// ```
/// # fn doc() -> Result<(), tower_refresh::Error> {
/// use tower_refresh::AuthScheme;
///
/// let github: AuthScheme = "token".parse()?;
/// assert_eq!(AuthScheme::default().to_string(), "Bearer");
/// # Ok(())
/// # }
/// # doc().unwrap();
/// ```
///
/// # Errors
///
/// It does not parse if it is empty or has other characters than those of an HTTP token (RFC 9110
/// §5.6.2).
#[derive(Clone, Debug)]
pub struct AuthScheme(Cow<'static, str>);

impl AuthScheme {
    /// `Bearer` (RFC 6750 §2.1), the default.
    pub const BEARER: Self = Self(Cow::Borrowed("Bearer"));

    /// None: the header is the bare token.
    pub const NONE: Self = Self(Cow::Borrowed(""));

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The scheme, if it is neither `Bearer` nor none.
    pub(super) fn unusual(&self) -> Option<Cow<'static, str>> {
        let usual = self.0.is_empty() || self.0.eq_ignore_ascii_case(Self::BEARER.as_str());
        (!usual).then(|| self.0.clone())
    }
}

impl Default for AuthScheme {
    fn default() -> Self {
        Self::BEARER
    }
}

impl FromStr for AuthScheme {
    type Err = Error;

    fn from_str(scheme: &str) -> Result<Self, Error> {
        if scheme.is_empty() {
            let message = "the scheme is empty: write `AuthScheme::NONE` to send the bare token";
            return Err(Error::invalid(message));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if let Some(wrong) = scheme.chars().find(|&c| !allowed(c)) {
            return Err(Error::invalid(format!(
                "the scheme has a {wrong:?}: write the scheme's name alone, as in \"Bearer\""
            )));
        }
        Ok(Self(scheme.to_owned().into()))
    }
}

impl TryFrom<&str> for AuthScheme {
    type Error = Error;

    fn try_from(scheme: &str) -> Result<Self, Error> {
        scheme.parse()
    }
}

impl fmt::Display for AuthScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
