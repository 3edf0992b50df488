//! What is kept of a request while it is under way.

use std::sync::Arc;

use http::{
    Extensions, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
};
use tokio::time::Instant;

use super::{
    cache::SnapshotCache,
    head::{RequestHead, ResponseHead, list},
    redirect::redirected_cross_origin,
    route::route,
    rules::Config,
};
use crate::{
    replay::{Backup, Policy},
    session::{Refused, Route, Token, TokenId},
};

/// What a second sending takes, should the first be refused.
pub(crate) struct RetryState<S, P, B> {
    pub(crate) service: S,
    pub(crate) cache: Arc<SnapshotCache<P>>,
    /// The token that it went out with.
    pub(crate) token: TokenId,
    body: Backup<B>,
    // The head, as the caller made it. Each part is a field of its own: a struct of them would be
    // dropped by a call of its own, which costs each request a dozen instructions.
    method: Method,
    uri: Uri,
    version: Version,
    headers: Vec<(HeaderName, HeaderValue)>,
    extensions: Extensions,
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
        keeps_body: bool,
    ) -> Self
    where
        P: Policy<B>,
    {
        // Before the header is put in, so a second sending starts from what the caller sent.
        let method = request.method().clone();
        let uri = request.uri().clone();
        let version = request.version();
        let headers = list(request.headers());
        let extensions = request.extensions().clone();
        cache.config.rules.put(token, request.headers_mut());
        let body = match keeps_body {
            true => cache.config.policy.backup(request.body_mut()),
            false => Backup::none(),
        };
        let (cache, token) = (cache.clone(), token.id());
        Self { service, cache, token, body, method, uri, version, headers, extensions }
    }

    #[inline(always)]
    pub(crate) fn is_refused<R>(&self, response: &Response<R>) -> bool {
        let config = &self.cache.config;
        let custom = config.rules.refused_when.as_ref().map(|predicate| {
            let Self { method, uri, headers, extensions, .. } = self;
            (predicate, RequestHead { method, uri, headers, extensions })
        });
        let answer =
            ResponseHead::new(response.status(), response.headers(), response.extensions());
        let cross_origin = || redirected_cross_origin(&self.uri, response.extensions());
        config.is_refused(custom, &answer, cross_origin)
    }

    /// A response that is no refusal: what it tells of its route is noted where others have refused.
    #[inline(always)]
    pub(crate) fn accepted<R>(&self, response: &mut Response<R>, retried_at: Option<Instant>) {
        let Config { session, rules, .. } = &*self.cache.config;
        if retried_at.is_some() || session.watches_routes() {
            self.note(response.status(), retried_at);
        }
        if rules.reports_token {
            self.report(response);
        }
    }

    #[cold]
    fn note(&self, status: StatusCode, retried_at: Option<Instant>) {
        if !status.is_server_error() {
            self.cache.config.session.accepted(self.token, self.route(), retried_at);
        }
    }

    pub(crate) fn refused(&self) -> Refused {
        let is_retried = !self.body.is_unavailable();
        Refused { token: self.token, route: Some(self.route()), is_retried }
    }

    fn route(&self) -> Route {
        route(&self.uri, self.cache.config.rules.origin.as_ref())
    }

    /// Tells the caller which token a response is about, if the layer is to do so.
    #[cold]
    pub(crate) fn report<R>(&self, response: &mut Response<R>) {
        if self.cache.config.rules.reports_token {
            response.extensions_mut().insert(self.token);
        }
    }

    /// The request as the caller made it, and the service that is to send it. From here on the
    /// first sending is given up: what it has not read of the body yet, the second takes over.
    pub(crate) fn into_retry(self) -> Option<(S, Arc<SnapshotCache<P>>, Request<B>)> {
        let mut request = Request::new(self.body.into_body()?);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.version_mut() = self.version;
        *request.extensions_mut() = self.extensions;
        let headers = request.headers_mut();
        headers.reserve(self.headers.len() + 1);
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        Some((self.service, self.cache, request))
    }
}
