//! One HTTP call to a token endpoint, over any transport.

use std::{
    fmt, mem,
    pin::pin,
    task::{Context, Poll},
    time::SystemTime,
};

use bytes::{Buf, Bytes};
use form_urlencoded::Serializer;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri,
    header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT},
};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use tower::{ServiceExt, util::BoxCloneSyncService};
use tower_service::Service;
use zeroize::Zeroizing;

use super::{
    answer::{Answer, retry_after},
    discovery::Wanted,
    error::{EndpointError, Spent},
    no_proxy::NoProxy,
    reader::{Body, Reader, Speaks},
    secrets::Secrets,
    unsent::unsent_or_lost,
    url::{EndpointUrl, Place},
};
use crate::{error::BoxError, token::Wiped};

/// Far more than any token answer needs, and little enough to hold.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The same of an issuer's metadata.
const MAX_METADATA_BYTES: usize = 64 * 1024;

type Transport =
    BoxCloneSyncService<Request<Full<Bytes>>, Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError>;

/// Where and how the calls go out. A clone has a transport of its own, with its own readiness.
#[derive(Clone)]
pub(super) struct Exchange {
    url: EndpointUrl,
    transport: Transport,
    pub(super) headers: HeaderMap,
    pub(super) max_body_bytes: usize,
    no_proxy: bool,
    /// The transport has been called since it was last known to be ready.
    is_used: bool,
}

impl Exchange {
    pub(super) fn new(url: EndpointUrl) -> Self {
        Self {
            url,
            transport: default_transport(),
            headers: HeaderMap::new(),
            max_body_bytes: MAX_BODY_BYTES,
            no_proxy: false,
            is_used: false,
        }
    }

    pub(super) fn transport<S, B>(&mut self, transport: S)
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: http_body::Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.transport = boxed(transport);
    }

    pub(super) fn url(&self) -> &EndpointUrl {
        &self.url
    }

    /// Lets the default client use no proxy.
    pub(super) fn no_proxy(&mut self) {
        self.no_proxy = true;
    }

    /// Adds a header to every call. Its value may be a key, so `Debug` is not to show it.
    pub(super) fn header(&mut self, name: HeaderName, mut value: HeaderValue) {
        value.set_sensitive(true);
        self.headers.append(name, value);
    }

    /// What goes out with every call and may be a key: values of headers, and of the query.
    pub(super) fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::default();
        let public = |name: &HeaderName| *name == ACCEPT || *name == USER_AGENT;
        for (_, value) in self.headers.iter().filter(|(name, _)| !public(name)) {
            // A scheme may stand before the key.
            let words = value.to_str().unwrap_or_default().split_ascii_whitespace();
            words.for_each(|word| secrets.add_if_long(word));
        }
        let query = match self.url.place() {
            Place::Known(uri) => uri.query().unwrap_or_default(),
            // Its metadata are public.
            Place::Of(_) => "",
        };
        // As it stands there, and as it is read.
        query.split(['&', '=']).for_each(|part| secrets.add_if_long(part));
        for (_, value) in form_urlencoded::parse(query.as_bytes()) {
            secrets.add_if_long(&value);
        }
        secrets
    }

    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), EndpointError>> {
        // Nothing is sent before it is ready.
        let ready = self.transport.poll_ready(cx);
        ready.map_err(|error| unsent_or_lost(error).with_spent(Spent::No))
    }

    /// Where the call goes. An issuer's metadata are read for it, once; what it means that there are
    /// none goes by whether the endpoint has worked before.
    pub(super) async fn uri(
        &mut self,
        wanted: Wanted,
        has_worked: bool,
    ) -> Result<Uri, EndpointError> {
        let issuer = match self.url.place() {
            Place::Known(uri) => return Ok(uri.clone()),
            Place::Of(issuer) => issuer.clone(),
        };
        if let Some(found) = issuer.find(wanted) {
            return found;
        }
        let mut reading = match issuer.turn(wanted, has_worked).await {
            Ok(reading) => reading,
            Err(found) => return found,
        };
        loop {
            let place = reading.next_place();
            let answer = self.fetch(place.clone()).await;
            if let Some(end) = reading.found(&place, answer) {
                return end;
            }
        }
    }

    /// Sends `call` to `uri` and reads the answer, until it `speaks` or to its end. The first sending uses the readiness that
    /// the call began with, and each further one readies the transport anew.
    pub(super) async fn send(
        &mut self,
        uri: Uri,
        call: Call,
        speaks: &Speaks,
    ) -> Result<Answer, EndpointError> {
        let mut request = Request::new(Full::new(Bytes::from_owner(Wiped(call.body))));
        *request.method_mut() = call.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = with_ours(self.headers.clone(), call.headers);
        let answer = self.exchange(request, self.max_body_bytes, speaks).await;
        let is_elsewhere = match &answer {
            Ok(answer) => matches!(answer.status.as_u16(), 300..=399 | 404 | 405 | 410),
            Err(error) => error.spent() == Spent::No && error.status().is_none(),
        };
        if let Place::Of(issuer) = self.url.place()
            && is_elsewhere
        {
            issuer.doubt();
        }
        answer
    }

    /// Gets a public document, with none of the endpoint's own headers: they may be keys.
    async fn fetch(&mut self, uri: Uri) -> Result<Answer, EndpointError> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = uri;
        *request.headers_mut() = with_ours(HeaderMap::new(), HeaderMap::new());
        let answer = self.exchange(request, MAX_METADATA_BYTES, &|_| false).await?;
        match answer.body {
            Body::Lost(_) => Err(answer.unreadable(true, &Secrets::default())),
            _ => Ok(answer),
        }
    }

    async fn exchange(
        &mut self,
        mut request: Request<Full<Bytes>>,
        max_body_bytes: usize,
        speaks: &Speaks,
    ) -> Result<Answer, EndpointError> {
        if self.no_proxy {
            request.extensions_mut().insert(NoProxy);
        }
        if mem::replace(&mut self.is_used, true) {
            let ready = self.transport.ready().await;
            ready.map_err(|error| unsent_or_lost(error).with_spent(Spent::No))?;
        }
        let response = self.transport.call(request).await;
        let (head, body) = response.map_err(unsent_or_lost)?.into_parts();
        let (body, broken) = read(Reader::new(&head.headers, max_body_bytes, speaks), body).await;
        Ok(Answer { status: head.status, headers: head.headers, body, broken })
    }
}

/// The headers of every call, and those of this one, which count.
fn with_ours(mut headers: HeaderMap, of_this_call: HeaderMap) -> HeaderMap {
    headers.extend(of_this_call);
    // GitHub answers a form unless it is asked for JSON, and firewalls distrust the nameless.
    let json = HeaderValue::from_static("application/json");
    headers.entry(ACCEPT).or_insert(json);
    // What comes compressed all the same is inflated.
    let identity = HeaderValue::from_static("identity");
    headers.entry(ACCEPT_ENCODING).or_insert(identity);
    let us = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
    let us = HeaderValue::from_static(us);
    headers.entry(USER_AGENT).or_insert(us);
    headers
}

/// What one sending is, beside where it goes and what every call has.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Call {
    /// A POST of a form, which is wiped when it has been sent.
    pub(super) fn form(pairs: &[(&str, &str)]) -> Self {
        // Room enough that no growing string leaves a copy of a secret behind.
        let room = pairs.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2);
        let mut form = Zeroizing::new(String::with_capacity(room.sum()));
        Serializer::new(&mut *form).extend_pairs(pairs);
        let body = Zeroizing::new(mem::take(&mut *form).into_bytes());
        Self::post("application/x-www-form-urlencoded", body)
    }

    /// A POST of a JSON text.
    pub(super) fn json(body: Zeroizing<Vec<u8>>) -> Self {
        Self::post("application/json", body)
    }

    /// A POST without a body.
    pub(super) fn bare() -> Self {
        Self { method: Method::POST, headers: HeaderMap::new(), body: Zeroizing::default() }
    }

    fn post(content_type: &'static str, body: Zeroizing<Vec<u8>>) -> Self {
        let content_type = (CONTENT_TYPE, HeaderValue::from_static(content_type));
        let headers = HeaderMap::from_iter([content_type]);
        Self { headers, body, ..Self::bare() }
    }

    /// Adds the `Authorization` header, if there is one.
    pub(super) fn authorized(mut self, authorization: Option<HeaderValue>) -> Self {
        self.headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
        self
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("url", &self.url)
            .field("headers", &self.headers)
            .field("max_body_bytes", &self.max_body_bytes)
            .finish_non_exhaustive()
    }
}

/// Adds what the server says about when to come back.
pub(super) fn with_retry_after(error: EndpointError, headers: &HeaderMap) -> EndpointError {
    if !headers.contains_key(RETRY_AFTER) {
        return error;
    }
    match retry_after(headers, SystemTime::now()) {
        Some(pause) => error.with_retry_after(pause),
        None => error,
    }
}

/// Reads a body for as long as there is need of more, and says what broke it off. How long that may
/// take, the caller decides.
async fn read<B>(mut reader: Reader<'_>, body: B) -> (Body, Option<BoxError>)
where
    B: http_body::Body<Data = Bytes, Error = BoxError>,
{
    let mut body = pin!(body);
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return (reader.end(true), Some(error)),
        };
        if let Ok(data) = frame.into_data()
            && !reader.push(&data)
        {
            break;
        }
    }
    (reader.end(false), None)
}

fn boxed<S, B>(transport: S) -> Transport
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    let bytes = |mut data: B::Data| data.copy_to_bytes(data.remaining());
    let transport = transport
        .map_response(move |response: Response<B>| {
            response.map(|body| {
                body.map_frame(move |frame| frame.map_data(bytes))
                    .map_err(Into::into)
                    .boxed_unsync()
            })
        })
        .map_err(Into::into);
    BoxCloneSyncService::new(transport)
}

#[cfg(feature = "transport")]
fn default_transport() -> Transport {
    boxed(super::transport::DefaultTransport)
}

#[cfg(not(feature = "transport"))]
fn default_transport() -> Transport {
    BoxCloneSyncService::new(tower::service_fn(async |_| {
        let none = "the token endpoint has no transport: give it one with `transport`, or turn on \
                    the feature `transport`";
        Err(EndpointError::misconfigured(none).into())
    }))
}
