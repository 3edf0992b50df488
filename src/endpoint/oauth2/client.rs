use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::{
    endpoint::{credential::Credential, secrets::Secrets},
    token::{Secret, wiped_value},
};

/// An OAuth 2.0 client: its id, and how it proves to be the one (RFC 6749 §2.3).
///
/// A secret is text, or a [`Credential`] that is read anew for each call. `Debug` never prints it,
/// and its memory is wiped when the last clone goes.
#[derive(Clone, Debug)]
pub struct OAuth2Client {
    id: String,
    authentication: Authentication,
}

/// Named as in the IANA registry of token endpoint authentication methods, where they are in it.
#[derive(Clone, Debug)]
enum Authentication {
    ClientSecretBasic(Credential),
    /// Not in the registry: the same, without the encoding that the RFC asks for.
    UnencodedBasic(Credential),
    ClientSecretPost(Credential),
    PrivateKeyJwt(Credential),
    TlsClientAuth,
    None,
    /// Not in the registry: no word of a client.
    Anonymous,
}

impl OAuth2Client {
    /// A client that sends its id and secret in the `Authorization` header
    /// (`client_secret_basic`): what every server has to understand.
    ///
    /// Pass both as they were issued. They are form-urlencoded first, as RFC 6749 §2.3.1 asks
    /// for, so that they may hold any character. Some servers do not decode them: a secret with a
    /// `+`, a `/` or a `=` in it is then refused, and [`basic_raw`](Self::basic_raw) is the way out.
    pub fn basic(id: impl Into<String>, secret: impl Into<Credential>) -> Self {
        Self::new(id, Authentication::ClientSecretBasic(secret.into()))
    }

    /// [`basic`](Self::basic) without the encoding, for servers that take id and secret literally.
    pub fn basic_raw(id: impl Into<String>, secret: impl Into<Credential>) -> Self {
        Self::new(id, Authentication::UnencodedBasic(secret.into()))
    }

    /// A client that sends its id and secret as parameters (`client_secret_post`): for servers
    /// that do not take [`basic`](Self::basic).
    pub fn post(id: impl Into<String>, secret: impl Into<Credential>) -> Self {
        Self::new(id, Authentication::ClientSecretPost(secret.into()))
    }

    /// A client that proves itself with a JWT that was signed elsewhere, as `client_assertion`
    /// (RFC 7523 §2.2): a federated token that the platform keeps in a file, or one that a closure
    /// has signed.
    ///
    /// ```
    /// use tower_refresh::endpoint::{Credential, OAuth2Client};
    ///
    /// // A pod on Azure: the file is replaced every hour or so.
    /// let token = Credential::file("/var/run/secrets/azure/tokens/azure-identity-token");
    /// let client = OAuth2Client::assertion("11111111-2222-3333-4444-555555555555", token);
    /// ```
    pub fn assertion(id: impl Into<String>, assertion: impl Into<Credential>) -> Self {
        Self::new(id, Authentication::PrivateKeyJwt(assertion.into()))
    }

    /// A client that proves itself with the certificate of its TLS connection (`tls_client_auth`,
    /// RFC 8705): its id is sent as a parameter, and the certificate is the
    /// [transport](super::OAuth2Endpoint::transport)'s. A
    /// [discovered](super::super::EndpointUrl::discover) endpoint is called at its alias for such
    /// clients (`mtls_endpoint_aliases`), if the server has one.
    pub fn tls(id: impl Into<String>) -> Self {
        Self::new(id, Authentication::TlsClientAuth)
    }

    /// A client that has no secret to prove itself with (`none`), such as a desktop program: it
    /// sends its id as a parameter.
    ///
    /// Where the endpoint has an `Authorization` [header](super::OAuth2Endpoint::header) of yours,
    /// that is the way of authentication, and the id is not sent beside it. A server that wants both
    /// gets the id by `param("client_id", …)`.
    pub fn public(id: impl Into<String>) -> Self {
        Self::new(id, Authentication::None)
    }

    /// No client at all: nothing is sent, not even an id. For servers that know the client by what
    /// it asks with, as Google does with the assertion of a service account.
    pub fn anonymous() -> Self {
        Self::new("", Authentication::Anonymous)
    }

    /// Whether its certificate proves who it is.
    pub(in crate::endpoint) fn is_by_tls(&self) -> bool {
        matches!(self.authentication, Authentication::TlsClientAuth)
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// What has to be read before a call.
    pub(super) fn credential(&self) -> Option<&Credential> {
        match &self.authentication {
            Authentication::ClientSecretBasic(secret)
            | Authentication::UnencodedBasic(secret)
            | Authentication::ClientSecretPost(secret)
            | Authentication::PrivateKeyJwt(secret) => Some(secret),
            Authentication::TlsClientAuth | Authentication::None | Authentication::Anonymous => {
                None
            }
        }
    }

    /// The `Authorization` header's value, marked sensitive, given what was read.
    pub(super) fn authorization(&self, secret: Option<&Secret>) -> Option<HeaderValue> {
        let credentials = self.credentials(secret?)?;
        Some(wiped_value(["Basic ", &*credentials].concat().into_bytes()))
    }

    /// What stands in the body, given what was read, and whether the request has another way of
    /// authentication already.
    pub(super) fn params<'a>(
        &'a self,
        secret: Option<&'a Secret>,
        is_authorized: bool,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let id = match self.authentication {
            Authentication::ClientSecretBasic(_)
            | Authentication::UnencodedBasic(_)
            | Authentication::Anonymous => None,
            Authentication::None if is_authorized => None,
            _ => Some(("client_id", &*self.id)),
        };
        let (kind, name) = match self.authentication {
            Authentication::ClientSecretPost(_) => (None, Some("client_secret")),
            Authentication::PrivateKeyJwt(_) => {
                (Some(("client_assertion_type", JWT_BEARER)), Some("client_assertion"))
            }
            _ => (None, None),
        };
        let secret = name.zip(secret.map(Secret::expose));
        id.into_iter().chain(kind).chain(secret)
    }

    /// What may not be seen in a message.
    pub(super) fn hide(&self, secret: Option<&Secret>, secrets: &mut Secrets) {
        if let Some(secret) = secret {
            secrets.add(secret.expose());
            if let Some(credentials) = self.credentials(secret) {
                secrets.add(&credentials);
            }
        }
    }

    fn credentials(&self, secret: &Secret) -> Option<Zeroizing<String>> {
        match self.authentication {
            Authentication::ClientSecretBasic(_) => Some(encoded(&self.id, secret)),
            Authentication::UnencodedBasic(_) => {
                let plain = Zeroizing::new([&*self.id, ":", secret.expose()].concat());
                Some(Zeroizing::new(STANDARD.encode(&*plain)))
            }
            _ => None,
        }
    }

    fn new(id: impl Into<String>, authentication: Authentication) -> Self {
        let id = id.into();
        Self { id, authentication }
    }
}

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// `base64(urlencode(id) ":" urlencode(secret))`. A colon in the id would shift the border
/// without the encoding.
fn encoded(id: &str, secret: &Secret) -> Zeroizing<String> {
    // Room enough that no growing string leaves a copy behind.
    let room = 3 * (id.len() + secret.expose().len()) + 1;
    let mut plain = Zeroizing::new(String::with_capacity(room));
    plain.extend(form_urlencoded::byte_serialize(id.as_bytes()));
    plain.push(':');
    plain.extend(form_urlencoded::byte_serialize(secret.expose().as_bytes()));
    Zeroizing::new(STANDARD.encode(&*plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(client: &OAuth2Client, secret: &str) -> String {
        let secret = Secret::new(secret.to_owned());
        let value = client.authorization(Some(&secret)).expect("a header");
        assert!(value.is_sensitive());
        let encoded = value.to_str().unwrap().strip_prefix("Basic ").unwrap();
        String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
    }

    #[test]
    fn basic_credentials_are_form_urlencoded_first() {
        for (id, secret, expected) in [
            ("s6BhdRkqt3", "7Fjfp0ZBr1KtDRbnfVdmIw", "s6BhdRkqt3:7Fjfp0ZBr1KtDRbnfVdmIw"),
            ("a:b", "c:d", "a%3Ab:c%3Ad"),
            ("my app", "p+ss w%rd/=&?", "my+app:p%2Bss+w%25rd%2F%3D%26%3F"),
            ("ü", "£", "%C3%BC:%C2%A3"),
            ("", "", ":"),
        ] {
            assert_eq!(plain(&OAuth2Client::basic(id, secret), secret), expected);
        }
    }

    // S120: each client authenticates by what it is named for and by nothing else
    #[test]
    fn raw_basic_credentials_are_sent_as_they_are() {
        for (id, secret) in [("svc:odd+id", "a+b/c=%"), ("my app", "p+ss w%rd"), ("ü", "£")] {
            let client = OAuth2Client::basic_raw(id, secret);
            assert_eq!(plain(&client, secret), format!("{id}:{secret}"));
        }
    }

    // S120: each client authenticates by what it is named for and by nothing else
    #[test]
    fn each_way_sends_what_it_is_named_for_and_no_more() {
        let secret = Secret::new("s".to_owned());
        let id = "client_id=id";
        let assertion = "client_id=id&client_assertion_type=\
             urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion=s";
        for (client, has_header, params, beside_a_header) in [
            (OAuth2Client::basic("id", "s"), true, "", ""),
            (OAuth2Client::basic_raw("id", "s"), true, "", ""),
            (OAuth2Client::public("id"), false, id, ""),
            (OAuth2Client::tls("id"), false, id, id),
            (OAuth2Client::anonymous(), false, "", ""),
            (OAuth2Client::assertion("id", "s"), false, assertion, assertion),
        ] {
            let secret = client.credential().map(|_| &secret);
            assert_eq!(client.authorization(secret).is_some(), has_header, "{client:?}");
            for (is_authorized, expected) in [(false, params), (true, beside_a_header)] {
                let sent = client.params(secret, is_authorized);
                let sent: Vec<_> = sent.map(|(name, value)| format!("{name}={value}")).collect();
                assert_eq!(sent.join("&"), expected, "{client:?}");
            }
        }
    }

    #[test]
    fn debug_shows_the_id_and_no_secret() {
        let (id, secret) = ("me", "hunter2");
        for client in [
            OAuth2Client::basic(id, secret),
            OAuth2Client::basic_raw(id, secret),
            OAuth2Client::post(id, secret),
            OAuth2Client::assertion(id, secret),
        ] {
            let debug = format!("{client:?}");
            assert!(debug.contains("me") && !debug.contains("hunter2"), "{debug}");
        }
    }
}
