//! How long a token lives, by what is known of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{AccessToken, jwt::Claims};

/// No token lives longer than ten years: whatever says so is clamped, which keeps every sum of
/// times in range.
pub(crate) const LONGEST_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The life of a token that was found lying about: `exp` against the wall clock, and never
/// longer than `exp - iat`.
pub(super) fn seeded(claims: Claims, now: SystemTime) -> (SystemTime, Option<Duration>) {
    let Some(exp) = claims.exp else {
        return (now, None);
    };
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    match claims.life() {
        Some(life) => {
            let life = life.min(LONGEST_LIFE);
            let began = UNIX_EPOCH.checked_add(exp.saturating_sub(life));
            (began.unwrap_or(now), Some(life))
        }
        None => (now, Some(exp.saturating_sub(since_epoch).min(LONGEST_LIFE))),
    }
}

/// The life of a token that an endpoint has just sent (in this order: `expires_in`; the smaller
/// of `exp - iat` and `exp` minus the answer's `Date`; `exp` against the wall clock).
///
/// The first two do not look at our own clock, so it does no harm if that is wrong.
pub(crate) fn received_life(
    expires_in: Option<Duration>,
    access_token: &AccessToken,
    date: Option<SystemTime>,
    now: SystemTime,
) -> Option<Duration> {
    if let Some(life) = expires_in {
        return Some(life.min(LONGEST_LIFE));
    }
    let claims = Claims::read(access_token.expose());
    let exp = claims.exp?;
    let until_exp =
        |from: SystemTime| exp.saturating_sub(from.duration_since(UNIX_EPOCH).unwrap_or_default());
    let by_server = [claims.life(), date.map(until_exp)].into_iter().flatten().min();
    Some(by_server.unwrap_or_else(|| until_exp(now)).min(LONGEST_LIFE))
}
