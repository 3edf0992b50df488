//! A connection to a host through a proxy that is asked for a tunnel (`CONNECT`, RFC 9110 §9.3.6).

use std::{
    error, fmt,
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{
    Method, Request, StatusCode, Uri,
    header::{HOST, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT},
};
use http_body_util::Empty;
use hyper::{
    client::conn::http1,
    rt::{Read, Write},
    upgrade,
};
use tower_service::Service;

use super::proxy::Proxy;
use crate::error::BoxError;

/// Connects to the proxy, and through it to whatever is asked for.
#[derive(Clone)]
pub(super) struct Tunnel<C> {
    connector: C,
    proxy: Proxy,
}

impl<C> Tunnel<C> {
    pub(super) fn new(connector: C, proxy: Proxy) -> Self {
        Self { connector, proxy }
    }

    fn connect(&self, target: &Uri) -> Result<Request<Empty<Bytes>>, http::Error> {
        let host = target.host().unwrap_or_default();
        let authority = format!("{host}:{}", target.port_u16().unwrap_or(443));
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(&authority)
            .header(HOST, authority)
            .header(USER_AGENT, concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())?;
        let authorization = self.proxy.authorization.clone();
        let authorization = authorization.map(|value: HeaderValue| (PROXY_AUTHORIZATION, value));
        request.headers_mut().extend(authorization);
        Ok(request)
    }
}

impl<C> Service<Uri> for Tunnel<C>
where
    C: Service<Uri, Error: Into<BoxError>, Future: Send + 'static>,
    C::Response: Read + Write + Unpin + Send + 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let request = self.connect(&target);
        let connecting = self.connector.call(self.proxy.uri.clone());
        Box::pin(async move {
            let request = request?;
            let stream = connecting.await.map_err(Into::into)?;
            tunnel(stream, request).await
        })
    }
}

async fn tunnel<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<S, BoxError>
where
    S: Read + Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(stream).await?;
    let call = pin!(async move {
        let answer = sender.send_request(request).await?;
        match answer.status() {
            status if status.is_success() => Ok(upgrade::on(answer).await?),
            status => Err(BoxError::from(Refused(status))),
        }
    });
    let upgraded = match select(call, pin!(connection.with_upgrades())).await {
        Either::Left((upgraded, _)) => upgraded?,
        // It hands the stream over, or has failed, and the call knows.
        Either::Right((_, call)) => call.await?,
    };
    let parts = upgraded.downcast::<S>().map_err(|_| "the tunnel is over another stream")?;
    match parts.read_buf.is_empty() {
        true => Ok(parts.io),
        false => Err("the host spoke first, as no TLS server does".into()),
    }
}

/// The proxy gave no tunnel.
#[derive(Debug)]
pub(super) struct Refused(pub(super) StatusCode);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy answered {} to CONNECT", self.0.as_u16())
    }
}

impl error::Error for Refused {}
