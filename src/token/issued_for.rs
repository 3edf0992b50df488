use std::fmt;

use http::{Uri, uri::Scheme};

use crate::error::{Error, ErrorKind};

/// Whom tokens were issued for: the issuer, the client, and the scope that was requested.
///
/// It stands beside the tokens in a store, so that no program presents the tokens of another.
/// Issuer and client are the identity. The issuer is text: the issuer identifier (RFC 8414), the
/// token endpoint's URL, or a name of your own. Of a URL scheme, host, port and path count; a query
/// and a user, which may be secret, are left out.
///
/// ```
/// use tower_refresh::IssuedFor;
///
/// let staging = IssuedFor::new("https://Auth.Staging.example.com:443/token?key=s3cret")
///     .with_client("billing")
///     .with_scope("invoices:read");
/// assert_eq!(staging.issuer(), "https://auth.staging.example.com/token");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedFor {
    issuer: String,
    client: String,
    scope: String,
}

impl IssuedFor {
    /// Tokens of this issuer.
    pub fn new(issuer: impl AsRef<str>) -> Self {
        Self::stored(normalized(issuer.as_ref()), String::new(), String::new())
    }

    /// Names the client. Defaults to none.
    #[must_use]
    pub fn with_client(self, client: impl Into<String>) -> Self {
        Self { client: client.into(), ..self }
    }

    /// Names the scope that is requested, separated by spaces (RFC 6749 §3.3). The server may grant
    /// less. Defaults to none.
    #[must_use]
    pub fn with_scope(self, scope: impl Into<String>) -> Self {
        Self { scope: scope.into(), ..self }
    }

    /// The issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The client's id, or nothing.
    pub fn client(&self) -> &str {
        &self.client
    }

    /// The requested scope, or nothing.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// As it was written.
    pub(crate) fn stored(issuer: String, client: String, scope: String) -> Self {
        Self { issuer, client, scope }
    }

    /// Whether both name one identity, whatever the scope.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (&self.issuer, &self.client) == (&other.issuer, &other.client)
    }

    /// With what `other` says where this says nothing.
    pub(crate) fn or(mut self, other: &Self) -> Self {
        if self.client.is_empty() {
            self.client.clone_from(&other.client);
        }
        if self.scope.is_empty() {
            self.scope.clone_from(&other.scope);
        }
        self
    }

    /// The error of a session that finds `theirs` in its store.
    pub(crate) fn foreign(&self, theirs: &Self) -> Error {
        let hint = "give each a store of its own or, if that is an earlier name of this one, say so \
                    with `SessionBuilder::formerly`";
        let message = match self.is_same(theirs) {
            true => format!(
                "the stored tokens were requested with the scope {}, and this session requests {}: \
                 {hint}",
                quoted(&theirs.scope),
                quoted(&self.scope)
            ),
            false => format!(
                "the stored tokens were issued for {theirs}, and this session is {self}: {hint}"
            ),
        };
        Error::new(ErrorKind::ForeignRecord, message)
    }
}

/// An issuer, whose client is the endpoint's if that is known.
impl From<&str> for IssuedFor {
    fn from(issuer: &str) -> Self {
        Self::new(issuer)
    }
}

/// An issuer, whose client is the endpoint's if that is known.
impl From<String> for IssuedFor {
    fn from(issuer: String) -> Self {
        Self::new(issuer)
    }
}

/// It may come out of a file, so nothing is shown as it stands there.
impl fmt::Display for IssuedFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.client.is_empty() {
            write!(f, "the client {} of ", quoted(&self.client))?;
        }
        f.write_str(&quoted(&self.issuer))
    }
}

fn quoted(text: &str) -> String {
    const MOST: usize = 200;
    format!("{:?}", text.chars().take(MOST).collect::<String>())
}

/// A URL without what may differ for one issuer, and without what may be secret. Other text is a
/// name.
fn normalized(issuer: &str) -> String {
    let Ok(uri) = issuer.parse::<Uri>() else { return issuer.to_owned() };
    let (Some(scheme), Some(host)) = (uri.scheme(), uri.host()) else { return issuer.to_owned() };
    let usual = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    let port = uri.port_u16().filter(|&port| port != usual);
    let port = port.map_or(String::new(), |port| format!(":{port}"));
    let path = Some(uri.path()).filter(|&path| path != "/").unwrap_or_default();
    format!("{scheme}://{}{port}{path}", host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    // S142: tokens of another issuer or client are an error that names both, and stay as they are
    #[test]
    fn an_issuer_is_scheme_host_port_and_path_and_never_a_query_or_a_user() {
        for (issuer, normal) in [
            ("https://auth.example.com/token", "https://auth.example.com/token"),
            ("HTTPS://Auth.Example.com:443/token", "https://auth.example.com/token"),
            ("https://auth.example.com/token?key=s3cret", "https://auth.example.com/token"),
            ("https://me:s3cret@auth.example.com/token", "https://auth.example.com/token"),
            ("https://auth.example.com:8443/Token", "https://auth.example.com:8443/Token"),
            ("http://localhost:80/", "http://localhost"),
            ("http://[::1]:9/t", "http://[::1]:9/t"),
            ("https://auth.example.com/", "https://auth.example.com"),
            ("acme", "acme"),
            ("Acme & Sons", "Acme & Sons"),
        ] {
            assert_eq!(IssuedFor::new(issuer).issuer(), normal, "{issuer}");
        }
    }

    #[test]
    fn an_error_names_both_in_one_line() {
        let ours = IssuedFor::new("https://auth.example.com/token").with_client("billing");
        let theirs = IssuedFor::new("https://staging.example.com/token").with_client("bil\nling");
        let error = ours.foreign(&theirs);
        assert_eq!(error.kind(), ErrorKind::ForeignRecord);
        let said = error.to_string();
        assert!(said.contains("https://auth.example.com/token"), "{said}");
        assert!(said.contains("https://staging.example.com/token"), "{said}");
        assert!(!said.contains('\n') && said.contains("formerly"), "{said}");
    }
}
