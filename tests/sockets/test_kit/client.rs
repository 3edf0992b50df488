//! A client that knows nothing of tokens.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tower_refresh::{BoxError, testing::AuthServer};

pub(crate) type Http = Client<HttpConnector, Full<Bytes>>;

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub(crate) fn text(&self, field: &str) -> String {
        self.json()[field].as_str().expect(field).to_owned()
    }
}

pub(crate) fn http() -> Http {
    Client::builder(TokioExecutor::new()).build_http()
}

pub(crate) fn http2() -> Http {
    Client::builder(TokioExecutor::new()).http2_only(true).build_http()
}

pub(crate) async fn send(http: &Http, request: Request<Full<Bytes>>) -> Result<Answer, BoxError> {
    let response: Result<_, Error> = http.request(request).await;
    let (head, body) = response?.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Answer { status: head.status, headers: head.headers, body })
}

/// A refresh by Freddy's protocol.
pub(crate) async fn freddy(server: &AuthServer, refresh_token: &str) -> Result<Answer, BoxError> {
    send(&http(), freddy_call(server, refresh_token)).await
}

pub(crate) fn freddy_call(server: &AuthServer, refresh_token: &str) -> Request<Full<Bytes>> {
    let body = json!({ "refresh_token": refresh_token });
    Request::post(server.refresh_url())
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.to_string().into())
        .unwrap()
}

/// A call with a form: to the token endpoint, or to the revocation endpoint.
pub(crate) async fn form(
    url: String,
    basic: Option<&str>,
    form: &[(&str, &str)],
) -> Result<Answer, BoxError> {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let mut request = Request::post(url)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(body.into())?;
    if let Some(basic) = basic {
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, basic.parse()?);
    }
    send(&http(), request).await
}

/// A refresh by OAuth 2.0.
pub(crate) async fn oauth2(server: &AuthServer, refresh_token: &str) -> Result<Answer, BoxError> {
    let parameters = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
    form(server.token_url(), None, &parameters).await
}

/// A request to the API.
pub(crate) async fn call_api(server: &AuthServer, access_token: &str) -> Answer {
    let request = Request::get(format!("{}/orders", server.api_url()))
        .header(header::AUTHORIZATION, format!("Bearer {access_token}"))
        .body(Full::default())
        .unwrap();
    send(&http(), request).await.unwrap()
}

pub(crate) async fn accepts(server: &AuthServer, access_token: &str) -> bool {
    call_api(server, access_token).await.status == StatusCode::OK
}
