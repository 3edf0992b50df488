use serde_json::json;

use super::*;
use crate::endpoint::error::FailureClass::{InvalidGrant, Misconfigured, Transient};

const OAUTH2: Protocol = Protocol::OAuth2;
const JSON: Protocol = Protocol::Json { is_named: false };
const NAMED: Protocol = Protocol::Json { is_named: true };

/// The verdict on an object; `detail` is the field of JSON endpoints that has the reason.
fn judge(protocol: Protocol, has_worked: bool, status: u16, body: &Value) -> Verdict {
    let asked = Asked { protocol, for_a_person: true, has_worked };
    judge_for(asked, status, body)
}

fn judge_for(asked: Asked, status: u16, body: &Value) -> Verdict {
    let content = match body {
        Value::Object(object) => {
            let reason = object.get("detail").filter(|_| asked.protocol != OAUTH2);
            Content::Object(object, reason)
        }
        other => Content::Text(other.as_str().unwrap_or_default()),
    };
    let status = StatusCode::from_u16(status).unwrap();
    let refusal = Refusal { status, has_retry_after: false, is_problem: false, content };
    verdict(&refusal, asked)
}

/// The class whatever the history, or `None` if it goes by that alone.
fn class(protocol: Protocol, status: u16, body: &Value) -> Option<FailureClass> {
    let ill = judge(protocol, true, status, body);
    let new = judge(protocol, false, status, body);
    match (ill.is_presumed, new.is_presumed) {
        (true, true) => {
            assert_eq!((ill.class, new.class), (Transient, Misconfigured), "{status} {body}");
            None
        }
        (false, false) => {
            assert_eq!(ill.class, new.class, "{status} {body}");
            Some(ill.class)
        }
        _ => panic!("{ill:?} {new:?}"),
    }
}

#[test]
fn the_first_evidence_decides() {
    let page =
        json!("<html><body>Access to the refresh token endpoint is forbidden: expired</body>");
    let table: &[(&[Protocol], u16, Value, Option<FailureClass>)] = &[
        // What HTTP says comes before what a failing server says.
        (
            &[OAUTH2, JSON],
            503,
            json!({"error": "invalid_grant", "detail": "expired"}),
            Some(Transient),
        ),
        (&[OAUTH2, JSON], 429, json!({"error": "invalid_client"}), Some(Transient)),
        (&[OAUTH2, JSON], 408, json!({"error": "invalid_grant"}), Some(Transient)),
        (&[OAUTH2, JSON], 425, json!(""), Some(Transient)),
        (&[OAUTH2, JSON], 302, json!({"error": "invalid_grant"}), None),
        // Codes that are known come before words and before other statuses.
        (
            &[OAUTH2, JSON],
            400,
            json!({"error": "invalid_grant", "error_description": "was generated for another client, try again later"}),
            Some(InvalidGrant),
        ),
        (&[OAUTH2, JSON], 409, json!({"error": "INVALID_GRANT"}), Some(InvalidGrant)),
        (&[OAUTH2, JSON], 200, json!({"ok": false, "error": "token_revoked"}), Some(InvalidGrant)),
        (&[OAUTH2, JSON], 404, json!({"code": "refresh_token_not_found"}), Some(InvalidGrant)),
        (
            &[OAUTH2, JSON],
            400,
            json!({"error": "invalid_grant", "error_description": "token request is already being processed"}),
            Some(Transient),
        ),
        (
            &[OAUTH2, JSON],
            400,
            json!({"error": "invalid_grant", "error_description": "reuse detected: a concurrent call"}),
            Some(InvalidGrant),
        ),
        (&[OAUTH2, JSON], 409, json!(""), Some(Transient)),
        (&[OAUTH2, JSON], 421, json!({"detail": "expired"}), Some(Transient)),
        (&[OAUTH2, JSON], 423, json!(""), Some(Transient)),
        (&[OAUTH2, JSON], 400, json!({"error": "temporarily_unavailable"}), Some(Transient)),
        (&[OAUTH2, JSON], 400, json!({"error": "internal_failure"}), Some(Transient)),
        (&[OAUTH2, JSON], 400, json!({"error": "use_dpop_nonce"}), Some(Transient)),
        (&[OAUTH2, JSON], 401, json!({"error": "invalid_client"}), Some(Misconfigured)),
        (
            &[OAUTH2, JSON],
            403,
            json!({"error": "unauthorized_client", "error_description": "refresh_token is invalid"}),
            Some(Misconfigured),
        ),
        (&[OAUTH2, JSON], 400, json!({"error": "invalid_request"}), Some(Misconfigured)),
        // Words of a fault that passes.
        (
            &[OAUTH2, JSON],
            400,
            json!({"detail": "Request was throttled. Expected available in 2 seconds."}),
            Some(Transient),
        ),
        (&[OAUTH2, JSON], 400, json!({"message": "Rate limited"}), Some(Transient)),
        (&[OAUTH2, JSON], 403, json!("<h1>Down for maintenance</h1>"), Some(Transient)),
        (
            &[OAUTH2, JSON],
            200,
            json!({"status": 601, "error": "Too Many Requests"}),
            Some(Transient),
        ),
        (
            &[JSON],
            401,
            json!({"detail": "Your session has expired. Please log in and try again."}),
            Some(InvalidGrant),
        ),
        (&[JSON], 401, json!({"detail": "Session timed out"}), Some(InvalidGrant)),
        (&[OAUTH2, JSON], 400, json!({"message": "The request timed out"}), Some(Transient)),
        (&[OAUTH2], 400, json!({"message": "corporate accounts are operated separately"}), None),
        // A list of faults in the request.
        (
            &[JSON],
            422,
            json!({"detail": [{"loc": ["body", "refresh_token"], "msg": "Field required"}]}),
            Some(Misconfigured),
        ),
        (
            &[JSON],
            400,
            json!({"detail": [{"loc": ["body"], "msg": "expired refresh token"}]}),
            Some(Misconfigured),
        ),
        // The reason of a JSON endpoint.
        (&[JSON, NAMED], 401, json!({"detail": "Refresh token has expired"}), Some(InvalidGrant)),
        (&[JSON, NAMED], 400, json!({"detail": "no"}), Some(InvalidGrant)),
        (&[JSON, NAMED], 410, json!({"detail": {"why": "gone"}}), Some(InvalidGrant)),
        (&[JSON, NAMED], 422, json!({"detail": "the signature does not fit"}), Some(InvalidGrant)),
        (&[JSON], 404, json!({"detail": "Not Found"}), None),
        (
            &[JSON],
            403,
            json!({"detail": "Access is denied", "title": "Forbidden", "status": 403}),
            None,
        ),
        (&[JSON], 400, json!({"detail": null}), None),
        // Whoever names the refresh token and says that it is dead.
        (
            &[OAUTH2, JSON],
            400,
            json!({"status": 400, "message": "Invalid refresh token"}),
            Some(InvalidGrant),
        ),
        (
            &[OAUTH2, JSON],
            200,
            json!({"errcode": 40030, "errmsg": "this refresh token will not do"}),
            Some(InvalidGrant),
        ),
        (
            &[OAUTH2, JSON],
            401,
            json!({"statusCode": 401, "message": "The session is over", "error": "Unauthorized"}),
            Some(InvalidGrant),
        ),
        (&[OAUTH2, JSON], 400, json!({"errors": ["refreshToken was revoked"]}), Some(InvalidGrant)),
        (
            &[JSON],
            403,
            json!({"detail": "Refresh token is invalid", "title": "Forbidden", "status": 403}),
            Some(InvalidGrant),
        ),
        (&[OAUTH2, JSON], 401, json!("Refresh token expired"), Some(InvalidGrant)),
        (
            &[OAUTH2, JSON],
            400,
            json!({"message": "refresh_token is a required parameter: invalid"}),
            None,
        ),
        (&[OAUTH2, JSON], 401, page.clone(), None),
        // A code of the protocol's own that is not known.
        (&[OAUTH2], 400, json!({"error": "never_heard_of"}), Some(Misconfigured)),
        (&[OAUTH2], 200, json!({"error": "never_heard_of"}), Some(Misconfigured)),
        (&[JSON], 400, json!({"error": "never_heard_of"}), None),
        // All else goes by what the endpoint did before.
        (
            &[OAUTH2, JSON],
            403,
            json!({"error": "Forbidden", "status": 403, "path": "/token"}),
            None,
        ),
        (&[OAUTH2, JSON], 404, json!({"error": "Not Found"}), None),
        (&[OAUTH2, JSON], 400, json!({"error": 400, "message": "Bad Request"}), None),
        (&[OAUTH2, JSON], 401, json!(""), None),
        (&[OAUTH2, JSON], 403, page, None),
        (&[OAUTH2, JSON], 405, json!("no"), None),
        (&[OAUTH2, JSON], 200, json!({"success": false}), None),
    ];
    for (protocols, status, body, expected) in table {
        for &protocol in *protocols {
            assert_eq!(class(protocol, *status, body), *expected, "{protocol:?} {status} {body}");
        }
    }
}

// S85: a reason that names the refresh token ends the grant at the first call ever
#[test]
fn a_reason_that_speaks_of_the_call_ends_the_grant_at_an_endpoint_that_has_worked_alone() {
    for (status, detail) in [
        (401, "Not authenticated"),
        (401, "Authentication credentials were not provided."),
        (403, "Permission denied: you do not have permission"),
        (403, "CSRF token missing"),
        (403, "Invalid API key for this session"),
        (400, "Not found"),
    ] {
        let body = json!({"detail": detail});
        let new = judge(JSON, false, status, &body);
        assert_eq!((new.class, new.is_presumed), (Misconfigured, false), "{detail}");
        assert_eq!(judge(JSON, true, status, &body).class, InvalidGrant, "{detail}");
    }
    // One that names the token does not.
    let body = json!({"detail": "Token not found"});
    assert_eq!(judge(JSON, false, 401, &body).class, InvalidGrant);
    // Neither does the same fault where only one token can be meant.
    let body = json!({"message": "Token has expired"});
    assert_eq!(judge(OAUTH2, true, 401, &body).class, InvalidGrant);
    assert!(judge(OAUTH2, false, 401, &body).is_presumed);
    let body = json!({"message": "The access token has expired"});
    assert!(judge(OAUTH2, true, 401, &body).is_presumed);
}

#[test]
fn no_person_can_help_a_client_that_acts_for_itself() {
    let asked = Asked { protocol: OAUTH2, for_a_person: false, has_worked: true };
    for (status, body, class) in [
        (400, json!({"error": "invalid_grant"}), Misconfigured),
        (400, json!({"error": "login_required"}), Misconfigured),
        (
            400,
            json!({"error": "invalid_grant", "error_description": "token request is already being processed"}),
            Transient,
        ),
        (401, json!({"message": "Invalid refresh token"}), Transient),
    ] {
        assert_eq!(judge_for(asked, status, &body).class, class, "{body}");
    }
}

#[test]
fn a_server_that_says_when_to_come_back_is_no_verdict() {
    let object = json!({"message": "no"});
    let content = Content::Object(object.as_object().unwrap(), None);
    let status = StatusCode::FORBIDDEN;
    let refusal = Refusal { status, has_retry_after: true, is_problem: false, content };
    let asked = Asked { protocol: OAUTH2, for_a_person: true, has_worked: false };
    assert_eq!(verdict(&refusal, asked).class, Transient);
}

#[test]
fn what_a_good_status_says_may_be_a_refusal() {
    for object in [
        json!({"error": "x"}),
        json!({"ok": false}),
        json!({"success": false}),
        json!({"errcode": 40030}),
        json!({"errcode": "1"}),
        json!({"status": "error"}),
        json!({"code": "token_expired"}),
        json!({"code": 40001, "message": "no"}),
        json!({"errors": ["no"]}),
        json!({"fault": {"faultstring": "no"}}),
        json!({"status": "TOKEN_EXPIRED"}),
    ] {
        assert!(is_refusal(object.as_object().unwrap()), "{object}");
    }
    for object in [
        json!({}),
        json!({"error": null, "errcode": 0, "ok": true, "success": true}),
        json!({"error": "", "errors": []}),
        json!({"code": 0, "data": {"access_token": "a"}}),
        json!({"code": 200, "message": "OK", "status": "success"}),
        json!({"status": "queued", "type": "job"}),
        json!({"id_token": "i", "token_type": "Bearer", "refresh_token": "r"}),
    ] {
        assert!(!is_refusal(object.as_object().unwrap()), "{object}");
    }
    assert!(!says_failure(
        json!({"error": false, "code": "x", "errors": ["y"]}).as_object().unwrap()
    ));
}
