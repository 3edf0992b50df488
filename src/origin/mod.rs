//! Where a token may travel.

pub(crate) mod plaintext;

use std::{fmt, str::FromStr};

use http::{
    Uri,
    uri::{Authority, Scheme},
};

use self::plaintext::check_encrypted;
use crate::error::{Error, ErrorKind};

/// Where requests go: a scheme, a host and a port, such as `https://api.example.com` (RFC 6454).
///
/// Two are equal if their schemes, hosts and ports are: case does not matter, and a missing port is
/// the scheme's own.
///
/// ```
/// # fn doc() -> Result<(), tower_refresh::Error> {
/// use tower_refresh::Origin;
///
/// let origin: Origin = "https://API.example.com:443/".parse()?;
/// assert_eq!(origin, Origin::try_from("https://api.example.com")?);
/// assert_eq!(origin.to_string(), "https://api.example.com");
/// # Ok(())
/// # }
/// # doc().unwrap();
/// ```
///
/// # Errors
///
/// It does not parse if there is more to it than that (a path other than `/`, a query, a fragment, a
/// user name), or less (no scheme or no host), or if its port is invalid.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    host: String,
    port: Option<u16>,
}

impl FromStr for Origin {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let uri: Uri = text.parse().map_err(|error| {
            let message = "an origin is not a URI: write it as in \"https://api.example.com\"";
            Error::with_source(ErrorKind::InvalidInput, message, error)
        })?;
        let origin = Self::try_from(uri)?;
        // A `Uri` drops it.
        if text.contains('#') {
            return Err(origin.is_not("has a fragment"));
        }
        Ok(origin)
    }
}

impl TryFrom<&str> for Origin {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self, Error> {
        text.parse()
    }
}

impl TryFrom<Uri> for Origin {
    type Error = Error;

    fn try_from(uri: Uri) -> Result<Self, Error> {
        // The rest of it may hold a password.
        let host = uri.host().unwrap_or_default();
        if uri.authority().is_some_and(|authority| !has_valid_port(authority)) {
            return Err(Error::invalid(format!(
                "the origin {host:?} has an invalid port: write a number up to 65535"
            )));
        }
        let origin = Self::of(&uri).filter(|origin| !origin.host.is_empty()).ok_or_else(|| {
            Error::invalid(format!(
                "the origin {host:?} has no scheme or no host: write it as in \
                 \"https://api.example.com\""
            ))
        })?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(origin.is_not("has a user name or a password"));
        }
        if uri.query().is_some() {
            return Err(origin.is_not("has a query"));
        }
        if !matches!(uri.path(), "" | "/") {
            return Err(origin.is_not("has a path"));
        }
        Ok(origin)
    }
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

    /// It has something that no origin has.
    fn is_not(&self, fault: &str) -> Error {
        Error::invalid(format!("an origin {fault}: write \"{self}\" alone"))
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

/// Whether there is no port or a valid one. A `Uri` takes anything there, and clients go to the
/// scheme's own port if it is invalid.
pub(crate) fn has_valid_port(authority: &Authority) -> bool {
    let host_and_port = authority.as_str().rsplit(['@', ']']).next().unwrap_or_default();
    let port = host_and_port.split_once(':').map_or("", |(_, port)| port);
    port.is_empty() || authority.port_u16().is_some()
}

fn port(scheme: &Scheme, authority: &Authority) -> Option<u16> {
    authority.port_u16().or_else(|| default_port(scheme))
}

fn default_port(scheme: &Scheme) -> Option<u16> {
    match scheme.as_str() {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    }
}

/// As RFC 6454 §6.2 writes it: without the scheme's own port.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str().to_ascii_lowercase(), self.host)?;
        match self.port {
            Some(port) if default_port(&self.scheme) != Some(port) => write!(f, ":{port}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(uri: &str) -> Origin {
        uri.parse().unwrap()
    }

    fn fault(uri: &str) -> String {
        let error = uri.parse::<Origin>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{uri}");
        format!("{error} {error:?}")
    }

    // S8: the rules are looked at in one order, and origins compare by scheme, host and port
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
    fn equal_ones_are_one_in_a_set_and_read_alike() {
        let spellings = ["https://API.example.com:443", "HTTPS://api.example.com/"];
        let set: std::collections::HashSet<_> = spellings.map(origin).into_iter().collect();
        assert_eq!(set.len(), 1);
        for spelling in spellings {
            assert_eq!(origin(spelling).to_string(), "https://api.example.com");
        }
        for text in ["https://api.example.com:8443", "http://[::1]", "http://a.test:443"] {
            assert_eq!(origin(text).to_string(), text);
            assert_eq!(origin(&origin(text).to_string()), origin(text));
            assert_eq!(format!("{:?}", origin(text)), format!("Origin({text})"));
        }
    }

    #[test]
    fn what_is_no_origin_is_told_what_to_write() {
        for bad in ["api.example.com", "/v1", "https://", "", "http://a b", "https://:443", "*"] {
            let fault = fault(bad);
            assert!(fault.contains("https://api.example.com"), "{bad}: {fault}");
        }
    }

    #[test]
    fn more_than_an_origin_is_refused_and_not_dropped() {
        for (bad, what) in [
            ("https://a.test/v1", "path"),
            ("https://a.test//", "path"),
            ("https://a.test?key=hunter2", "query"),
            ("https://a.test/?", "query"),
            ("https://a.test/#hunter2", "fragment"),
            ("https://me:hunter2@a.test", "a user name or a password"),
            ("https://me@a.test", "a user name or a password"),
        ] {
            let fault = fault(bad);
            assert!(fault.contains(what), "{bad}: {fault}");
            assert!(fault.contains("write \"https://a.test\" alone"), "{bad}: {fault}");
            assert!(!fault.contains("hunter2"), "{fault}");
        }
        assert_eq!(origin("https://a.test/"), origin("https://a.test"));
    }

    #[test]
    fn an_invalid_port_is_not_the_schemes_own() {
        for bad in ["https://a.test:65536", "https://a.test:a.test", "http://[::1]:80x/"] {
            let fault = fault(bad);
            assert!(fault.contains("an invalid port"), "{bad}: {fault}");
        }
        for good in ["https://a.test:65535", "https://a.test:", "http://[::1]"] {
            assert!(good.parse::<Origin>().is_ok(), "{good}");
        }
    }

    #[test]
    fn what_is_no_origin_is_not_repeated_with_its_password() {
        for uri in ["https://me:hunter2/x@a.test", "me:hunter2@a.test", "/x?key=hunter2"] {
            assert!(!fault(uri).contains("hunter2"), "{}", fault(uri));
        }
    }
}
