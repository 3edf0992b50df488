//! An axum service that forwards requests to an API, with a token of its own.

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderName, StatusCode, Uri,
    header::{
        AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, SET_COOKIE, TE, TRAILER,
        TRANSFER_ENCODING, UPGRADE,
    },
    uri::Parts,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::{ServiceBuilder, ServiceExt};
use tower_refresh::{
    BoxError, Error, Refresh, RefreshLayer, Session,
    replay::{Rewrap, RewrapFn},
};

/// The client, as the gateway's state names it.
type Upstream = Refresh<Client<HttpConnector, Body>, RewrapFn<Body>>;

#[derive(Clone)]
struct Gateway {
    client: Upstream,
    upstream: Uri,
}

/// Forwards everything to the origin `upstream`.
pub(crate) fn gateway(session: Session, upstream: Uri) -> Result<Router, BoxError> {
    // axum's body can be built from any other, and so it can be recorded. Bodies of up to 64 KiB
    // are sent again if the token is refused, and larger ones stream through.
    let recorded: RewrapFn<Body> = Rewrap(Body::new);
    let origin = upstream.clone().try_into()?;
    let layer = RefreshLayer::new(session).only_for([origin]).replay_with(recorded);
    let client = ServiceBuilder::new()
        .layer(layer)
        .service(Client::builder(TokioExecutor::new()).build_http::<Body>());
    Ok(Router::new().fallback(forward).with_state(Gateway { client, upstream }))
}

async fn forward(State(gateway): State<Gateway>, mut request: Request) -> Response {
    let Some(uri) = onto(&gateway.upstream, request.uri()) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    *request.uri_mut() = uri;
    *request.version_mut() = http::Version::default();
    let headers = request.headers_mut();
    remove_hop_by_hop(headers);
    // The user's credentials are for this service. What is left in place here, the layer would
    // take for a token that the caller has chosen, and leave it alone.
    headers.remove(AUTHORIZATION);
    headers.remove(COOKIE);
    // The client sets these anew.
    headers.remove(HOST);
    headers.remove(CONTENT_LENGTH);

    match gateway.client.oneshot(request).await {
        // Still refused: it is this service that has to log in, and not its user.
        Ok(response) if response.status() == StatusCode::UNAUTHORIZED => {
            StatusCode::BAD_GATEWAY.into_response()
        }
        Ok(mut response) => {
            remove_hop_by_hop(response.headers_mut());
            // It would be a session of this service's, in the hands of its user.
            response.headers_mut().remove(SET_COOKIE);
            response.map(Body::new)
        }
        Err(error) => {
            let transient = Error::find(error.as_ref()).is_some_and(Error::is_transient);
            let status =
                if transient { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::BAD_GATEWAY };
            status.into_response()
        }
    }
}

/// The same path and query at `upstream`, wherever the request says it goes.
fn onto(upstream: &Uri, uri: &Uri) -> Option<Uri> {
    let path = uri.path_and_query().filter(|path| path.as_str().starts_with('/'))?;
    let mut parts = Parts::default();
    parts.scheme = upstream.scheme().cloned();
    parts.authority = upstream.authority().cloned();
    parts.path_and_query = Some(path.clone());
    Uri::from_parts(parts).ok()
}

/// Takes off what is meant for this connection only (RFC 9110 §7.6.1): `Connection`, what it
/// names, and what was sent by those who did not know that it has to be named.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let proxies = |name: &&HeaderName| name.as_str().starts_with("proxy-");
    let proxies: Vec<HeaderName> = headers.keys().filter(proxies).cloned().collect();
    let known = [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
    let keep_alive = HeaderName::from_static("keep-alive");
    for name in known.into_iter().chain([keep_alive]).chain(named).chain(proxies) {
        headers.remove(name);
    }
}
