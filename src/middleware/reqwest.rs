//! The layer as a middleware of reqwest-middleware.
//!
//! It tells in one function what `service`, `retry` and `future` do under Tower: read it first.

use std::{error, fmt};

use async_trait::async_trait;
use http::{Extensions, Uri};
use reqwest::{Request, Response, Url};
use reqwest_middleware::{Error as MiddlewareError, Middleware, Next};
use tokio::time::Instant;

use super::{
    head::{RequestHead, ResponseHead, list},
    kept::Kept,
    layer::RefreshLayer,
    redirect::is_cross_origin,
    route::route,
    rules::Config,
};
use crate::{
    error::{Error, ErrorKind},
    replay::{Backup, Policy},
    session::Refused,
};

/// A layer is a middleware too, with all its options: `.with(RefreshLayer::new(session))`.
///
/// ```no_run
/// # fn doc(session: tower_refresh::Session) {
/// use reqwest_middleware::ClientBuilder;
/// use tower_refresh::RefreshLayer;
///
/// let client = ClientBuilder::new(reqwest::Client::new())
///     .with(RefreshLayer::new(session))
///     .build();
/// # }
/// ```
///
/// A request opts out by `.with_extension(NoToken)`. One whose body is a stream is sent once, and
/// its refusal is handed through. A refusal that a redirect of reqwest's has brought from another
/// origin is none.
///
/// Middlewares that are added later run again for the retry. Put one that retries or logs whole
/// requests before this one, and one that signs or logs each sending after it.
///
/// # Errors
///
/// Those of the session come as `reqwest_middleware::Error::Middleware`, and
/// [`Error::find`](crate::Error::find) digs them out, also from under other middlewares such as
/// those of reqwest-retry.
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest-middleware")))]
#[async_trait]
impl<P> Middleware for RefreshLayer<P>
where
    P: Policy<Request> + Send + Sync + 'static,
{
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response, MiddlewareError> {
        let Config { session, rules, policy } = &self.config;
        let asked = uri(request.url()).map_err(not_sent)?;
        if !self.config.signs(&asked, request.headers(), extensions).map_err(not_sent)? {
            return next.run(request, extensions).await;
        }

        let mut token = session.token().await.map_err(not_sent)?;
        let (mut retried_at, mut kept) = (None, None);
        loop {
            // Both are kept before the header is put in, so a retry starts from what the caller
            // sent, and a predicate sees it.
            let backup = match retried_at.is_some() && rules.acceptance_delay.is_zero() {
                false => policy.backup(&mut request),
                true => Backup::none(),
            };
            let head = rules
                .refused_when
                .is_some()
                .then(|| (request.method().clone(), list(request.headers()), extensions.clone()));
            rules.put(&token, request.headers_mut());
            let mut response =
                Kept::during(kept.take(), next.clone().run(request, extensions)).await?;
            if rules.reports_token {
                response.extensions_mut().insert(token.id());
            }

            let custom = rules.refused_when.as_ref().zip(head.as_ref().map(|head| {
                let (method, headers, extensions) = head;
                RequestHead { method, uri: &asked, headers, extensions }
            }));
            let answer =
                ResponseHead::new(response.status(), response.headers(), response.extensions());
            let cross_origin =
                || uri(response.url()).is_ok_and(|answered| is_cross_origin(&asked, &answered));
            let route = || route(&asked, rules.origin.as_ref());
            if !self.config.is_refused(custom, &answer, cross_origin) {
                if (retried_at.is_some() || session.watches_routes())
                    && !response.status().is_server_error()
                {
                    session.accepted(token.id(), route(), retried_at);
                }
                return Ok(response);
            }

            let is_retried = !backup.is_unavailable();
            let refused = Refused { token: token.id(), route: Some(route()), is_retried };
            let successor = session.after_refusal(refused, retried_at, rules.acceptance_delay);
            let Some(successor) = successor else { return Ok(response) };
            let Ok(successor) = successor.await else { return Ok(response) };
            let Some(body) = backup.into_body() else { return Ok(response) };
            if retried_at.is_some() || successor.id() != token.id() {
                retried_at = Some(Instant::now());
            }
            let version = response.version();
            kept = Kept::new(response, version);
            (request, token) = (body, successor);
        }
    }
}

fn uri(url: &Url) -> Result<Uri, Error> {
    url.as_str().parse().map_err(|error| {
        Error::with_source(ErrorKind::InvalidInput, "the URL of a request is not a URI", error)
    })
}

/// Carries an error of ours through the errors of other middlewares.
///
/// They wrap it transparently, each as if it were what it wraps: the `source` of all of them is
/// that of the innermost, which skips the innermost itself. So that is to be this one.
#[derive(Debug)]
struct NotSent {
    source: Error,
}

fn not_sent(source: Error) -> MiddlewareError {
    MiddlewareError::middleware(NotSent { source })
}

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request was not sent")
    }
}

impl error::Error for NotSent {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.source)
    }
}
