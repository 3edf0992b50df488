//! The token endpoints: Freddy's, OAuth 2.0's and its revocation endpoint.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use serde_json::{Map, Value, json};

use super::{
    ledger::{Issued, Refused},
    shared::Shared,
};

/// A token endpoint: what it answers when nothing goes wrong, given a call that arrived whole.
pub(super) type Protocol = fn(&Shared, &Parts, &Bytes) -> Response<Bytes>;

/// The JSON protocol: `{"refresh_token"}` for `{"token", "device_id"}`.
pub(super) fn freddy(shared: &Shared, head: &Parts, body: &Bytes) -> Response<Bytes> {
    let refuse = |status, detail: &str, refused| {
        shared.reject(refused);
        json_answer(status, &json!({ "detail": detail }))
    };
    if head.method != Method::POST {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed", None);
    }
    if !is_media_type(&head.headers, "application/json") {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, "The body is no JSON", None);
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let Some(refresh_token) = body["refresh_token"].as_str() else {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, "Field required", None);
    };
    let issued = match shared.refresh(refresh_token) {
        Ok(issued) => issued,
        Err(refused) => {
            let detail = match refused {
                Refused::Expired => "Refresh token has expired",
                Refused::Unknown | Refused::Reused => "Invalid refresh token",
            };
            return refuse(StatusCode::UNAUTHORIZED, detail, Some(refused));
        }
    };
    let mut answer = Map::new();
    answer.insert("token".into(), issued.access_token.into());
    answer.insert("device_id".into(), "device-123".into());
    if shared.ledger().policy.rotate {
        answer.insert("refresh_token".into(), issued.refresh_token.into());
    }
    json_answer(StatusCode::OK, &answer.into())
}

/// The OAuth 2.0 token endpoint (RFC 6749 §3.2): the refresh_token and client_credentials grants.
pub(super) fn oauth2(shared: &Shared, head: &Parts, body: &Bytes) -> Response<Bytes> {
    grant(shared, head, body).unwrap_or_else(|error| {
        shared.reject(error.refused);
        error.answer()
    })
}

/// The revocation endpoint (RFC 7009): any token of a family revokes all of it.
pub(super) fn revocation(shared: &Shared, head: &Parts, body: &Bytes) -> Response<Bytes> {
    let revoke = || {
        let form = Form::read(head, body)?;
        form.authenticate(shared, &head.headers)?;
        let token = form.required("token")?;
        if shared.ledger().revoke_by_token(token) {
            shared.counters.add(|counts| counts.revocations += 1);
        }
        // §2.2: a token that is not valid is revoked already.
        Ok(Response::new(Bytes::new()))
    };
    revoke().unwrap_or_else(|error: OAuthError| error.answer())
}

/// What the server says of itself (OpenID Connect Discovery): its issuer is the URL that it is asked
/// at.
pub(super) fn metadata<B>(request: &Request<B>) -> Response<Bytes> {
    let by_header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = request.uri().authority().map(|host| host.as_str()).or(by_header);
    let issuer = format!("http://{}", host.unwrap_or_default());
    let metadata = json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/oauth2/token"),
        "revocation_endpoint": format!("{issuer}/oauth2/revoke"),
    });
    json_answer(StatusCode::OK, &metadata)
}

fn grant(shared: &Shared, head: &Parts, body: &Bytes) -> Result<Response<Bytes>, OAuthError> {
    let form = Form::read(head, body)?;
    form.authenticate(shared, &head.headers)?;
    let (access_life, granted, rotate) = {
        let policy = &shared.ledger().policy;
        (policy.access_life, policy.scope.clone(), policy.rotate)
    };
    let scope = form.one("scope")?.unwrap_or(&granted);
    if !scope.split(' ').all(|wanted| granted.split(' ').any(|scope| scope == wanted)) {
        return Err(OAuthError::new("invalid_scope", "more than was granted"));
    }
    let issued = match form.required("grant_type")? {
        "refresh_token" => {
            let refreshed = shared.refresh(form.required("refresh_token")?);
            refreshed.map_err(OAuthError::from)?
        }
        "client_credentials" => shared.client_credentials(),
        _ => return Err(OAuthError::new("unsupported_grant_type", "unknown grant")),
    };
    let mut answer = Map::new();
    answer.insert("access_token".into(), issued.access_token.clone().into());
    answer.insert("token_type".into(), "Bearer".into());
    answer.insert("scope".into(), scope.into());
    if shared.settings.send_expires_in {
        let whole = access_life.subsec_nanos() == 0;
        answer.insert("expires_in".into(), expires_in(&issued, whole));
    }
    if rotate && let Some(refresh_token) = issued.refresh_token {
        answer.insert("refresh_token".into(), refresh_token.into());
    }
    Ok(json_answer(StatusCode::OK, &answer.into()))
}

/// Seconds, and a fraction only for lives that have one.
fn expires_in(issued: &Issued, whole: bool) -> Value {
    match whole {
        true => issued.life.as_secs().into(),
        false => issued.life.as_secs_f64().into(),
    }
}

struct Form(Vec<(String, String)>);

impl Form {
    fn read(head: &Parts, body: &Bytes) -> Result<Self, OAuthError> {
        if head.method != Method::POST {
            let mut error = OAuthError::new("invalid_request", "only POST will do");
            error.status = StatusCode::METHOD_NOT_ALLOWED;
            return Err(error);
        }
        if !is_media_type(&head.headers, "application/x-www-form-urlencoded") {
            return Err(OAuthError::new("invalid_request", "the body is no form"));
        }
        Ok(Self(form_urlencoded::parse(body).into_owned().collect()))
    }

    /// RFC 6749 §3.2: no parameter twice, and an empty one counts as left out.
    fn one(&self, name: &str) -> Result<Option<&str>, OAuthError> {
        let mut values = self.0.iter().filter(|(key, _)| key == name);
        let value = values.next().map(|(_, value)| value.as_str());
        if values.next().is_some() {
            return Err(OAuthError::new("invalid_request", "a parameter came twice"));
        }
        Ok(value.filter(|value| !value.is_empty()))
    }

    fn required(&self, name: &str) -> Result<&str, OAuthError> {
        self.one(name)?.ok_or_else(|| OAuthError::new("invalid_request", "a parameter is missing"))
    }

    /// Client authentication by `client_secret_basic`, `client_secret_post` or `none`
    /// (RFC 6749 §2.3).
    fn authenticate(&self, shared: &Shared, headers: &HeaderMap) -> Result<(), OAuthError> {
        let by_basic = match headers.get(header::AUTHORIZATION) {
            Some(value) => Some(basic(value).ok_or_else(|| OAuthError::client(true))?),
            None => None,
        };
        let by_post = self.one("client_secret")?;
        if by_basic.is_some() && by_post.is_some() {
            return Err(OAuthError::new("invalid_request", "authenticated twice"));
        }
        let Some((id, secret)) = &shared.settings.client else {
            return Ok(());
        };
        let tried_basic = by_basic.is_some();
        let (sent_id, sent_secret) = match by_basic {
            Some((id, secret)) => (Some(id), Some(secret)),
            None => (self.one("client_id")?.map(str::to_owned), by_post.map(str::to_owned)),
        };
        if sent_id.as_ref() != Some(id) || sent_secret != *secret {
            return Err(OAuthError::client(tried_basic));
        }
        Ok(())
    }
}

/// The id and the secret, form-urlencoded before they were put into Basic (RFC 6749 §2.3.1).
fn basic(value: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then_some(())?;
    let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((form_decoded(id), form_decoded(secret)))
}

fn form_decoded(text: &str) -> String {
    // A form with one key and no value is the text; `&` and `=` were encoded in it.
    let mut pairs = form_urlencoded::parse(text.as_bytes());
    pairs.next().map_or_else(String::new, |(key, _)| key.into_owned())
}

/// RFC 6749 §5.2.
struct OAuthError {
    status: StatusCode,
    code: &'static str,
    description: &'static str,
    challenge: bool,
    /// What is wrong with the refresh token, if it is that.
    refused: Option<Refused>,
}

impl OAuthError {
    fn new(code: &'static str, description: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, description, challenge: false, refused: None }
    }

    fn client(tried_basic: bool) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            challenge: tried_basic,
            ..Self::new("invalid_client", "unknown client or wrong secret")
        }
    }

    fn answer(self) -> Response<Bytes> {
        let error = json!({ "error": self.code, "error_description": self.description });
        let mut answer = json_answer(self.status, &error);
        if self.challenge {
            let challenge = HeaderValue::from_static("Basic realm=\"token endpoint\"");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        answer
    }
}

impl From<Refused> for OAuthError {
    fn from(refused: Refused) -> Self {
        let description = match refused {
            Refused::Unknown => "the refresh token is unknown or revoked",
            Refused::Expired => "the refresh token has expired",
            Refused::Reused => "the refresh token was spent before",
        };
        Self { refused: Some(refused), ..Self::new("invalid_grant", description) }
    }
}

fn is_media_type(headers: &HeaderMap, wanted: &str) -> bool {
    let value = headers.get(header::CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = value.split(';').next().unwrap_or("").trim();
    media_type.eq_ignore_ascii_case(wanted)
}

/// Answers with tokens in them are not for caches (RFC 6749 §5.1).
pub(super) fn json_answer(status: StatusCode, body: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
