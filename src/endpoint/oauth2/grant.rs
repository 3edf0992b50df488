use http::StatusCode;
use serde_json::{Map, Value};

use crate::endpoint::{
    EndpointError, FailureClass, Spent, TokenResponse, answer::Answer, fields::Fields,
    secrets::Secrets,
};
use crate::token::RefreshToken;

/// What the token is asked for with, and what the answers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    RefreshToken,
    ClientCredentials,
    Password,
    JwtBearer,
    TokenExchange,
    /// One that only the program knows.
    Other,
}

impl Grant {
    /// Whether `invalid_grant` means that a user has to log in, or change a password. Of any other
    /// grant it is the program that presents what will not do.
    fn is_of_a_user(self) -> bool {
        matches!(self, Self::RefreshToken | Self::Password)
    }

    /// Whether `error` may be about a credential that was sent, and not about a refresh token.
    pub(super) fn refuses_a_credential(self, error: &EndpointError) -> bool {
        let is_verdict = error.class() != FailureClass::Transient && error.spent() == Spent::No;
        let is_about_it = match error.code() {
            Some("invalid_client" | "unauthorized_client") => true,
            Some("invalid_grant") => self != Self::RefreshToken,
            _ => error.status() == Some(StatusCode::UNAUTHORIZED),
        };
        is_verdict && is_about_it
    }

    /// A pure function of what came back.
    pub(super) fn read(
        self,
        answer: &Answer,
        sent: Option<&RefreshToken>,
        mut secrets: Secrets,
    ) -> Result<TokenResponse, EndpointError> {
        let object = answer.object(&secrets);
        if let Ok(object) = &object {
            Fields::OAUTH2.hide(object, &mut secrets);
        }
        match object {
            Ok(object) if has_error(&object) => Err(self.refusal(answer, &object, &secrets)),
            object if answer.status.is_success() => {
                Fields::OAUTH2.read(answer, object?, sent, None, &secrets)
            }
            _ => Err(answer.failure(None, &secrets)),
        }
    }

    /// What an error answer means (RFC 6749 §5.2). GitHub and others send one with a 200.
    fn refusal(
        self,
        answer: &Answer,
        object: &Map<String, Value>,
        secrets: &Secrets,
    ) -> EndpointError {
        use FailureClass::{InvalidGrant, Misconfigured, Transient};

        let error = &object["error"];
        let said = object.get("error_description");
        let Some(code) = error.as_str() else {
            // No code of the RFC's, but what some servers put there is worth reading.
            let said = said.or(Some(error));
            return match answer.status.is_success() {
                true => answer.error(Misconfigured, " with an error", said, secrets),
                false => answer.failure(said, secrets),
            };
        };
        let error = |class, what| answer.error(class, what, said, secrets);
        let refusal = match (answer.status.as_u16(), code) {
            // A server that fails does not know what it says.
            (300..=399 | 408 | 429 | 500.., _) => answer.failure(said, secrets),
            (_, "temporarily_unavailable" | "server_error" | "slow_down") => {
                error(Transient, "").with_spent(Spent::No)
            }
            // The second is GitHub's name for the first.
            (_, "invalid_grant" | "bad_refresh_token") if self.is_of_a_user() => {
                error(InvalidGrant, ": a user has to log in again")
            }
            (_, "invalid_client") => error(
                Misconfigured,
                ": check the client's id, its secret, and whether it is to be sent by \
                 `OAuth2Client::basic` or `OAuth2Client::post`",
            ),
            (_, "unauthorized_client" | "unsupported_grant_type") => {
                error(Misconfigured, ": the client may not use this grant")
            }
            (_, "invalid_scope") => error(Misconfigured, ": check the scope"),
            _ => error(Misconfigured, ""),
        };
        refusal.with_code(secrets.quote(code))
    }
}

/// `"error": null` and `"error": ""` come with good answers.
fn has_error(object: &Map<String, Value>) -> bool {
    match object.get("error") {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(code)) => !code.is_empty(),
        Some(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::endpoint::{
        FailureClass::{self, Misconfigured, Transient},
        Spent::{self, Maybe, No, Yes},
    };

    fn read(grant: Grant, status: u16, body: &str) -> Result<TokenResponse, EndpointError> {
        let mut secrets = Secrets::default();
        secrets.add("s3cret");
        let sent = RefreshToken::new("s3cret").unwrap();
        grant.read(&Answer::of(status, &[], body), Some(&sent), secrets)
    }

    #[test]
    fn an_answer_by_the_rfc() {
        let body = r#"{"access_token":"a","token_type":"Bearer","expires_in":"3600",
            "refresh_token":"r","scope":"x y","id_token":"i"}"#;
        let tokens = read(Grant::RefreshToken, 200, body).unwrap();
        assert_eq!(tokens.access_token().expose(), "a");
        assert_eq!(tokens.refresh_token().unwrap().expose(), "r");
        assert_eq!(tokens.expires_in(), Some(Duration::from_secs(3600)));
        assert_eq!(
            Value::Object(tokens.extra().clone()),
            json!({"token_type": "Bearer", "scope": "x y", "id_token": "i"})
        );
        for error in ["null", "false", r#""""#] {
            let body = format!(r#"{{"access_token":"a","error":{error}}}"#);
            assert!(read(Grant::RefreshToken, 200, &body).is_ok(), "{error}");
        }
    }

    #[test]
    fn failures_are_told_apart() {
        let grant = FailureClass::InvalidGrant;
        let table: &[(u16, &str, _, Spent)] = &[
            (400, "invalid_grant", grant, No),
            (401, "invalid_grant", grant, No),
            (200, "invalid_grant", grant, No),
            (200, "bad_refresh_token", grant, No),
            (401, "invalid_client", Misconfigured, No),
            (400, "unauthorized_client", Misconfigured, No),
            (400, "unsupported_grant_type", Misconfigured, No),
            (400, "invalid_scope", Misconfigured, No),
            (400, "invalid_request", Misconfigured, No),
            (400, "never_heard_of", Misconfigured, No),
            (200, "never_heard_of", Misconfigured, No),
            (307, "invalid_grant", Misconfigured, No),
            (400, "temporarily_unavailable", Transient, No),
            (400, "server_error", Transient, No),
            (200, "slow_down", Transient, No),
            (408, "invalid_grant", Transient, No),
            (429, "invalid_grant", Transient, No),
            (500, "invalid_grant", Transient, No),
            (503, "temporarily_unavailable", Transient, No),
            (502, "server_error", Transient, Maybe),
            (504, "server_error", Transient, Maybe),
        ];
        for &(status, code, class, spent) in table {
            let body = json!({"error": code}).to_string();
            let error = read(Grant::RefreshToken, status, &body).expect_err(code);
            assert_eq!(error.class(), class, "{status} {code}");
            assert_eq!(error.spent(), spent, "{status} {code}");
            assert_eq!(error.code(), Some(code));
        }
    }

    // S38: whatever a token endpoint answers instead of tokens is an error, in time and within the
    // size cap
    #[test]
    fn failures_without_a_code_are_told_apart() {
        let facebook = r#"{"error":{"message":"expired","code":190}}"#;
        let table: &[(u16, &str, _, Spent)] = &[
            (400, "", Misconfigured, No),
            (401, "<html>", Misconfigured, No),
            (400, facebook, Misconfigured, No),
            (200, facebook, Misconfigured, No),
            (500, facebook, Transient, No),
            (200, "", Transient, Maybe),
            (200, "<html>", Transient, Maybe),
            (200, r#"{"access_token":"a","#, Transient, Maybe),
            (200, r#"{"token":"a"}"#, Transient, Maybe),
            (502, "<html>", Transient, Maybe),
        ];
        for &(status, body, class, spent) in table {
            let error = read(Grant::RefreshToken, status, body).expect_err(body);
            assert_eq!(error.class(), class, "{status} {body}");
            assert_eq!(error.spent(), spent, "{status} {body}");
            assert_eq!(error.code(), None);
        }
        let error = read(Grant::RefreshToken, 200, facebook).unwrap_err();
        assert!(error.to_string().contains("expired"), "{error}");
    }

    #[test]
    fn an_error_tells_what_the_server_said() {
        let body = r#"{"error":"invalid_grant","error_description":"s3cret\nis over"}"#;
        let error = read(Grant::RefreshToken, 401, body).unwrap_err();
        assert_eq!(error.code(), Some("invalid_grant"));
        assert_eq!(error.status().unwrap(), 401);
        assert_eq!(error.said(), Some("[redacted] is over"));
        let error = read(Grant::RefreshToken, 502, "<html>").unwrap_err();
        assert_eq!((error.code(), error.said()), (None, None));
        assert_eq!(error.status().unwrap(), 502);
    }

    #[test]
    fn a_new_refresh_token_without_an_access_token_is_kept_and_tells_that_the_old_one_is_used() {
        for access_token in ["", r#""access_token":"two words","#, r#""access_token":7,"#] {
            let body = |token: &str| format!(r#"{{{access_token}"refresh_token":"{token}"}}"#);
            let error = read(Grant::RefreshToken, 200, &body("n3w")).unwrap_err();
            assert_eq!((error.class(), error.spent()), (Misconfigured, Yes), "{access_token}");
            assert_eq!(error.rotated().unwrap().expose(), "n3w");
            assert!(!format!("{error} {error:?}").contains("n3w"), "{error:?}");

            // The one that was sent, a remark, and what is no token at all.
            for none in ["s3cret", "not this time", "", "n\\u0000w"] {
                let error = read(Grant::RefreshToken, 200, &body(none)).unwrap_err();
                assert_eq!((error.class(), error.spent()), (Transient, Maybe), "{none}");
                assert!(error.rotated().is_none(), "{none}");
            }
            // Nothing was sent that could have been used.
            let answer = Answer::of(200, &[], &body("n3w"));
            let credentials = Grant::ClientCredentials.read(&answer, None, Secrets::default());
            assert!(credentials.unwrap_err().rotated().is_none());
        }
        let refused = r#"{"error":"invalid_grant","refresh_token":"n3w"}"#;
        let error = read(Grant::RefreshToken, 200, refused).unwrap_err();
        assert_eq!((error.spent(), error.rotated().is_some()), (No, false));
    }

    #[test]
    fn client_credentials_have_no_grant_to_lose() {
        let body = r#"{"error":"invalid_grant"}"#;
        let error = read(Grant::ClientCredentials, 400, body).unwrap_err();
        assert_eq!(error.class(), Misconfigured);
    }

    #[test]
    fn an_answer_in_latin_1_is_read_for_what_is_ascii() {
        let latin_1 = |status, body: &str| {
            let mut answer = Answer::of(status, &[], "");
            *answer.body = body.chars().map(|c| u8::try_from(c).unwrap()).collect();
            Grant::RefreshToken.read(&answer, None, Secrets::default())
        };
        let body = r#"{"access_token":"a","refresh_token":"r","name":"Jürgen"}"#;
        let tokens = latin_1(200, body).unwrap();
        assert_eq!(tokens.refresh_token().unwrap().expose(), "r");
        let body = r#"{"error":"invalid_grant","error_description":"ungültig"}"#;
        let error = latin_1(400, body).unwrap_err();
        assert_eq!(error.class(), FailureClass::InvalidGrant, "{error}");
        // Half a token is none.
        assert!(latin_1(200, r#"{"access_token":"a","refresh_token":"ü"}"#).is_err());
    }

    #[test]
    fn half_a_character_in_a_name_costs_no_token() {
        let body = r#"{"access_token":"a","refresh_token":"r","name":"Jo \ud83d"}"#;
        let tokens = read(Grant::RefreshToken, 200, body).unwrap();
        assert_eq!(tokens.refresh_token().unwrap().expose(), "r");
        assert_eq!(tokens.extra()["name"], "Jo \u{fffd}");
    }

    #[test]
    fn messages_repeat_the_servers_reason_and_no_token() {
        let body = r#"{"error":"invalid_grant","error_description":"s3cret\nis n3w",
            "access_token":"n3w"}"#;
        let error = read(Grant::RefreshToken, 400, body).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the token endpoint answered 400: a user has to log in again; it says \"[redacted] \
             is [redacted]\" (invalid_grant)"
        );
        let error = read(Grant::RefreshToken, 400, r#"{"error":"s3cret"}"#).unwrap_err();
        assert_eq!(error.code(), Some("[redacted]"));
    }
}
