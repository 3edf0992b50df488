use std::fmt;

use http::{Uri, uri::Scheme};

use crate::{
    error::{Error, ErrorKind},
    origin::has_valid_port,
    origin::plaintext::is_loopback,
    token::IssuedFor,
};

/// The URL of a token endpoint, checked once: refresh tokens and client secrets are safe to send
/// there.
///
/// It is an `https` URL, or an `http` one whose host is `localhost`, in 127/8 or `[::1]` (nothing
/// is resolved). A `&str`, a `String` and a [`Uri`] convert into it, so the endpoints take any of
/// them.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointUrl(Uri);

impl EndpointUrl {
    /// Checks a URL.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it is no absolute URL with a host, has another scheme, a
    /// port that is none, a user name or a password, or a fragment (RFC 6749 §3.2);
    /// [`ErrorKind::Plaintext`] if it is plain `http` to a host that is not loopback.
    pub fn parse(url: &str) -> Result<Self, Error> {
        parse(url).and_then(Self::encrypted)
    }

    /// Checks a URL that may be plain `http` to any host.
    ///
    /// Whoever sits on the way reads the refresh token and the client secret, and may keep the
    /// tokens that come back. It is meant for networks that encrypt by other means.
    ///
    /// # Errors
    ///
    /// Those of [`EndpointUrl::parse`] but for [`ErrorKind::Plaintext`].
    pub fn allow_plaintext(url: &str) -> Result<Self, Error> {
        parse(url).and_then(complete).map(Self)
    }

    /// What stands for the issuer, where that is not known.
    pub(super) fn issued_for(&self) -> IssuedFor {
        IssuedFor::new(self.0.to_string())
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.0
    }

    fn encrypted(uri: Uri) -> Result<Self, Error> {
        let uri = complete(uri)?;
        let host = uri.host().unwrap_or_default();
        if uri.scheme() == Some(&Scheme::HTTPS) || is_loopback(host) {
            return Ok(Self(uri));
        }
        Err(Error::new(
            ErrorKind::Plaintext,
            format!(
                "the token endpoint's URL would send secrets unencrypted to {host}: write https://…, \
                 or use `EndpointUrl::allow_plaintext` if the network is safe"
            ),
        ))
    }
}

impl TryFrom<&str> for EndpointUrl {
    type Error = Error;

    fn try_from(url: &str) -> Result<Self, Error> {
        Self::parse(url)
    }
}

impl TryFrom<String> for EndpointUrl {
    type Error = Error;

    fn try_from(url: String) -> Result<Self, Error> {
        Self::parse(&url)
    }
}

impl TryFrom<Uri> for EndpointUrl {
    type Error = Error;

    fn try_from(uri: Uri) -> Result<Self, Error> {
        Self::encrypted(uri)
    }
}

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (uri, none) = (&self.0, "");
        let scheme = uri.scheme_str().unwrap_or(none);
        let authority = uri.authority().map_or(none, |authority| authority.as_str());
        // Some servers want an API key in the query.
        let query = uri.query().map_or(none, |_| "?[redacted]");
        write!(f, "EndpointUrl({scheme}://{authority}{}{query})", uri.path())
    }
}

// No message below repeats the URL: it may hold a password or a key.

fn parse(url: &str) -> Result<Uri, Error> {
    if url.is_empty() {
        return Err(Error::invalid(
            "the token endpoint's URL is empty: is the variable it comes from set?",
        ));
    }
    if !url.contains("://") {
        return Err(no_scheme());
    }
    if url.contains('#') {
        // `Uri` would drop it in silence.
        return Err(Error::invalid(
            "the token endpoint's URL has a fragment: take out `#` and what follows",
        ));
    }
    url.parse().map_err(|error| {
        Error::with_source(
            ErrorKind::InvalidInput,
            "the token endpoint's URL cannot be read: write https://host/path, without spaces",
            error,
        )
    })
}

/// What every token endpoint's URL has: `http` or `https` and a host, and no user.
fn complete(uri: Uri) -> Result<Uri, Error> {
    let scheme = uri.scheme().ok_or_else(no_scheme)?;
    if *scheme != Scheme::HTTPS && *scheme != Scheme::HTTP {
        return Err(Error::invalid(format!(
            "the token endpoint's URL has the scheme `{scheme}`: write https://…"
        )));
    }
    let authority = uri.authority().map(|authority| authority.as_str());
    if authority.is_some_and(|authority| authority.contains('@')) {
        return Err(Error::invalid(
            "the token endpoint's URL has a user name or a password in it: take it out, and \
             authenticate with `OAuth2Client` or a header",
        ));
    }
    if uri.authority().is_some_and(|authority| !has_valid_port(authority)) {
        return Err(Error::invalid(
            "the token endpoint's URL has an invalid port: write a number up to 65535",
        ));
    }
    if uri.host().unwrap_or_default().is_empty() {
        return Err(Error::invalid(
            "the token endpoint's URL has no host: write https://host/path",
        ));
    }
    Ok(uri)
}

fn no_scheme() -> Error {
    Error::invalid("the token endpoint's URL has no scheme: write https://…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_goes_anywhere_and_http_to_this_machine_only() {
        for url in [
            "https://api.freddy.aitronos.com/v1/auth/refresh",
            "HTTPS://example.com",
            "https://example.com:8443/token?tenant=1",
            "http://localhost:8080/token",
            "http://127.0.0.1/token",
            "http://[::1]:9/token",
            "https://[2001:db8::1]/token",
            "https://example.com:/token",
        ] {
            assert!(EndpointUrl::parse(url).is_ok(), "{url}");
            assert!(EndpointUrl::try_from(url.to_owned()).is_ok(), "{url}");
            let uri: Uri = url.parse().unwrap();
            assert!(EndpointUrl::try_from(uri).is_ok(), "{url}");
        }
    }

    // S7
    #[test]
    fn plaintext_to_another_host_needs_a_word() {
        let url = "http://10.0.0.7/token";
        let error = EndpointUrl::parse(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Plaintext);
        assert!(error.to_string().contains("EndpointUrl::allow_plaintext"));
        assert!(EndpointUrl::try_from(url.parse::<Uri>().unwrap()).is_err());
        assert!(EndpointUrl::allow_plaintext(url).is_ok());
    }

    #[test]
    fn debug_keeps_the_query_to_itself() {
        let url = EndpointUrl::parse("https://example.com/token?key=hunter2").unwrap();
        assert_eq!(format!("{url:?}"), "EndpointUrl(https://example.com/token?[redacted])");
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said() {
        for (url, what) in [
            ("", "is empty"),
            ("api.example.com/token", "has no scheme: write https://"),
            ("localhost:8080/token", "has no scheme"),
            ("/token", "has no scheme"),
            ("ftp://example.com/", "the scheme `ftp`"),
            ("https://", "cannot be read"),
            ("https:///token", "cannot be read"),
            ("https://:443/token", "has no host"),
            ("https://example.com:65536/token", "an invalid port"),
            ("https://example.com:token/", "an invalid port"),
            ("https://[2001:db8::1]:65536/", "an invalid port"),
            ("https://example.com/to ken", "cannot be read"),
            ("https://example.com/token\n", "cannot be read"),
            ("https://me:hunter2@example.com/", "a user name"),
            ("https://me@example.com/", "a user name"),
            ("https://example.com/#/token", "a fragment"),
        ] {
            for parse in [EndpointUrl::parse, EndpointUrl::allow_plaintext] {
                let error = parse(url).expect_err(url);
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
                assert!(error.to_string().contains(what), "{url}: {error}");
                assert!(!format!("{error:?}").contains("hunter2"));
            }
        }
        // A `Uri` can be relative where a string cannot.
        for uri in ["/token", "example.com:443"] {
            let error = EndpointUrl::try_from(uri.parse::<Uri>().unwrap()).unwrap_err();
            assert!(error.to_string().contains("has no scheme"), "{uri}");
        }
    }
}
