//! What is kept of a request while it is under way.

use std::sync::Arc;

use http::{Request, Response, Version};

use crate::{
    cache::SnapshotCache,
    head::{Head, ResponseHead},
    origin::redirected_cross_origin,
    replay::{Backup, Policy},
    session::{Stamp, Token},
};

/// What a second sending takes, should the first be refused.
pub(crate) struct RetryState<S, P, B> {
    pub(crate) service: S,
    pub(crate) cache: Arc<SnapshotCache<P>>,
    /// The token that it went out with.
    pub(crate) token: Stamp,
    pub(crate) body: Backup<B>,
    /// As the caller made it.
    head: Head,
    version: Version,
}

impl<S, P, B> RetryState<S, P, B> {
    /// Puts the token on a request, and keeps what a second sending takes.
    //
    // Inlined, for the result to be made where it stays: to move it costs as much as the clock.
    #[inline(always)]
    pub(crate) fn sign(
        request: &mut Request<B>,
        token: &Token,
        service: S,
        cache: &Arc<SnapshotCache<P>>,
    ) -> Self
    where
        P: Policy<B>,
    {
        // Before the header is put in, so a second sending starts from what the caller sent.
        let head =
            Head::new(request.method(), request.uri(), request.headers(), request.extensions());
        let version = request.version();
        cache.config.rules.put(token, request.headers_mut());
        let body = cache.config.policy.backup(request.body_mut());
        Self { service, cache: cache.clone(), token: token.stamp(), body, head, version }
    }

    #[inline]
    pub(crate) fn is_refused<R>(&self, response: &Response<R>) -> bool {
        let config = &self.cache.config;
        let custom = config.rules.refused_when.as_ref().map(|predicate| (predicate, &self.head));
        let answer =
            ResponseHead::new(response.status(), response.headers(), response.extensions());
        let cross_origin = || redirected_cross_origin(&self.head.uri, response.extensions());
        config.is_refused(custom, &answer, cross_origin)
    }

    /// The request as the caller made it, and the service that is to send it. From here on the
    /// first sending is given up: what it has not read of the body yet, the second takes over.
    pub(crate) fn into_retry(self) -> Option<(S, Arc<SnapshotCache<P>>, Request<B>)> {
        let mut request = Request::new(self.body.into_body()?);
        *request.method_mut() = self.head.method;
        *request.uri_mut() = self.head.uri;
        *request.version_mut() = self.version;
        *request.extensions_mut() = self.head.extensions;
        let headers = request.headers_mut();
        headers.reserve(self.head.headers.len() + 1);
        for (name, value) in self.head.headers {
            headers.append(name, value);
        }
        Some((self.service, self.cache, request))
    }
}
