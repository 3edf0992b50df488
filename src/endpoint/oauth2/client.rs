use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::{
    endpoint::secrets::Secrets,
    token::{Secret, Wiped},
};

/// An OAuth 2.0 client: its id, and how it proves to be the one (RFC 6749 §2.3).
///
/// `Debug` never prints the secret, and its memory is wiped when the last clone goes.
#[derive(Clone, Debug)]
pub struct OAuth2Client {
    id: String,
    authentication: Authentication,
}

/// Named as in the IANA registry of token endpoint authentication methods.
#[derive(Clone, Debug)]
enum Authentication {
    ClientSecretBasic(Secret),
    ClientSecretPost(Secret),
    None,
}

impl OAuth2Client {
    /// A client that sends its id and secret in the `Authorization` header
    /// (`client_secret_basic`): what every server has to understand.
    ///
    /// Pass both as they were issued. They are form-urlencoded first, as RFC 6749 §2.3.1 asks
    /// for, so that they may hold any character.
    pub fn basic(id: impl Into<String>, secret: impl Into<String>) -> Self {
        let secret = Secret::new(secret.into());
        Self::new(id, Authentication::ClientSecretBasic(secret))
    }

    /// A client that sends its id and secret as parameters (`client_secret_post`): for servers
    /// that do not take [`basic`](Self::basic).
    pub fn post(id: impl Into<String>, secret: impl Into<String>) -> Self {
        let secret = Secret::new(secret.into());
        Self::new(id, Authentication::ClientSecretPost(secret))
    }

    /// A client that has no secret to prove itself with (`none`), such as a desktop program: it
    /// sends its id as a parameter.
    pub fn public(id: impl Into<String>) -> Self {
        Self::new(id, Authentication::None)
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The `Authorization` header's value, marked sensitive.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let Authentication::ClientSecretBasic(secret) = &self.authentication else {
            return None;
        };
        let credentials = credentials(&self.id, secret);
        let value = Zeroizing::new(["Basic ", &*credentials].concat().into_bytes());
        let value = HeaderValue::from_maybe_shared(Bytes::from_owner(Wiped(value)));
        let mut value = value.expect("base64 is visible ASCII");
        value.set_sensitive(true);
        Some(value)
    }

    /// What stands in the body.
    pub(super) fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        let (id, secret) = match &self.authentication {
            Authentication::ClientSecretBasic(_) => (None, None),
            Authentication::ClientSecretPost(secret) => (Some(&self.id), Some(secret)),
            Authentication::None => (Some(&self.id), None),
        };
        let id = id.map(|id| ("client_id", &**id));
        let secret = secret.map(|secret| ("client_secret", secret.expose()));
        id.into_iter().chain(secret)
    }

    /// What may not be seen in a message.
    pub(super) fn hide(&self, secrets: &mut Secrets) {
        match &self.authentication {
            Authentication::ClientSecretBasic(secret) => {
                secrets.add(secret.expose());
                secrets.add(&credentials(&self.id, secret));
            }
            Authentication::ClientSecretPost(secret) => secrets.add(secret.expose()),
            Authentication::None => {}
        }
    }

    fn new(id: impl Into<String>, authentication: Authentication) -> Self {
        let id = id.into();
        Self { id, authentication }
    }
}

/// `base64(urlencode(id) ":" urlencode(secret))`. A colon in the id would shift the border
/// without the encoding.
fn credentials(id: &str, secret: &Secret) -> Zeroizing<String> {
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

    fn plain(client: &OAuth2Client) -> String {
        let value = client.authorization().expect("a header");
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
            assert_eq!(plain(&OAuth2Client::basic(id, secret)), expected);
        }
    }

    #[test]
    fn each_way_sends_what_it_is_named_for_and_no_more() {
        let params = |client: &OAuth2Client| {
            let owned = |(name, value): (&str, &str)| format!("{name}={value}");
            client.params().map(owned).collect::<Vec<_>>().join("&")
        };
        assert_eq!(params(&OAuth2Client::basic("id", "s")), "");
        let post = OAuth2Client::post("id", "s");
        assert_eq!(params(&post), "client_id=id&client_secret=s");
        assert!(post.authorization().is_none());
        let public = OAuth2Client::public("id");
        assert_eq!(params(&public), "client_id=id");
        assert!(public.authorization().is_none());
    }

    #[test]
    fn debug_shows_the_id_and_no_secret() {
        for client in [OAuth2Client::basic("me", "hunter2"), OAuth2Client::post("me", "hunter2")] {
            let debug = format!("{client:?}");
            assert!(debug.contains("me") && !debug.contains("hunter2"), "{debug}");
        }
    }
}
