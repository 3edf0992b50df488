//! Whether a response comes from where its request went.

use http::{Extensions, Uri};

#[cfg(any(feature = "follow-redirect", feature = "reqwest"))]
use crate::origin::Origin;

/// Whether a client below the layer that follows redirects says that the response comes from
/// another origin than it was asked for.
#[cfg_attr(
    not(any(feature = "follow-redirect", feature = "reqwest")),
    expect(unused_variables, reason = "no such client is known")
)]
pub(crate) fn redirected_cross_origin(asked: &Uri, answer: &Extensions) -> bool {
    #[cfg(feature = "reqwest")]
    if let Some(answered) = answer.get::<tower_http_06::follow_redirect::RequestUri>()
        && is_cross_origin(asked, &answered.0)
    {
        return true;
    }
    #[cfg(feature = "follow-redirect")]
    if let Some(answered) = answer.get::<tower_http::follow_redirect::RequestUri>()
        && is_cross_origin(asked, &answered.0)
    {
        return true;
    }
    false
}

/// Whether these are of two origins. A request that does not say where it goes is of any.
#[cfg(any(feature = "follow-redirect", feature = "reqwest"))]
pub(crate) fn is_cross_origin(asked: &Uri, answered: &Uri) -> bool {
    Origin::of(asked).is_some_and(|asked| !asked.is_of(answered))
}
