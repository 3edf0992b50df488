//! What an authorization server says of itself. Everything here is a pure function of bytes from
//! outside: it may fail, and never panics.

use http::{StatusCode, Uri};
use serde_json::{Map, Value};

use crate::endpoint::{
    EndpointError, FailureClass, Spent,
    answer::Answer,
    secrets::Secrets,
    url::check::{encrypted, parse},
    verdict::{self, Asked, Protocol},
};
use crate::origin::plaintext::is_loopback;

const OIDC: &str = "/.well-known/openid-configuration";
const OAUTH2: &str = "/.well-known/oauth-authorization-server";

/// An endpoint, and whether the client proves itself by the certificate of its TLS connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::endpoint) enum Wanted {
    Token { by_tls: bool },
    Revocation { by_tls: bool },
}

/// The members that count here, each checked as the URL of a token endpoint is.
#[derive(Debug)]
pub(super) struct Metadata {
    token: Option<Uri>,
    revocation: Option<Uri>,
    token_by_tls: Option<Uri>,
    revocation_by_tls: Option<Uri>,
}

impl Metadata {
    /// The document in `answer`, which came from `place`.
    pub(super) fn read(
        issuer: &str,
        place: &Uri,
        answer: &Answer,
        has_worked: bool,
    ) -> Result<Self, EndpointError> {
        // None is there: said by what the server did before, and asked again as soon.
        let absent = |class, is_presumed, what: &str| {
            let message = format!("{place} answered {}{what}", answer.status.as_u16());
            let error = EndpointError::new(class, message).presumed(is_presumed);
            error.with_spent(Spent::No).with_status(answer.status)
        };
        if answer.status != StatusCode::OK {
            let asked = Asked { protocol: Protocol::OAuth2, for_a_person: false, has_worked };
            let verdict = verdict::verdict(&answer.refusal(|_| None), asked);
            return Err(absent(verdict.class, verdict.is_presumed, ""));
        }
        let Some(document) = answer.object() else {
            let class = match has_worked {
                true => FailureClass::Transient,
                false => FailureClass::Misconfigured,
            };
            return Err(absent(class, true, " without a JSON object"));
        };
        // Byte for byte (RFC 8414 §3.3): else one issuer could speak for another.
        let theirs = document.get("issuer").and_then(Value::as_str).unwrap_or_default();
        if theirs != issuer {
            return Err(EndpointError::misconfigured(format!(
                "the metadata at {place} are those of the issuer `{}`, and not of `{issuer}`: give \
                 the issuer as the server writes it, to the last slash",
                Secrets::default().quote(theirs),
            )));
        }
        let read = |object: &Map<String, Value>, name| endpoint(object, name, issuer);
        let none = Map::new();
        let aliases = document.get("mtls_endpoint_aliases").and_then(Value::as_object);
        let aliases = aliases.unwrap_or(&none);
        Ok(Self {
            token: read(document, "token_endpoint")?,
            revocation: read(document, "revocation_endpoint")?,
            token_by_tls: read(aliases, "token_endpoint")?,
            revocation_by_tls: read(aliases, "revocation_endpoint")?,
        })
    }

    pub(super) fn endpoint(&self, wanted: Wanted, issuer: &str) -> Result<Uri, EndpointError> {
        let (name, usual, alias) = match wanted {
            Wanted::Token { by_tls } => {
                ("token_endpoint", &self.token, self.token_by_tls.as_ref().filter(|_| by_tls))
            }
            Wanted::Revocation { by_tls } => (
                "revocation_endpoint",
                &self.revocation,
                self.revocation_by_tls.as_ref().filter(|_| by_tls),
            ),
        };
        alias.or(usual.as_ref()).cloned().ok_or_else(|| {
            EndpointError::misconfigured(format!("the metadata of {issuer} name no `{name}`"))
        })
    }

    /// Says in the log which endpoints are on another host than `before`.
    pub(super) fn tell_moves(&self, before: &Self, issuer: &str) {
        let pairs = [
            ("token_endpoint", &before.token, &self.token),
            ("revocation_endpoint", &before.revocation, &self.revocation),
            ("token_endpoint", &before.token_by_tls, &self.token_by_tls),
            ("revocation_endpoint", &before.revocation_by_tls, &self.revocation_by_tls),
        ];
        for (endpoint, from, to) in pairs {
            let (Some(from), Some(to)) = (from, to) else { continue };
            if from.authority() != to.authority() {
                #[cfg(feature = "tracing")]
                tracing::warn!(
                    issuer,
                    endpoint,
                    from = from.host().unwrap_or_default(),
                    to = to.host().unwrap_or_default(),
                    "an endpoint has moved to another host"
                );
                let _ = (issuer, endpoint);
            }
        }
    }
}

/// The URL in a member, if there is one.
fn endpoint(
    object: &Map<String, Value>,
    name: &str,
    issuer: &str,
) -> Result<Option<Uri>, EndpointError> {
    let Some(url) = object.get(name).filter(|url| !url.is_null()) else { return Ok(None) };
    let unfit = || {
        EndpointError::misconfigured(format!(
            "the metadata of {issuer} have a `{name}` that secrets may not be sent to"
        ))
    };
    let url = url.as_str().ok_or_else(unfit)?;
    let uri = parse("it", url).and_then(|uri| encrypted("it", uri));
    let uri = uri.map_err(|error| unfit().with_source(error))?;
    // A server elsewhere has no say in what listens on this machine.
    let of_here = |uri: &Uri| uri.host().is_some_and(is_loopback);
    let is_fit = !of_here(&uri) || issuer.parse().is_ok_and(|issuer: Uri| of_here(&issuer));
    is_fit.then_some(Some(uri)).ok_or_else(unfit)
}

/// Where an issuer may have its metadata: OpenID Connect's place first, which Google, Entra and
/// Keycloak have alone, and then RFC 8414's, between the host and the path.
pub(super) fn places(issuer: &Uri) -> [Uri; 2] {
    let path = issuer.path().trim_end_matches('/');
    [format!("{path}{OIDC}"), format!("{OAUTH2}{path}")].map(|path| {
        let mut parts = issuer.clone().into_parts();
        parts.path_and_query = path.parse().ok();
        Uri::from_parts(parts).expect("a scheme, a host and a path")
    })
}

/// Whether a URL is that of metadata, and not of an issuer.
pub(in crate::endpoint) fn is_a_place(url: &str) -> bool {
    url.contains(OIDC) || url.contains(OAUTH2)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://auth.example.com/realms/acme";

    fn read(issuer: &str, document: &Value) -> Result<Metadata, EndpointError> {
        let answer = Answer::of((200, &[], document.to_string().as_bytes()), false, &|_| false);
        Metadata::read(issuer, &"https://auth.example.com/x".parse().unwrap(), &answer, false)
    }

    #[test]
    fn an_issuer_has_its_metadata_in_one_of_two_places() {
        for (issuer, oidc, oauth2) in [
            (ISSUER, "/realms/acme/.well-known/openid-configuration", "/realms/acme"),
            ("https://auth.example.com", "/.well-known/openid-configuration", ""),
            ("https://auth.example.com/", "/.well-known/openid-configuration", ""),
        ] {
            let places = places(&issuer.parse().unwrap()).map(|place| place.to_string());
            let host = "https://auth.example.com";
            let oauth2 = format!("{host}/.well-known/oauth-authorization-server{oauth2}");
            assert_eq!(places, [format!("{host}{oidc}"), oauth2], "{issuer}");
        }
    }

    // S126: an issuer's metadata are fetched without a secret, and used only if they are the
    // issuer's own and safe
    #[test]
    fn metadata_of_another_issuer_are_refused_to_the_last_byte() {
        for theirs in [
            json!("https://auth.example.com/realms/acme/"),
            json!("https://AUTH.example.com/realms/acme"),
            json!("https://auth.example.com/realms/{tenant}"),
            json!(null),
            json!(7),
            json!([ISSUER]),
        ] {
            let document = json!({"issuer": theirs, "token_endpoint": "https://a.example/"});
            let error = read(ISSUER, &document).expect_err("another's");
            assert_eq!((error.class(), error.spent()), (FailureClass::Misconfigured, Spent::No));
            assert!(error.to_string().contains(ISSUER), "{error}");
        }
        let error = read(ISSUER, &json!({"issuer": "https://other.example"})).unwrap_err();
        assert!(error.to_string().contains("https://other.example"), "{error}");
    }

    // S126: an issuer's metadata are fetched without a secret, and used only if they are the
    // issuer's own and safe
    #[test]
    fn endpoints_are_checked_as_the_url_of_a_token_endpoint_is() {
        let names = ["token_endpoint", "revocation_endpoint"];
        for url in [
            json!("http://auth.example.com/token"),
            json!("ftp://auth.example.com/token"),
            json!("https://me:s3cret@auth.example.com/token"),
            json!("https://auth.example.com/#/token"),
            json!("/token"),
            json!(""),
            json!(7),
            // What listens here is not an issuer's elsewhere to name.
            json!("http://127.0.0.1:8080/token"),
            json!("https://localhost/token"),
            json!("http://[::1]/token"),
        ] {
            for name in names {
                for document in [
                    json!({"issuer": ISSUER, name: url}),
                    json!({"issuer": ISSUER, "mtls_endpoint_aliases": {name: url}}),
                ] {
                    let error = read(ISSUER, &document).expect_err("no fit endpoint");
                    assert_eq!(error.class(), FailureClass::Misconfigured);
                    assert!(error.to_string().contains(name), "{error}");
                    assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
                }
            }
        }
        let here = "http://127.0.0.1:8080";
        let document = json!({"issuer": here, "token_endpoint": "http://127.0.0.1:8081/token"});
        assert!(read(here, &document).is_ok());
    }

    // S126: an issuer's metadata are fetched without a secret, and used only if they are the
    // issuer's own and safe
    #[test]
    fn each_endpoint_is_found_and_its_alias_by_clients_with_a_certificate_alone() {
        let metadata = read(
            ISSUER,
            &json!({
                "issuer": ISSUER,
                "token_endpoint": "https://a.example/token",
                "revocation_endpoint": "https://a.example/revoke",
                "mtls_endpoint_aliases": {"token_endpoint": "https://mtls.example/token"},
            }),
        );
        let metadata = metadata.unwrap();
        for (wanted, expected) in [
            (Wanted::Token { by_tls: false }, "https://a.example/token"),
            (Wanted::Token { by_tls: true }, "https://mtls.example/token"),
            (Wanted::Revocation { by_tls: false }, "https://a.example/revoke"),
            // It has no alias.
            (Wanted::Revocation { by_tls: true }, "https://a.example/revoke"),
        ] {
            assert_eq!(metadata.endpoint(wanted, ISSUER).unwrap(), expected, "{wanted:?}");
        }
        let none = read(ISSUER, &json!({"issuer": ISSUER})).unwrap();
        let error = none.endpoint(Wanted::Token { by_tls: true }, ISSUER).unwrap_err();
        assert_eq!(error.class(), FailureClass::Misconfigured);
        assert!(error.to_string().contains("no `token_endpoint`"), "{error}");
    }
}
