//! Where a token may travel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

    #[test]
    fn loopback_is_told_by_the_spelling_alone() {
        for host in [
            "localhost",
            "LocalHost",
            "127.0.0.1",
            "127.255.255.254",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
        ] {
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
