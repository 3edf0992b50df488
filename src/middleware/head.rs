//! What a predicate of the user's gets to see of a request and of its response.

use std::fmt;

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

/// The head of a request, as the caller made it: without the token.
///
/// [`RefreshLayer::refused_when`](crate::RefreshLayer::refused_when) passes it to its predicate.
pub struct RequestHead<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a [(HeaderName, HeaderValue)],
    pub(crate) extensions: &'a Extensions,
}

/// The head of a response.
///
/// [`RefreshLayer::refused_when`](crate::RefreshLayer::refused_when) passes it to its predicate.
pub struct ResponseHead<'a> {
    status: StatusCode,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
}

impl<'a> RequestHead<'a> {
    /// The request's method.
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// The request's URI.
    pub fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// The first value of a header.
    pub fn header(&self, name: &HeaderName) -> Option<&'a HeaderValue> {
        self.headers().find(|(header, _)| *header == name).map(|(_, value)| value)
    }

    /// All headers; one that has several values comes several times.
    pub fn headers(&self) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> + use<'a> {
        self.headers.iter().map(|(name, value)| (name, value))
    }

    /// What the caller has put into the request's extensions.
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&'a T> {
        self.extensions.get()
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
}

/// The headers of a request that is under way, to be kept: hardly any are ever read again, and a
/// list is smaller and made faster than a second map.
#[inline(always)]
pub(crate) fn list(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    if headers.is_empty() {
        return Vec::new();
    }
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
