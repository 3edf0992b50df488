//! Which proxy a call goes through, as the environment says.
//!
//! A proxy is asked for a tunnel (`CONNECT`), so all that it sees is the host and the port. A call
//! over plain http never goes through one: it would read the refresh token and the client's secret.

use std::{
    env,
    ffi::OsString,
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

use http::{HeaderValue, Uri, uri::Scheme};
use hyper_util::client::proxy::matcher::Matcher;

use super::error::EndpointError;
use crate::origin::plaintext::is_loopback;

/// A proxy, and where it was named.
#[derive(Clone)]
pub(super) struct Proxy {
    pub(super) uri: Uri,
    /// What its user name and password make, marked sensitive.
    pub(super) authorization: Option<HeaderValue>,
    variable: &'static str,
}

/// The way to a token endpoint.
#[derive(Clone, Debug)]
pub(super) enum Route {
    /// To its host. A variable may name a proxy all the same: then it is said why that is not used.
    Direct(Option<Unused>),
    Through(Proxy),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Unused {
    variable: &'static str,
    why: &'static str,
}

/// In the order in which they count, those of one pair alike.
const OF_HTTPS: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const OF_ALL: [&str; 2] = ["ALL_PROXY", "all_proxy"];
const OF_HTTP: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
const EXCEPT: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The way to `target`.
///
/// # Errors
///
/// A variable names something that is no proxy for us. To go directly would be to go around a proxy
/// that is there for a reason.
pub(super) fn route(target: &Uri, may_use_one: bool) -> Result<Route, EndpointError> {
    route_by(target, may_use_one, |name| env::var_os(name))
}

fn route_by(
    target: &Uri,
    may_use_one: bool,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Route, EndpointError> {
    // The first of a pair that is set counts, and an empty one names nothing.
    let named = |pair: [&'static str; 2]| {
        let set = pair.into_iter().find_map(|name| Some((name, environment(name)?)));
        set.filter(|(_, value)| !value.is_empty())
    };
    let Some((variable, value)) = named(OF_HTTPS).or_else(|| named(OF_ALL)) else {
        let unused = named(OF_HTTP).map(|(variable, _)| Unused {
            variable,
            why: "it names a proxy for plain http, and `HTTPS_PROXY` one for https",
        });
        return Ok(Route::Direct(unused));
    };
    let direct = |why| Ok(Route::Direct(Some(Unused { variable, why })));
    if target.scheme() != Some(&Scheme::HTTPS) {
        return direct("the proxy would read what is sent over plain http");
    }
    if is_nearby(target.host().unwrap_or_default()) {
        return direct("the host is this machine or on its own link");
    }
    if !may_use_one {
        return direct("the endpoint says `no_proxy`");
    }
    // In a CGI program a client's header could have set it (httpoxy).
    if environment("REQUEST_METHOD").is_some() {
        return direct("`REQUEST_METHOD` is set, and a client of a CGI program could name a proxy");
    }
    let except = named(EXCEPT).map(|(_, value)| value.to_string_lossy().into_owned());
    let except = except.unwrap_or_default();
    let any = Matcher::builder().https("http://proxy.invalid").no(except).build();
    if any.intercept(target).is_none() {
        return direct("`NO_PROXY` names this host");
    }
    let value = value.into_string().map_err(|_| unreadable(variable))?;
    let proxy = Matcher::builder().https(value).build();
    let proxy = proxy.intercept(target).ok_or_else(|| unreadable(variable))?;
    let uri = proxy.uri().clone();
    if uri.scheme() != Some(&Scheme::HTTP) && uri.scheme() != Some(&Scheme::HTTPS) {
        return Err(EndpointError::misconfigured(format!(
            "{variable} names a SOCKS proxy: name one that speaks HTTP, tell the token endpoint \
             `no_proxy`, or give it another client with `transport`"
        )));
    }
    // What stands before a second `@` would be taken for a part of the host.
    if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        return Err(unreadable(variable));
    }
    Ok(Route::Through(Proxy { authorization: proxy.basic_auth().cloned(), uri, variable }))
}

/// The value is not shown: it may hold a password.
fn unreadable(variable: &str) -> EndpointError {
    EndpointError::misconfigured(format!(
        "{variable} cannot be read as a proxy's URL: write http://host:port, with what is special \
         in a password percent-encoded (`@` is `%40`), or tell the token endpoint `no_proxy`"
    ))
}

/// Loopback, or an address that no proxy could reach for us: cloud metadata services have one.
fn is_nearby(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    is_loopback(host)
        || host.parse().is_ok_and(|ip: Ipv4Addr| ip.is_link_local() || ip.is_loopback())
        || host.parse().is_ok_and(|ip: Ipv6Addr| ip.is_unicast_link_local() || ip.is_loopback())
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.uri.host().unwrap_or_default())?;
        if let Some(port) = self.uri.port_u16() {
            write!(f, ":{port}")?;
        }
        write!(f, " (of {})", self.variable)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

impl fmt::Display for Unused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is set and not used: {}", self.variable, self.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::FailureClass;

    const TARGET: &str = "https://auth.example.com/token";

    fn by(target: &str, variables: &[(&str, &str)]) -> Result<Route, EndpointError> {
        let environment = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        route_by(&target.parse().unwrap(), true, environment)
    }

    fn through(variables: &[(&str, &str)]) -> String {
        match by(TARGET, variables).expect("a route") {
            Route::Through(proxy) => proxy.to_string(),
            Route::Direct(unused) => format!("{:?}", unused.map(|unused| unused.to_string())),
        }
    }

    // S128: a call goes through the proxy of the environment, which sees the host alone, and never
    // where a proxy is not for it
    #[test]
    fn the_first_variable_that_names_a_proxy_for_https_counts() {
        for (variables, expected) in [
            (&[("HTTPS_PROXY", "http://p:3128")][..], "p:3128 (of HTTPS_PROXY)"),
            (&[("https_proxy", "http://p:3128")], "p:3128 (of https_proxy)"),
            (&[("HTTPS_PROXY", "http://p"), ("https_proxy", "http://q")], "p (of HTTPS_PROXY)"),
            (&[("ALL_PROXY", "p:3128")], "p:3128 (of ALL_PROXY)"),
            (&[("all_proxy", "https://p:8443/")], "p:8443 (of all_proxy)"),
            (&[("HTTPS_PROXY", ""), ("ALL_PROXY", "p:1")], "p:1 (of ALL_PROXY)"),
            (
                &[("HTTPS_PROXY", "http://[2001:db8::7]:3128")],
                "[2001:db8::7]:3128 (of HTTPS_PROXY)",
            ),
            (&[("HTTPS_PROXY", "http://u:s3cret@p:3128")], "p:3128 (of HTTPS_PROXY)"),
            (&[("NO_PROXY", "example.org"), ("ALL_PROXY", "p:1")], "p:1 (of ALL_PROXY)"),
            (&[("HTTPS_PROXY", "")], "None"),
            (&[], "None"),
        ] {
            assert_eq!(through(variables), expected, "{variables:?}");
        }
        let Route::Through(proxy) = by(TARGET, &[("ALL_PROXY", "http://u:p%40ss@p:1")]).unwrap()
        else {
            panic!("no proxy");
        };
        let authorization = proxy.authorization.as_ref().expect("a header");
        // base64 of `u:p@ss`
        assert_eq!(authorization, "Basic dTpwQHNz");
        assert!(authorization.is_sensitive());
        assert_eq!(format!("{proxy:?}"), "Proxy(p:1 (of ALL_PROXY))");
    }

    // S128: a call goes through the proxy of the environment, which sees the host alone, and never
    // where a proxy is not for it
    #[test]
    fn a_variable_that_is_set_and_not_used_is_named_with_the_reason() {
        let set = ("HTTPS_PROXY", "http://p:3128");
        for (target, variables, why) in [
            (TARGET, &[("HTTP_PROXY", "http://p")][..], "HTTP_PROXY is set and not used: it names"),
            (TARGET, &[set, ("NO_PROXY", "example.com")], "`NO_PROXY` names this host"),
            (TARGET, &[set, ("no_proxy", "*")], "`NO_PROXY` names this host"),
            (TARGET, &[set, ("REQUEST_METHOD", "GET")], "`REQUEST_METHOD` is set"),
            ("https://localhost:8443/", &[set], "this machine or on its own link"),
            ("https://127.3.2.1/", &[set], "this machine or on its own link"),
            ("https://[::1]/", &[set], "this machine or on its own link"),
            ("https://169.254.169.254/", &[set], "this machine or on its own link"),
            ("https://[fe80::1]/", &[set], "this machine or on its own link"),
            ("http://10.0.0.7/", &[set], "over plain http"),
            ("http://10.0.0.7/", &[("ALL_PROXY", "p:1")], "ALL_PROXY is set and not used"),
        ] {
            let Route::Direct(Some(unused)) = by(target, variables).expect(target) else {
                panic!("{target} {variables:?}");
            };
            assert!(unused.to_string().contains(why), "{target}: {unused}");
        }
        let endpoint = route_by(&TARGET.parse().unwrap(), false, |name| {
            (name == "HTTPS_PROXY").then(|| "http://p:3128".into())
        });
        let Route::Direct(Some(unused)) = endpoint.unwrap() else { panic!("a proxy") };
        assert!(unused.to_string().contains("`no_proxy`"), "{unused}");
    }

    // S129: a proxy that gives no tunnel, and a variable that names none, are errors that name them
    // and show no password
    #[test]
    fn what_is_no_proxy_for_us_is_an_error_that_names_the_variable_and_shows_no_password() {
        for value in [
            "socks5://u:s3cret@p:1080",
            "socks4a://p",
            "ftp://u:s3cret@p",
            "http://u:s3cret p:3128",
            "http://u:s3@cret@p:3128",
            "u:s3cret#@p",
            "://",
        ] {
            for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
                // Another that could be used does not count: this one was to be.
                let error = by(TARGET, &[(variable, value), ("HTTP_PROXY", "http://p")]);
                let error = error.expect_err(value);
                assert_eq!(error.class(), FailureClass::Misconfigured);
                let shown = format!("{error} {error:?}");
                assert!(shown.contains(variable) && shown.contains("no_proxy"), "{shown}");
                assert!(!shown.contains("s3") && !shown.contains("cret"), "{shown}");
                // Where no proxy is to be used none is looked at.
                let excepted = by(TARGET, &[(variable, value), ("NO_PROXY", "*")]);
                assert!(matches!(excepted, Ok(Route::Direct(Some(_)))), "{value}");
            }
        }
    }
}
