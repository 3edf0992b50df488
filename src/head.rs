//! What a predicate of the user's gets to see of a request and of its response.

use std::fmt;

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use crate::refusal::{Verdict, standard};

/// The head of a request, as the caller made it: without the token.
///
/// [`RefreshLayer::refused_when`](crate::RefreshLayer::refused_when) passes it to its predicate.
pub struct RequestHead<'a> {
    head: &'a Head,
}

/// The head of a response.
///
/// [`RefreshLayer::refused_when`](crate::RefreshLayer::refused_when) passes it to its predicate.
pub struct ResponseHead<'a> {
    status: StatusCode,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
}

/// The head of a request, kept while the request is under way.
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    /// A list: hardly any is ever read again, and a list is smaller and made faster than a second
    /// map.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) extensions: Extensions,
}

impl<'a> RequestHead<'a> {
    pub(crate) fn new(head: &'a Head) -> Self {
        Self { head }
    }

    /// The request's method.
    pub fn method(&self) -> &'a Method {
        &self.head.method
    }

    /// The request's URI.
    pub fn uri(&self) -> &'a Uri {
        &self.head.uri
    }

    /// The first value of a header.
    pub fn header(&self, name: &HeaderName) -> Option<&'a HeaderValue> {
        self.headers().find(|(header, _)| *header == name).map(|(_, value)| value)
    }

    /// All headers; one that has several values comes several times.
    pub fn headers(&self) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> + use<'a> {
        self.head.headers.iter().map(|(name, value)| (name, value))
    }

    /// What the caller has put into the request's extensions.
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&'a T> {
        self.head.extensions.get()
    }
}

impl<'a> ResponseHead<'a> {
    #[inline]
    pub(crate) fn new(
        status: StatusCode,
        headers: &'a HeaderMap,
        extensions: &'a Extensions,
    ) -> Self {
        Self { status, headers, extensions }
    }

    /// The response's status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The response's headers.
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// What the services inside have put into the response's extensions.
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&'a T> {
        self.extensions.get()
    }

    /// Whether the layer takes it for a refusal by itself: a 401, unless its challenge says that
    /// the token is valid but not enough, or gRPC's `UNAUTHENTICATED` in the headers of a 200.
    pub fn is_refusal(&self) -> bool {
        standard(self) == Verdict::Refused
    }
}

impl Head {
    #[inline(always)]
    pub(crate) fn new(
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Self {
        let headers = match headers {
            none if none.is_empty() => Vec::new(),
            some => list(some),
        };
        let (method, uri, extensions) = (method.clone(), uri.clone(), extensions.clone());
        Self { method, uri, headers, extensions }
    }
}

#[inline(always)]
fn list(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let mut list = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        list.push((name.clone(), value.clone()));
    }
    list
}

// Headers and the URI's query may hold secrets of the caller's.
impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead").field("method", self.method()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ResponseHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseHead").field("status", &self.status).finish_non_exhaustive()
    }
}
