//! Which requests count as of one route, where one route refuses and another does not.

use std::{
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::LazyLock,
};

use http::Uri;

use crate::{origin::Origin, session::Route};

/// The origin and the first three segments of the path, without what looks like an identifier.
///
/// Paths hold secrets and the names of people, so only a hash is kept of them, and of a key that
/// changes with each process.
pub(super) fn route(uri: &Uri, assumed: Option<&Origin>) -> Route {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

    let mut hasher = KEY.build_hasher();
    Origin::of(uri).as_ref().or(assumed).hash(&mut hasher);
    let segments = uri.path().split('/').filter(|segment| !segment.is_empty());
    for segment in segments.take(3) {
        if is_identifier(segment) { "*" } else { segment }.hash(&mut hasher);
    }
    Route(hasher.finish())
}

fn is_identifier(segment: &str) -> bool {
    segment.len() > 20 || segment.bytes().any(|byte| byte.is_ascii_digit() || byte == b'@')
}

#[cfg(test)]
mod tests {
    use super::*;

    // S71: a route that refuses whatever token it is shown costs at most the budget, and the others
    // never fail for it, as long as there are at most eight such routes
    #[test]
    fn a_route_is_an_origin_and_three_segments_without_identifiers() {
        let of = |uri: &'static str| route(&Uri::from_static(uri), None);
        let same = |a, b| of(a) == of(b);
        assert!(same("https://a.example/orders/1/items", "https://a.example/orders/22/items?x=y"));
        assert!(same("https://a.example/u/ann@b.c", "https://A.example:443/u/bob@b.c/"));
        assert!(same(
            "https://a.example/k/abcdefghijklmnopqrstu",
            "https://a.example/k/bcdefghijklmnopqrstuv"
        ));
        assert!(same("https://a.example/a/b/c/d", "https://a.example/a/b/c/e/f"));
        assert!(!same("https://a.example/orders", "https://a.example/admin"));
        assert!(!same("https://a.example/a/b/c", "https://a.example/a/b/d"));
        assert!(!same("https://a.example/orders", "https://b.example/orders"));
        assert!(!same("https://a.example/orders", "https://a.example:8443/orders"));
        assert!(!same("https://a.example/ab/c", "https://a.example/a/bc"));
        let origin = "https://a.example".parse().unwrap();
        let relative = route(&Uri::from_static("/orders"), Some(&origin));
        assert_eq!(relative, of("https://a.example/orders"));
        assert!(!format!("{relative:?}").contains("orders"));
    }
}
