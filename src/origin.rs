//! Where a token may travel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{
    Extensions, Uri,
    uri::{Authority, Scheme},
};

use crate::error::{Error, ErrorKind};

/// Scheme, host and port, compared as RFC 6454 §5 does: the host in lower case, the scheme's own
/// port for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: Scheme,
    host: String,
    port: Option<u16>,
}

impl Origin {
    /// The origin of an absolute URI.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let (scheme, authority) = (uri.scheme()?, uri.authority()?);
        Some(Self {
            scheme: scheme.clone(),
            host: authority.host().to_ascii_lowercase(),
            port: port(scheme, authority),
        })
    }

    pub(crate) fn parse<U>(uri: U) -> Result<Self, Error>
    where
        U: TryInto<Uri, Error: Into<http::Error>>,
    {
        let uri = uri.try_into().map_err(|error| {
            let message = "an origin is not a URI: write it as in \"https://api.example.com\"";
            Error::with_source(ErrorKind::InvalidInput, message, error.into())
        })?;
        // The rest of it may hold a password.
        let host = uri.host().unwrap_or_default();
        if uri.authority().is_some_and(|authority| !has_port_or_none(authority)) {
            return Err(Error::invalid(format!(
                "the origin {host:?} has a port that is none: write a number up to 65535"
            )));
        }
        Self::of(&uri).ok_or_else(|| {
            Error::invalid(format!(
                "the origin {host:?} has no scheme or no host: write it as in \
                 \"https://api.example.com\""
            ))
        })
    }

    /// The same question as `Origin::of(uri) == Some(self)`, without building one.
    pub(crate) fn is_of(&self, uri: &Uri) -> bool {
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return false;
        };
        *scheme == self.scheme
            && authority.host().eq_ignore_ascii_case(&self.host)
            && port(scheme, authority) == self.port
    }

    /// Fails if a bearer token would travel unencrypted (RFC 6750 §5.3).
    pub(crate) fn check_encrypted(&self, allow_plaintext: bool) -> Result<(), Error> {
        check_encrypted(&self.scheme, || &self.host, allow_plaintext)
    }
}

/// Whether a client below us that follows redirects says that it ended at another origin than it
/// was asked for.
#[cfg_attr(
    not(any(feature = "follow-redirect", feature = "reqwest")),
    expect(unused_variables, reason = "no such client is known")
)]
pub(crate) fn is_elsewhere(asked: &Uri, answer: &Extensions) -> bool {
    #[cfg(feature = "reqwest")]
    if let Some(answered) = answer.get::<tower_http_06::follow_redirect::RequestUri>()
        && differ(asked, &answered.0)
    {
        return true;
    }
    #[cfg(feature = "follow-redirect")]
    if let Some(answered) = answer.get::<tower_http::follow_redirect::RequestUri>()
        && differ(asked, &answered.0)
    {
        return true;
    }
    false
}

/// Whether these are of two origins; one that does not say where it goes differs from none.
#[cfg(any(feature = "follow-redirect", feature = "reqwest"))]
pub(crate) fn differ(asked: &Uri, answered: &Uri) -> bool {
    Origin::of(asked).is_some_and(|asked| !asked.is_of(answered))
}

/// `host` is asked for only if the scheme leaves it open: to find it takes a parse.
pub(crate) fn check_encrypted<'a>(
    scheme: &Scheme,
    host: impl FnOnce() -> &'a str,
    allow_plaintext: bool,
) -> Result<(), Error> {
    if *scheme == Scheme::HTTPS {
        return Ok(());
    }
    let host = host();
    if *scheme == Scheme::HTTP && (allow_plaintext || is_loopback(host)) {
        return Ok(());
    }
    if *scheme == Scheme::HTTP {
        return Err(Error::new(
            ErrorKind::Plaintext,
            format!(
                "the token would travel to {host} unencrypted: use https, or permit it with \
                 `RefreshLayer::allow_plaintext`"
            ),
        ));
    }
    Err(Error::new(
        ErrorKind::Plaintext,
        format!("a token does not travel over the scheme {scheme:?}: use https"),
    ))
}

/// Whether what stands behind the host can be a port. A `Uri` takes anything there, and clients go
/// to the scheme's own port if it is none.
pub(crate) fn has_port_or_none(authority: &Authority) -> bool {
    let host_and_port = authority.as_str().rsplit(['@', ']']).next().unwrap_or_default();
    let port = host_and_port.split_once(':').map_or("", |(_, port)| port);
    port.is_empty() || authority.port_u16().is_some()
}

fn port(scheme: &Scheme, authority: &Authority) -> Option<u16> {
    authority.port_u16().or(match scheme.as_str() {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    })
}

/// Whether `host`, as a URI spells it, can only be this very machine: `localhost`, an address in
/// 127/8, or `[::1]`.
///
/// Nothing is resolved: what a name leads to may change between the check and the sending, and
/// names that merely look local (`localhost.example.com`, `127.1`) prove nothing.
pub(crate) fn is_loopback(host: &str) -> bool {
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let literal = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().map(IpAddr::V6),
        None => host.parse::<Ipv4Addr>().map(IpAddr::V4),
    };
    literal.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(uri: &str) -> Origin {
        Origin::parse(uri).unwrap()
    }

    // S8
    #[test]
    fn default_ports_and_case_do_not_matter_but_scheme_host_and_port_do() {
        let bound = origin("https://api.example.com");
        let same = |uri: &'static str| {
            let uri = Uri::from_static(uri);
            assert_eq!(bound.is_of(&uri), Origin::of(&uri).as_ref() == Some(&bound), "{uri}");
            bound.is_of(&uri)
        };
        assert!(same("https://api.example.com:443/v1?x=y"));
        assert!(same("https://API.Example.COM/"));
        assert!(same("HTTPS://api.example.com/"));
        assert!(!same("http://api.example.com/"));
        assert!(!same("https://api.example.com:8443/"));
        assert!(!same("https://example.com/"));
        assert!(!same("https://api.example.com.evil.test/"));
        assert!(!same("https://api.example.com@evil.test/"));
        assert!(!same("/v1"));
        assert_eq!(origin("http://[::1]:80"), origin("http://[::1]"));
    }

    #[test]
    fn what_is_no_origin_is_named() {
        for bad in ["api.example.com", "/v1", "https://", "", "http://a b"] {
            let error = Origin::parse(bad).unwrap_err();
            assert!(error.to_string().contains("https://api.example.com"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_port_that_is_none_is_not_the_schemes_own() {
        for bad in ["https://a.test:65536", "https://a.test:a.test", "http://[::1]:80x/"] {
            let error = Origin::parse(bad).unwrap_err();
            assert!(error.to_string().contains("a port that is none"), "{bad}: {error}");
        }
        for good in ["https://a.test:65535", "https://a.test:", "http://[::1]", "http://u:p@a.test"]
        {
            assert!(Origin::parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn what_is_no_origin_is_not_repeated_with_its_password() {
        for uri in ["https://me:hunter2/x@a.test", "me:hunter2@a.test", "/x?key=hunter2"] {
            let error = Origin::parse(uri).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }

    // S7
    #[test]
    fn only_encrypted_or_loopback() {
        let fine = |uri| origin(uri).check_encrypted(false);
        for uri in ["https://a.test", "http://localhost:1", "http://127.8.9.1", "http://[::1]:1"] {
            assert!(fine(uri).is_ok(), "{uri}");
        }
        for uri in
            ["http://a.test", "http://localhost.a.test", "http://127.0.0.1.a.test", "http://[::2]"]
        {
            let error = fine(uri).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Plaintext);
            assert!(error.to_string().contains("allow_plaintext"), "{error}");
        }
        assert!(fine("ftp://localhost").is_err());
    }

    #[test]
    fn loopback_is_told_by_the_spelling_alone() {
        for host in
            ["localhost", "LocalHost", "127.0.0.1", "127.255.255.254", "[::1]", "[0:0:0:0:0:0:0:1]"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "127.1",
            "0177.0.0.1",
            "128.0.0.1",
            "0.0.0.0",
            "::1",
            "[::2]",
            "[::ffff:127.0.0.1]",
            "[127.0.0.1]",
            "[::1",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
