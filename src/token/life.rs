//! How long a token lives, by what is known of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::jwt::Claims;

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

/// The life of a token that an endpoint has just sent: the shortest that the server says, in its
/// answer (`stated`) or in the token. Without the answer's `Date`, `exp` counts by the wall clock.
///
/// A word of zero or less says nothing. The server's clock may be that of a proxy, ahead of the
/// issuer's, and no server sends a token that has expired.
pub(crate) fn received_life(
    stated: Option<Duration>,
    access_token: &str,
    date: Option<SystemTime>,
    now: SystemTime,
) -> Option<Duration> {
    let claims = Claims::read(access_token);
    let until_exp = claims.exp.and_then(|exp| {
        let clock = date.unwrap_or(now).duration_since(UNIX_EPOCH).unwrap_or_default();
        exp.checked_sub(clock)
    });
    let words = [stated, claims.life(), until_exp].into_iter().flatten();
    words.filter(|life| !life.is_zero()).min().map(|life| life.min(LONGEST_LIFE))
}
