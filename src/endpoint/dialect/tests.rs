use http::{HeaderName, header};
use serde_json::{Value, json};

use super::*;
use crate::endpoint::{
    FailureClass::{InvalidGrant, Misconfigured, Transient},
    Spent::{Maybe, No, Yes},
};

const SENT: &str = "s3cret-r3fresh/1+2";

type Headers<'a> = &'a [(HeaderName, &'a str)];

#[derive(Clone)]
struct Case {
    dialect: Dialect,
    for_a_person: bool,
    has_worked: bool,
    scheme: Option<Cow<'static, str>>,
    broke_off: bool,
}

impl Case {
    fn oauth2() -> Self {
        let dialect = Dialect::OAUTH2;
        Self { dialect, for_a_person: true, has_worked: true, scheme: None, broke_off: false }
    }

    fn json() -> Self {
        let mut dialect = Dialect::FREDDY;
        dialect.fields.access_token = "access_token".into();
        Self { dialect, ..Self::oauth2() }
    }

    fn both() -> [Self; 2] {
        [Self::oauth2(), Self::json()]
    }

    fn read(&self, status: u16, body: &str) -> Result<TokenResponse, EndpointError> {
        self.read_with(status, &[], body.as_bytes())
    }

    fn read_with(
        &self,
        status: u16,
        headers: Headers<'_>,
        body: &[u8],
    ) -> Result<TokenResponse, EndpointError> {
        let speaks = self.dialect.listener();
        let answer = Answer::of((status, headers, body), self.broke_off, &*speaks);
        let sent = self.for_a_person.then(|| RefreshToken::new(SENT).unwrap());
        let mut secrets = Secrets::default();
        secrets.add(SENT);
        let keeps_refresh_token = self.for_a_person;
        let (for_a_person, has_worked) = (self.for_a_person, self.has_worked);
        let scheme = self.scheme.clone();
        let result = self.dialect.read(
            answer,
            Presented { sent, for_a_person, keeps_refresh_token, has_worked, scheme, secrets },
        );
        if let Err(error) = &result {
            assert_eq!(error.status().map(|status| status.as_u16()), Some(status));
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("s3cret") && !shown.contains("n3w"), "{shown}");
        }
        result
    }
}

fn tokens(response: &TokenResponse) -> (&str, Option<&str>) {
    (response.access_token().expose(), response.refresh_token().map(RefreshToken::expose))
}

#[test]
fn an_answer_by_the_rfc() {
    let body = r#"{"access_token":"a","token_type":"Bearer","expires_in":"3600",
        "refresh_token":"r","scope":"x y","id_token":"i"}"#;
    for case in Case::both() {
        let response = case.read(200, body).unwrap();
        assert_eq!(tokens(&response), ("a", Some("r")));
        assert_eq!(response.expires_in(), Some(Duration::from_secs(3600)));
        let extra = json!({"token_type": "Bearer", "scope": "x y", "id_token": "i"});
        assert_eq!(Value::Object(response.extra().clone()), extra);
        for error in ["null", "false", r#""""#] {
            let body = format!(r#"{{"access_token":"a","error":{error}}}"#);
            assert!(case.read(200, &body).is_ok(), "{error}");
        }
    }
}

#[test]
fn freddys_answer_with_and_without_rotation() {
    let case = Case { dialect: Dialect::FREDDY, ..Case::json() };
    let response = case.read(200, r#"{"token":"a","device_id":"device-123","new":[1]}"#).unwrap();
    assert_eq!(tokens(&response), ("a", None));
    assert_eq!(response.expires_in(), None);
    let extra = json!({"device_id": "device-123", "new": [1]});
    assert_eq!(Value::Object(response.extra().clone()), extra);
    for kept in [r#""""#, "null", r#""ü""#, "[]"] {
        // Only a failure has a reason: in a good answer that field is one like any other.
        let body = format!(r#"{{"token":"a","refresh_token":{kept},"detail":"fine"}}"#);
        let response = case.read(200, &body).unwrap();
        assert_eq!(tokens(&response), ("a", None));
        assert_eq!(response.extra()["detail"], "fine");
    }
    let response = case.read(200, r#"{"token":"a","refresh_token":" 7\n"}"#).unwrap();
    assert_eq!(tokens(&response), ("a", Some("7")));
    let response = case.read(200, r#"{"token":"a","refresh_token":7}"#).unwrap();
    assert_eq!(tokens(&response), ("a", Some("7")));
}

#[test]
fn a_scheme_before_the_token_is_no_part_of_it() {
    let own = Case { scheme: Some("Zoho-oauthtoken".into()), ..Case::oauth2() };
    for (case, field, token) in [
        (Case::oauth2(), "Bearer A2", Some("A2")),
        (Case::json(), "bearer  A2 ", Some("A2")),
        (Case::json(), "JWT A2", Some("A2")),
        (Case::json(), "Token A2", Some("A2")),
        (Case::json(), "DPoP A2", Some("A2")),
        (own, "zoho-oauthtoken A2", Some("A2")),
        (Case::oauth2(), " A2\n", Some("A2")),
        (Case::oauth2(), "Bearer", Some("Bearer")),
        (Case::oauth2(), "Zoho-oauthtoken A2", None),
        (Case::oauth2(), "Bearer A2 B2", None),
        (Case::oauth2(), "two words", None),
        (Case::oauth2(), "", None),
        (Case::oauth2(), "Bearer ü", None),
    ] {
        let result = case.read(200, &json!({"access_token": field}).to_string());
        let read = result.as_ref().ok().map(|response| response.access_token().expose());
        assert_eq!(read, token, "{field}");
        if let Err(error) = result {
            assert_eq!((error.class(), error.spent()), (Misconfigured, Yes), "{field}");
        }
    }
}

#[test]
fn fields_have_names_and_paths_of_their_own() {
    let body = r#"{"code":0,"data":{"access_token":"A2","refresh_token":"R2","expires_in":7200}}"#;
    for mut case in Case::both() {
        let error = case.read(200, body).unwrap_err();
        assert_eq!((error.class(), error.spent()), (Misconfigured, Yes));
        assert!(error.to_string().contains("(but with code, data)"), "{error}");
        assert!(error.rotated().is_none());

        case.dialect.fields.access_token = "/data/access_token".into();
        let response = case.read(200, body).unwrap();
        assert_eq!(tokens(&response), ("A2", Some("R2")));
        assert_eq!(response.expires_in(), Some(Duration::from_secs(7200)));
        assert_eq!(Value::Object(response.extra().clone()), json!({"code": 0, "data": {}}));
        // What was cut off is read by its path as well.
        let cut = Case { broke_off: true, ..case.clone() };
        assert_eq!(tokens(&cut.read(200, &body[..75]).unwrap()), ("A2", Some("R2")));

        case.dialect.fields.access_token = "/0/t".into();
        case.dialect.fields.refresh_token = "/r/t".into();
        case.dialect.fields.expires_at = Some("/life".into());
        case.dialect.default_life = Some(Duration::from_secs(60));
        let response = case.read(200, r#"{"0":{"t":"A"},"r":{"t":"R"},"life":"90"}"#).unwrap();
        assert_eq!(tokens(&response), ("A", Some("R")));
        assert_eq!(response.expires_in(), Some(Duration::from_secs(90)));
    }
}

#[test]
fn a_whole_object_without_a_usable_token_is_a_fault_of_set_up_that_has_used_the_refresh_token() {
    for case in Case::both() {
        for access_token in
            ["", r#""access_token":"two words","#, r#""access_token":7,"#, r#""token_type":"x","#]
        {
            let body = |token: &str| format!(r#"{{{access_token}"refresh_token":"{token}"}}"#);
            let error = case.read(200, &body("n3w")).unwrap_err();
            assert_eq!((error.class(), error.spent()), (Misconfigured, Yes), "{access_token}");
            assert_eq!(error.rotated().unwrap().expose(), "n3w");
            // The one that was sent, a remark, and what is no token at all.
            for token in [SENT, "it is gone", "", "ü"] {
                let error = case.read(200, &body(token)).unwrap_err();
                assert_eq!((error.class(), error.spent()), (Misconfigured, Yes), "{token}");
                assert!(error.rotated().is_none(), "{token}");
            }
        }
        let error = case.read(200, "{}").unwrap_err();
        assert_eq!((error.class(), error.spent()), (Misconfigured, Yes));
        assert!(error.to_string().contains("(but with nothing)"), "{error}");
        // A refusal is not a rotation.
        let error = case.read(200, r#"{"error":"slow_down","refresh_token":"n3w"}"#).unwrap_err();
        assert_eq!((error.class(), error.spent()), (Transient, No));
        assert!(error.rotated().is_none());
    }
}

// S97: a token of another type than Bearer's is not sent, and the rotated refresh token beside it is kept
#[test]
fn a_token_of_another_type_is_not_sent_and_its_refresh_token_is_kept() {
    for case in Case::both() {
        for kind in ["mac", "MAC", "DPoP", "PoP", "N_A", "n_a"] {
            let body =
                json!({"access_token": "acc3ss", "token_type": kind, "refresh_token": "n3w"})
                    .to_string();
            let error = case.read(200, &body).unwrap_err();
            assert_eq!((error.class(), error.spent()), (Misconfigured, Yes), "{kind}");
            assert_eq!(error.rotated().unwrap().expose(), "n3w");
            assert!(error.to_string().contains(kind), "{error}");
        }
        for kind in ["Bearer", "beareR", "token", "urn:ietf:params:oauth:token-type:jwt", ""] {
            let body = json!({"access_token": "a", "token_type": kind}).to_string();
            assert!(case.read(200, &body).is_ok(), "{kind}");
        }
        // A session that sends it with that very scheme knows what it does.
        let own = Case { scheme: Some("DPoP".into()), ..case };
        assert!(own.read(200, r#"{"access_token":"a","token_type":"dpop"}"#).is_ok());
    }
}

// S38: whatever a token endpoint answers instead of tokens is an error, in time and within the size cap
#[test]
fn a_good_status_with_nothing_readable_may_have_used_the_token_and_is_named() {
    let html = [(header::CONTENT_TYPE, "text/html")];
    for (body, what) in [
        ("", "with an empty body"),
        (" \r\n", "with an empty body"),
        ("<!doctype html>", "HTML instead of JSON (content-type text/html)"),
        ("token=s3cret", "no JSON (content-type text/html)"),
        (r#""s3cret""#, "JSON that is no object"),
        ("[]", "JSON that is no object"),
    ] {
        for case in Case::both() {
            let ill = case.read_with(200, &html, body.as_bytes()).unwrap_err();
            assert_eq!((ill.class(), ill.spent()), (Transient, Maybe), "{body}");
            assert!(ill.to_string().contains(what), "{ill}");
            let new = Case { has_worked: false, ..case };
            let new = new.read_with(200, &html, body.as_bytes()).unwrap_err();
            assert_eq!((new.class(), new.spent()), (Misconfigured, Maybe), "{body}");
            assert!(new.is_presumed());
        }
    }
    // What was cut off is lost, whatever the endpoint did before.
    for (body, what) in [
        (r#"{"access_token": "abc"#, "JSON that is cut off"),
        (r#"{"other":"x","access_token":"#, "JSON that is cut off"),
        ("{", "JSON that is cut off"),
    ] {
        for case in Case::both() {
            let error = Case { has_worked: false, ..case }.read(200, body).unwrap_err();
            assert_eq!((error.class(), error.spent()), (Transient, Maybe), "{body}");
            assert!(error.to_string().contains(what), "{error}");
        }
    }
    let deep = "[".repeat(200_000);
    assert!(Case::oauth2().read(200, &deep).is_err());
    let coded = [(header::CONTENT_ENCODING, "br")];
    let error = Case::oauth2().read_with(200, &coded, b"\x8b\x05\x80").unwrap_err();
    assert_eq!((error.class(), error.spent()), (Misconfigured, Yes));
    assert!(error.to_string().contains("`br`"), "{error}");
}

#[test]
fn the_status_tells_whether_the_token_may_be_used_up() {
    for case in Case::both() {
        for status in [400, 401, 403, 404, 405, 408, 409, 410, 422, 425, 429, 451, 500, 503, 302] {
            let error = case.read(status, "").unwrap_err();
            assert_eq!((error.class(), error.spent()), (Transient, No), "{status}");
        }
        for status in [501, 502, 504, 520, 599, 600, 999] {
            let error = case.read(status, "").unwrap_err();
            assert_eq!((error.class(), error.spent()), (Transient, Maybe), "{status}");
        }
    }
    // The grant sends nothing that could be used up.
    let client = Case { for_a_person: false, ..Case::oauth2() };
    for (status, body) in [(502, ""), (200, "<html>"), (200, "{}")] {
        assert_eq!(client.read(status, body).unwrap_err().spent(), No, "{status} {body}");
    }
    let body = r#"{"access_token":"a","refresh_token":"r"}"#;
    assert_eq!(tokens(&client.read(200, body).unwrap()), ("a", None));
}

#[test]
fn the_programs_word_on_an_answer_comes_before_all_others() {
    let said = |error: &EndpointError| match (error.status()?.as_u16(), error.code()) {
        (503, _) => Some(InvalidGrant),
        (_, Some("unauthorized_client")) if error.said()?.contains("refresh") => Some(InvalidGrant),
        (401, None) => Some(Misconfigured),
        (200, _) => Some(Transient),
        _ => None,
    };
    for mut case in Case::both() {
        case.dialect.classify(said);
        let unauthorized = r#"{"error":"unauthorized_client","error_description":"refresh no"}"#;
        for (status, body, class, spent) in [
            (503, "", InvalidGrant, No),
            (403, unauthorized, InvalidGrant, No),
            (401, "", Misconfigured, No),
            (400, r#"{"error":"invalid_client"}"#, Misconfigured, No),
            (400, r#"{"error":"invalid_grant"}"#, InvalidGrant, No),
            (200, "{}", Transient, Maybe),
        ] {
            let error = case.read(status, body).unwrap_err();
            assert_eq!((error.class(), error.spent()), (class, spent), "{status} {body}");
            assert!(!error.is_presumed());
        }
        // It cannot turn a success into a failure, and has no say in what was lost.
        assert!(case.read(200, r#"{"access_token":"a"}"#).is_ok());
        case.dialect.classify(|_| Some(InvalidGrant));
        assert_eq!(case.read(200, r#"{"access_token":"#).unwrap_err().class(), Transient);
    }
}

#[test]
fn messages_say_what_to_do_where_the_server_does_not() {
    let case = Case::oauth2();
    let said = |status, body| case.read(status, body).unwrap_err().to_string();
    assert_eq!(said(404, ""), "the token endpoint answered 404: check its URL");
    assert_eq!(
        said(401, r#"{"error":"invalid_grant","error_description":"s3cret-r3fresh/1+2\nis over"}"#),
        "the token endpoint answered 401: a user has to log in again; it says \"[redacted] is \
         over\" (invalid_grant)"
    );
    let client =
        said(403, r#"{"error":"unauthorized_client","error_description":"token invalid"}"#);
    assert!(!client.contains("may not use") && client.contains("token invalid"), "{client}");
    assert!(said(400, r#"{"error":"unauthorized_client"}"#).contains("may not use this grant"));
    assert!(said(401, r#"{"error":"invalid_client"}"#).contains("`OAuth2Client::post`"));
    let body = r#"{"error":"invalid_request","error_description":"d","hint":"it was revoked"}"#;
    assert!(said(401, body).contains("it was revoked"));
    let moved = [(header::LOCATION, "https://new.example/token?t=s3cret")];
    let moved = case.read_with(307, &moved, b"").unwrap_err().to_string();
    assert!(moved.contains("redirects are not followed"), "{moved}");
    assert!(moved.contains("https://new.example/token"), "{moved}");
    assert!(said(302, "").contains("another URL"));
    let page =
        said(403, "<html><title>No</title><script>x</script><p>Blocked by policy</p></html>");
    assert!(page.contains("it says \"No Blocked by policy\""), "{page}");
    // Of a good status only what is a message is shown.
    let text = said(200, r#"{"greeting":"hello","message":"try the other one"}"#);
    assert!(!text.contains("hello") && text.contains("try the other one"), "{text}");
    assert!(!said(200, "hello").contains("hello"));
    // The token that has just come is as secret as the one that was sent.
    let echo = r#"{"access_token":"n3w","error_description":"n3w","error":"x"}"#;
    assert!(said(500, echo).contains("[redacted]"));
    let error = case.read(400, &json!({"error": SENT, "error_description": "no"}).to_string());
    assert_eq!(error.unwrap_err().code(), None);
}
