pub(super) mod check;

use std::{fmt, sync::Arc};

use http::Uri;

use self::check::{ISSUER, TOKEN_ENDPOINT, complete, encrypted, parse};
use super::discovery::{Issuer, is_a_place};
use crate::{error::Error, token::IssuedFor};

/// The URL of a token endpoint, checked once: refresh tokens and client secrets are safe to send
/// there.
///
/// It is an `https` URL, or an `http` one whose host is `localhost`, in 127/8 or `[::1]` (nothing
/// is resolved). A `&str`, a `String` and a [`Uri`] convert into it, so the endpoints take any of
/// them.
#[derive(Clone)]
pub struct EndpointUrl(Place);

#[derive(Clone)]
pub(super) enum Place {
    Known(Uri),
    /// As the issuer's metadata say.
    Of(Arc<Issuer>),
}

impl EndpointUrl {
    /// Checks a URL.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if it is no absolute URL with a host, has
    /// another scheme, a port that is none, a user name or a password, or a fragment (RFC 6749
    /// §3.2); [`Plaintext`](crate::ErrorKind::Plaintext) if it is plain `http` to a host that is
    /// not loopback.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let uri = parse(TOKEN_ENDPOINT, url)?;
        encrypted(TOKEN_ENDPOINT, uri).map(Place::Known).map(Self)
    }

    /// Checks a URL that may be plain `http` to any host.
    ///
    /// Any machine on the way reads the refresh token and the client secret, and may keep the
    /// tokens that come back. It is meant for networks that encrypt by other means.
    ///
    /// # Errors
    ///
    /// Those of [`EndpointUrl::parse`] but for [`Plaintext`](crate::ErrorKind::Plaintext).
    pub fn allow_plaintext(url: &str) -> Result<Self, Error> {
        let uri = parse(TOKEN_ENDPOINT, url)?;
        complete(TOKEN_ENDPOINT, uri).map(Place::Known).map(Self)
    }

    /// The endpoints that an authorization server names itself, in its metadata (OpenID Connect
    /// Discovery, RFC 8414): its token endpoint for an [`OAuth2Endpoint`](super::OAuth2Endpoint),
    /// its revocation endpoint for an [`OAuth2Revocation`](super::OAuth2Revocation).
    ///
    /// ```
    /// use tower_refresh::endpoint::{EndpointUrl, OAuth2Client, OAuth2Endpoint, OAuth2Revocation};
    ///
    /// let issuer = EndpointUrl::discover("https://auth.example.com/realms/acme")?;
    /// let client = OAuth2Client::public("my-desktop-app");
    /// let endpoint = OAuth2Endpoint::refresh_token(issuer.clone(), client.clone())?;
    /// let revocation = OAuth2Revocation::new(issuer, client)?;
    /// # Ok::<(), tower_refresh::Error>(())
    /// ```
    ///
    /// `issuer` is written as the server writes it, to the last slash: metadata of another one are
    /// refused. Nothing is fetched here. The first call does it, through the transport of its
    /// endpoint, and all clones of this value share what came of it; so keep one per issuer. They
    /// are read again, once a minute at most, after an endpoint was not where they say: a 404, 405
    /// or 410, a redirect, no connection. Where that fails, what was known stays in use.
    ///
    /// The request for them is a GET without any secret and without the endpoint's own headers. No
    /// redirect is followed, 64 KiB are read, and each endpoint is checked as
    /// [`parse`](Self::parse) does.
    ///
    /// Never take an issuer from a tenant's or a user's input unless it is on a list of your own:
    /// it decides which hosts this program calls, and who gets the client's secret.
    ///
    /// # Errors
    ///
    /// Those of [`EndpointUrl::parse`], and [`InvalidInput`](crate::ErrorKind::InvalidInput)
    /// for a query or the URL of the metadata themselves. What is wrong with the metadata is the
    /// error of a call, which has sent nothing then.
    pub fn discover(issuer: impl Into<String>) -> Result<Self, Error> {
        let issuer = issuer.into();
        let uri = encrypted(ISSUER, parse(ISSUER, &issuer)?)?;
        if uri.query().is_some() {
            return Err(Error::invalid("the issuer's URL has a query: issuers have none"));
        }
        if is_a_place(&issuer) {
            return Err(Error::invalid(
                "the issuer's URL is that of its metadata: leave out what begins with /.well-known",
            ));
        }
        Ok(Self(Place::Of(Arc::new(Issuer::new(issuer, uri)))))
    }

    /// The issuer, or what stands for it where that is not known.
    pub(super) fn issued_for(&self) -> IssuedFor {
        match &self.0 {
            Place::Known(uri) => IssuedFor::new(uri.to_string()),
            Place::Of(issuer) => IssuedFor::new(issuer.as_str()),
        }
    }

    pub(super) fn place(&self) -> &Place {
        &self.0
    }

    /// Its host and port, or those of the issuer that names it.
    pub(super) fn host(&self) -> Option<String> {
        let authority = match &self.0 {
            Place::Known(uri) => uri.authority().cloned(),
            Place::Of(issuer) => issuer.as_str().parse::<Uri>().ok()?.into_parts().authority,
        };
        // There is no user in it: that was checked when it was parsed.
        authority.map(|authority| authority.to_string())
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
        encrypted(TOKEN_ENDPOINT, uri).map(Place::Known).map(Self)
    }
}

impl PartialEq for EndpointUrl {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Place::Known(uri), Place::Known(other)) => uri == other,
            (Place::Of(issuer), Place::Of(other)) => issuer.as_str() == other.as_str(),
            _ => false,
        }
    }
}

impl Eq for EndpointUrl {}

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uri = match &self.0 {
            Place::Known(uri) => uri,
            Place::Of(issuer) => return write!(f, "EndpointUrl(of {})", issuer.as_str()),
        };
        let none = "";
        let scheme = uri.scheme_str().unwrap_or(none);
        let authority = uri.authority().map_or(none, |authority| authority.as_str());
        // Some servers want an API key in the query.
        let query = uri.query().map_or(none, |_| "?[redacted]");
        write!(f, "EndpointUrl({scheme}://{authority}{}{query})", uri.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

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

    // S7: a token travels over https or to this machine only, unless plaintext is allowed
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
    fn an_issuer_is_checked_as_a_url_is_and_has_no_query() {
        for issuer in ["https://auth.example.com", "https://a.example/x/", "http://localhost:80"] {
            let url = EndpointUrl::discover(issuer).expect(issuer);
            assert_eq!(format!("{url:?}"), format!("EndpointUrl(of {issuer})"));
            assert!(url == url.clone() && url != EndpointUrl::parse(issuer).unwrap());
        }
        for (issuer, kind, what) in [
            ("http://auth.example.com", ErrorKind::Plaintext, "the issuer's URL would send"),
            ("auth.example.com", ErrorKind::InvalidInput, "the issuer's URL has no scheme"),
            ("https://a.example/?x=s3cret", ErrorKind::InvalidInput, "has a query"),
            ("https://me:s3cret@a.example/", ErrorKind::InvalidInput, "a user name"),
            (
                "https://a.example/.well-known/openid-configuration",
                ErrorKind::InvalidInput,
                "leave",
            ),
            (
                "https://a.example/.well-known/oauth-authorization-server/x",
                ErrorKind::InvalidInput,
                "leave out",
            ),
        ] {
            let error = EndpointUrl::discover(issuer).expect_err(issuer);
            assert_eq!(error.kind(), kind, "{issuer}");
            assert!(error.to_string().contains(what), "{issuer}: {error}");
            assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        }
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
