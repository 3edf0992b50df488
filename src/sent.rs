//! What is kept of a request while it is under way.

use std::sync::Arc;

use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version,
};

use crate::{
    lane::Lane,
    origin::is_elsewhere,
    replay::{Spare, Split},
    session::{Token, TokenId},
};

/// What a second sending takes, should the first be refused.
pub(crate) struct Sent<S, P, B> {
    pub(crate) service: S,
    pub(crate) lane: Arc<Lane<P>>,
    /// The token that it went out with.
    pub(crate) token: TokenId,
    pub(crate) body: Spare<B>,
    // The head, as the caller made it.
    method: Method,
    uri: Uri,
    version: Version,
    /// A list: hardly any is ever sent again, and a list is smaller and made faster than a second
    /// map.
    headers: Vec<(HeaderName, HeaderValue)>,
    extensions: Extensions,
}

impl<S, P, B> Sent<S, P, B> {
    /// Puts the token on a request, and keeps what a second sending takes.
    //
    // Inlined, for the result to be made where it stays: to move it costs as much as the clock.
    #[inline(always)]
    pub(crate) fn sign(
        request: &mut Request<B>,
        token: &Token,
        service: S,
        lane: &Arc<Lane<P>>,
    ) -> Self
    where
        P: Split<B>,
    {
        // Before the header is put in, so a second sending starts from what the caller sent.
        let method = request.method().clone();
        let uri = request.uri().clone();
        let version = request.version();
        let headers = match request.headers() {
            none if none.is_empty() => Vec::new(),
            some => list(some),
        };
        let extensions = request.extensions().clone();
        lane.rules.put(token, request.headers_mut());
        let body = lane.split.keep(request.body_mut());
        let (lane, token) = (lane.clone(), token.id());
        Self { service, lane, token, body, method, uri, version, headers, extensions }
    }

    #[inline]
    pub(crate) fn is_refused<R>(&self, response: &Response<R>) -> bool {
        let elsewhere = || is_elsewhere(&self.uri, response.extensions());
        self.lane.is_refused(response.status(), response.headers(), elsewhere)
    }

    /// The request as the caller made it, and who is to send it. From here on the first sending is
    /// given up: what it has not read of the body yet, the second takes over.
    pub(crate) fn again(self) -> Option<(S, Arc<Lane<P>>, Request<B>)> {
        let mut request = Request::new(self.body.take()?);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.version_mut() = self.version;
        *request.extensions_mut() = self.extensions;
        let headers = request.headers_mut();
        headers.reserve(self.headers.len() + 1);
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        Some((self.service, self.lane, request))
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
