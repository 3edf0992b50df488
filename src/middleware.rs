//! The layer as a middleware of reqwest-middleware.

use async_trait::async_trait;
use http::{Extensions, Uri};
use reqwest::{Request, Response, Url};
use reqwest_middleware::{Error as MiddlewareError, Middleware, Next};

use crate::{
    error::{Error, ErrorKind},
    layer::{Policy, RefreshLayer},
    origin::differ,
    replay::Split,
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
/// [`Error::find`](crate::Error::find) digs them out.
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest-middleware")))]
#[async_trait]
impl<P> Middleware for RefreshLayer<P>
where
    P: Split<Request> + Send + Sync + 'static,
{
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response, MiddlewareError> {
        let Policy { session, rules, split } = &self.policy;
        let asked = uri(request.url()).map_err(MiddlewareError::middleware)?;
        let sign = rules.sign(&asked, request.headers(), extensions);
        if !sign.map_err(MiddlewareError::middleware)? {
            return next.run(request, extensions).await;
        }

        let token = session.token().await.map_err(MiddlewareError::middleware)?;
        // The copy is made before the header is put in, so a retry starts from what the caller
        // sent.
        let spare = split.keep(&mut request);
        rules.put(&token, request.headers_mut());
        let response = next.clone().run(request, extensions).await?;
        let elsewhere = || uri(response.url()).is_ok_and(|answered| differ(&asked, &answered));
        if !self.policy.is_refused(response.status(), response.headers(), elsewhere) {
            return Ok(response);
        }

        if spare.is_lost() {
            // For the next request.
            session.refused_in_background(token.id());
            return Ok(response);
        }
        let Ok(token) = session.replace(token.id()).await else {
            return Ok(response);
        };
        let Some(mut request) = spare.take() else {
            return Ok(response);
        };
        // Its connection may be the one that the retry needs.
        drop(response);
        rules.put(&token, request.headers_mut());
        next.run(request, extensions).await
    }
}

fn uri(url: &Url) -> Result<Uri, Error> {
    url.as_str().parse().map_err(|error| {
        Error::with_source(ErrorKind::InvalidInput, "the URL of a request is not a URI", error)
    })
}
