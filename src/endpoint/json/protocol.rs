use std::borrow::Cow;

use serde_json::Value;

use crate::endpoint::{
    EndpointError, FailureClass, TokenResponse, answer::Answer, fields::Fields, secrets::Secrets,
};
use crate::token::RefreshToken;

/// How the fields are called, and what the answers mean.
#[derive(Clone, Debug)]
pub(super) struct Protocol {
    /// `None`: as in the answer.
    pub(super) request_field: Option<Cow<'static, str>>,
    pub(super) error_field: Cow<'static, str>,
    pub(super) fields: Fields,
}

impl Protocol {
    pub(super) const FREDDY: Self = Self {
        request_field: None,
        error_field: Cow::Borrowed("detail"),
        fields: Fields { access_token: Cow::Borrowed("token"), ..Fields::OAUTH2 },
    };

    pub(super) fn request_field(&self) -> &str {
        let name = self.request_field.as_ref();
        name.unwrap_or(&self.fields.refresh_token)
    }

    /// A pure function of what came back.
    pub(super) fn read(
        &self,
        answer: &Answer,
        sent: Option<&RefreshToken>,
        mut secrets: Secrets,
    ) -> Result<TokenResponse, EndpointError> {
        let object = answer.object(&secrets);
        if let Ok(object) = &object {
            self.fields.hide(object, &mut secrets);
        }
        if answer.status.is_success() {
            let mut object = object?;
            // Only a failure speaks there: in a good answer it is a field like any other.
            let said = match object.contains_key(&*self.fields.access_token) {
                true => None,
                false => object.remove(&*self.error_field),
            };
            return self.fields.read(answer, object, sent, said.as_ref(), &secrets);
        }
        let object = object.unwrap_or_default();
        let said = object.get(&*self.error_field);
        let error = match (answer.status.as_u16(), said) {
            // A firewall's 403 and a proxy's 401 are no word on the refresh token, and neither
            // is a list: that is FastAPI's account of a request that it could not read.
            (400 | 401 | 403, Some(Value::String(_) | Value::Object(_))) if sent.is_some() => {
                let what = ": a user has to log in again";
                answer.error(FailureClass::InvalidGrant, what, said, &secrets)
            }
            _ => answer.failure(said, &secrets),
        };
        // `{"detail": {"code": "token_expired", "message": "…"}}`
        Err(match said.and_then(|said| said.get("code")?.as_str()) {
            Some(code) => error.with_code(secrets.quote(code)),
            None => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::endpoint::{
        FailureClass::{InvalidGrant, Misconfigured, Transient},
        Spent::{self, Maybe, No, Yes},
    };

    fn read(status: u16, body: &str) -> Result<TokenResponse, EndpointError> {
        let mut secrets = Secrets::default();
        secrets.add("s3cret");
        let sent = RefreshToken::new("s3cret").unwrap();
        Protocol::FREDDY.read(&Answer::of(status, &[], body), Some(&sent), secrets)
    }

    #[test]
    fn freddys_answer_with_and_without_rotation() {
        let tokens = read(200, r#"{"token":"a","device_id":"device-123","new":[1]}"#).unwrap();
        assert_eq!(tokens.access_token().expose(), "a");
        assert!(tokens.refresh_token().is_none());
        assert_eq!(tokens.expires_in(), None);
        assert_eq!(
            Value::Object(tokens.extra().clone()),
            json!({"device_id": "device-123", "new": [1]})
        );

        let tokens = read(200, r#"{"token":"a","refresh_token":"r","expires_in":60}"#).unwrap();
        assert_eq!(tokens.refresh_token().unwrap().expose(), "r");
        assert_eq!(tokens.expires_in(), Some(Duration::from_secs(60)));
        assert!(tokens.extra().is_empty());

        for kept in [r#""""#, "null"] {
            let body = format!(r#"{{"token":"a","refresh_token":{kept},"detail":"fine"}}"#);
            let tokens = read(200, &body).unwrap();
            assert!(tokens.refresh_token().is_none());
            assert_eq!(tokens.extra()["detail"], "fine");
        }
    }

    // S38: whatever a token endpoint answers instead of tokens is an error, in time and within the
    // size cap
    #[test]
    fn failures_are_told_apart() {
        let detail = r#"{"detail":"Refresh token has expired"}"#;
        let list = r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#;
        let html = "<html>Forbidden</html>";
        let table: &[(u16, &str, _, Spent)] = &[
            (400, detail, InvalidGrant, No),
            (401, detail, InvalidGrant, No),
            (403, detail, InvalidGrant, No),
            (401, r#"{"detail":{"code":"expired"}}"#, InvalidGrant, No),
            // What does not come from the API itself logs nobody out.
            (401, "", Misconfigured, No),
            (403, html, Misconfigured, No),
            (403, r#"{"error":"blocked"}"#, Misconfigured, No),
            (400, r#"{"detail":null}"#, Misconfigured, No),
            (400, list, Misconfigured, No),
            (422, list, Misconfigured, No),
            (404, detail, Misconfigured, No),
            (307, "", Misconfigured, No),
            (408, detail, Transient, No),
            (429, detail, Transient, No),
            (500, detail, Transient, No),
            (503, html, Transient, No),
            (502, html, Transient, Maybe),
            (504, html, Transient, Maybe),
            (200, detail, Transient, Maybe),
            (200, "", Transient, Maybe),
            (204, "", Transient, Maybe),
            (200, html, Transient, Maybe),
            (200, r#"{"token":"cut o"#, Transient, Maybe),
            (200, r#"{"token":""}"#, Transient, Maybe),
            (200, r#"{"token":null}"#, Transient, Maybe),
            (200, r#"{"token":"two words"}"#, Transient, Maybe),
            (200, r#"{"token":"a","refresh_token":7}"#, Transient, Maybe),
            (200, r#"{"token":"a","refresh_token":"r\n"}"#, Transient, Maybe),
        ];
        for &(status, body, class, spent) in table {
            let error = read(status, body).expect_err(body);
            assert_eq!(error.class(), class, "{status} {body}");
            assert_eq!(error.spent(), spent, "{status} {body}");
        }
    }

    #[test]
    fn an_error_tells_what_the_server_said() {
        let body = r#"{"detail":{"code":"token_expired","message":"s3cret\nis over"}}"#;
        let error = read(401, body).unwrap_err();
        assert_eq!(error.code(), Some("token_expired"));
        assert_eq!(error.status().unwrap(), 401);
        assert_eq!(error.said(), Some("[redacted] is over"));
        let error = read(502, "<html>").unwrap_err();
        assert_eq!((error.code(), error.said()), (None, None));
    }

    #[test]
    fn a_new_refresh_token_without_an_access_token_is_kept() {
        let error = read(200, r#"{"access":"a","refresh_token":"n3w"}"#).unwrap_err();
        assert_eq!((error.class(), error.spent()), (Misconfigured, Yes));
        assert_eq!(error.rotated().unwrap().expose(), "n3w");
        // A refusal is not a rotation.
        let error = read(200, r#"{"detail":"no","refresh_token":"n3w"}"#).unwrap_err();
        assert_eq!((error.class(), error.spent()), (Transient, Maybe));
        assert!(error.rotated().is_none());
    }

    #[test]
    fn messages_repeat_the_servers_reason_and_no_token() {
        let said = |status, body| {
            let error = read(status, body).expect_err(body);
            let said = format!("{error} {error:?}");
            assert!(!said.contains("s3cret"), "{said}");
            error.to_string()
        };
        assert_eq!(
            said(401, r#"{"detail":"Refresh token s3cret has expired"}"#),
            "the token endpoint answered 401: a user has to log in again; it says \"Refresh \
             token [redacted] has expired\""
        );
        assert_eq!(
            said(200, r#"{"access":"s3cret","s3cret":1,"detail":"no"}"#),
            "the token endpoint answered 200 without a string `token` (but with access, \
             [redacted]); it says \"no\""
        );
        assert!(said(200, r#"{"token":"s3cret s3cret"}"#).contains("`token` that cannot be used"));
        // The token that just came is as secret as the one that was sent.
        let echo = r#"{"token":"n3w","detail":"n3w"}"#;
        assert!(!said(500, echo).contains("n3w"));
    }
}
