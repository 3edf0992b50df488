//! What a URL has to be before secrets are sent there. No message repeats it: it may hold a password
//! or a key.

use http::{Uri, uri::Scheme};

use crate::{
    error::{Error, ErrorKind},
    origin::has_valid_port,
    origin::plaintext::is_loopback,
};

// What is checked, as its errors name it.
pub(in crate::endpoint) const TOKEN_ENDPOINT: &str = "the token endpoint's URL";
pub(super) const ISSUER: &str = "the issuer's URL";

pub(in crate::endpoint) fn parse(what: &str, url: &str) -> Result<Uri, Error> {
    if url.is_empty() {
        return Err(Error::invalid(format!("{what} is empty: is the variable it comes from set?")));
    }
    if !url.contains("://") {
        return Err(no_scheme(what));
    }
    if url.contains('#') {
        // `Uri` would drop it in silence.
        return Err(Error::invalid(format!(
            "{what} has a fragment: take out `#` and what follows"
        )));
    }
    url.parse().map_err(|error| {
        Error::with_source(
            ErrorKind::InvalidInput,
            format!("{what} cannot be read: write https://host/path, without spaces"),
            error,
        )
    })
}

/// What every token endpoint's URL has: `http` or `https` and a host, and no user.
pub(super) fn complete(what: &str, uri: Uri) -> Result<Uri, Error> {
    let scheme = uri.scheme().ok_or_else(|| no_scheme(what))?;
    if *scheme != Scheme::HTTPS && *scheme != Scheme::HTTP {
        return Err(Error::invalid(format!("{what} has the scheme `{scheme}`: write https://…")));
    }
    let authority = uri.authority().map(|authority| authority.as_str());
    if authority.is_some_and(|authority| authority.contains('@')) {
        return Err(Error::invalid(format!(
            "{what} has a user name or a password in it: take it out, and \
             authenticate with `OAuth2Client` or a header"
        )));
    }
    if uri.authority().is_some_and(|authority| !has_valid_port(authority)) {
        return Err(Error::invalid(format!(
            "{what} has an invalid port: write a number up to 65535"
        )));
    }
    if uri.host().unwrap_or_default().is_empty() {
        return Err(Error::invalid(format!("{what} has no host: write https://host/path")));
    }
    Ok(uri)
}

fn no_scheme(what: &str) -> Error {
    Error::invalid(format!("{what} has no scheme: write https://…"))
}

/// A URL that secrets may be sent to: over https, or to this machine.
pub(in crate::endpoint) fn encrypted(what: &str, uri: Uri) -> Result<Uri, Error> {
    let uri = complete(what, uri)?;
    let host = uri.host().unwrap_or_default();
    if uri.scheme() == Some(&Scheme::HTTPS) || is_loopback(host) {
        return Ok(uri);
    }
    Err(Error::new(
        ErrorKind::Plaintext,
        format!(
            "{what} would send secrets unencrypted to {host}: write https://…, or use \
             `EndpointUrl::allow_plaintext` if the network is safe"
        ),
    ))
}
