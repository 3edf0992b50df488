//! Where a token may travel unencrypted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::uri::Scheme;

use crate::error::{Error, ErrorKind};

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
    use crate::origin::Origin;

    // S7: a token travels over https or to this machine only, unless plaintext is allowed
    #[test]
    fn only_encrypted_or_loopback() {
        let fine = |uri: &str| uri.parse::<Origin>().unwrap().check_encrypted(false);
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
