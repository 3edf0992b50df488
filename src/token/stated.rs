//! What servers write where they say how long an access token lives: how long, or until when, in
//! seconds or milliseconds, as a number or as text, under a dozen names.
//!
//! What a value means is read from the value: nothing that lives is a thousand million seconds old.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

/// From here on a number of seconds is a time, in 2001 or later, and no life.
const FIRST_TIME: f64 = 1e9;

/// 2001-01-01 and 2100-01-01, in seconds since the epoch.
const CENTURY: (f64, f64) = (978_307_200.0, 4_102_444_800.0);

/// The shortest life that the fields of an answer state, `clock` being that of the server if it
/// tells it.
pub(crate) fn stated_life(object: &Map<String, Value>, clock: SystemTime) -> Option<Duration> {
    let of = |(name, value): (&String, &Value)| {
        let unit = unit_of(name)?;
        life(number_or_time(value)?.in_unit(unit), clock)
    };
    object.iter().filter_map(of).min()
}

/// The life that the value of one field states, whatever it is called. `None` for one that is over:
/// a server does not send a token that has expired, but some write a zero for "I do not say".
pub(crate) fn stated_by(value: &Value, clock: SystemTime) -> Option<Duration> {
    life(number_or_time(value)?, clock)
}

/// Times since the epoch from a number of seconds or milliseconds. Dates before 1970 count as 1970
/// (over, either way). One after 2100 says nothing: 9999-12-31 is "never".
pub(super) fn time_of(value: &Value) -> Option<Duration> {
    match number_or_time(value)? {
        Stated::Number(number) => since_epoch(number),
        Stated::Time(time) => Some(time),
    }
}

#[derive(Clone, Copy)]
enum Stated {
    Number(f64),
    /// Since the epoch.
    Time(Duration),
}

impl Stated {
    fn in_unit(self, seconds: f64) -> Self {
        match self {
            Self::Number(number) => Self::Number(number * seconds),
            time => time,
        }
    }
}

fn life(stated: Stated, clock: SystemTime) -> Option<Duration> {
    let until = match stated {
        Stated::Number(number) if number < FIRST_TIME => {
            return Duration::try_from_secs_f64(number).ok().filter(|life| !life.is_zero());
        }
        Stated::Number(number) => since_epoch(number)?,
        Stated::Time(time) => time,
    };
    let left = UNIX_EPOCH.checked_add(until)?.duration_since(clock).ok();
    left.filter(|left| !left.is_zero())
}

fn since_epoch(number: f64) -> Option<Duration> {
    let (first, last) = CENTURY;
    let seconds = match number {
        _ if number <= last => number,
        _ if (first..=last).contains(&(number / 1000.0)) => number / 1000.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds.max(0.0)).ok()
}

fn number_or_time(value: &Value) -> Option<Stated> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => match text.trim().parse() {
            Ok(number) => number,
            Err(_) => return time_in(text.trim()).map(Stated::Time),
        },
        _ => return None,
    };
    number.is_finite().then_some(Stated::Number(number))
}

/// How many seconds the unit of a field has that states the life of an access token; `None` for any
/// other field, those on the life of a refresh token (`refresh_expires_in`) and on the life in an
/// outage (`ext_expires_in`) included.
fn unit_of(name: &str) -> Option<f64> {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    let name: String = letters.map(|c| c.to_ascii_lowercase()).collect();
    let name = name.strip_prefix("access").unwrap_or(&name);
    let name = name.strip_prefix("token").unwrap_or(name);
    // The longer first, as one is the beginning of the other.
    let mut stems = ["expiration", "expires", "expire", "expiry"].into_iter();
    match stems.find_map(|stem| name.strip_prefix(stem))? {
        "" | "in" | "insec" | "insecs" | "inseconds" | "at" | "on" | "date" | "datetime"
        | "time" | "timestamp" => Some(1.0),
        "inms" | "inmillis" | "inmilliseconds" | "atms" => Some(1e-3),
        _ => None,
    }
}

/// A time in words: RFC 3339, also without its zone or its `T`, or as HTTP writes it (RFC 9110
/// §5.6.7). One that no token can have says nothing.
fn time_in(text: &str) -> Option<Duration> {
    let time = match httpdate::parse_http_date(text) {
        Ok(time) => time.duration_since(UNIX_EPOCH).ok()?,
        Err(_) => rfc3339(text)?,
    };
    Some(time).filter(|time| time.as_secs_f64() <= CENTURY.1)
}

fn rfc3339(text: &str) -> Option<Duration> {
    let (date, time) = text.split_once(['T', 't', ' ']).unwrap_or((text, "00:00:00Z"));
    let [year, month, day] = parts(date, '-')?;
    let zone = time.rfind(['Z', 'z', '+', '-']).unwrap_or(time.len());
    let (time, zone) = time.split_at(zone);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = parts(time, ':').or_else(|| {
        let [hour, minute] = parts(time, ':')?;
        Some([hour, minute, 0])
    })?;
    let fraction: f64 = format!("0.{fraction}").parse().ok()?;
    let is_date = (1..=12).contains(&month) && (1..=31).contains(&day);
    if !is_date || hour > 23 || minute > 59 || second > 60 || !(1970..=9999).contains(&year) {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Duration::try_from_secs_f64((seconds - offset(zone)?) as f64 + fraction).ok()
}

/// Exactly as many numbers as are wanted.
fn parts<const N: usize>(text: &str, separator: char) -> Option<[i64; N]> {
    let numbers = text
        .split(separator)
        .map(|part| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?);
    let numbers: Option<Vec<i64>> = numbers.collect();
    numbers?.try_into().ok()
}

/// Seconds ahead of UTC. A time without a zone is taken for UTC.
fn offset(zone: &str) -> Option<i64> {
    let (sign, clock) = match zone.as_bytes().first() {
        None | Some(b'Z' | b'z') => return Some(0),
        Some(b'-') => (-1, &zone[1..]),
        Some(_) => (1, &zone[1..]),
    };
    let digits = clock.replace(':', "");
    let (hours, minutes) = digits.split_at_checked(2)?;
    let minutes = if minutes.is_empty() { "0" } else { minutes };
    let [hours] = parts(hours, ':')?;
    let [minutes] = parts(minutes, ':')?;
    Some(sign * (hours * 3600 + minutes * 60)).filter(|offset| offset.abs() < 86_400)
}

/// Days since the epoch of a Gregorian date, with years that begin in March, so that the day of a
/// leap year is their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// 2025-09-16T06:13:20Z, and an hour later.
    const NOW: u64 = 1_758_003_200;
    const LATER: u64 = NOW + 3600;

    fn clock() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(NOW)
    }

    fn of(value: &Value) -> Option<Duration> {
        stated_by(value, clock())
    }

    // S10: a life is read from numbers, strings and nonsense without harm
    #[test]
    fn a_life_and_a_time_are_told_apart_by_their_size() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for (value, life) in [
            (json!(3600), seconds(3600)),
            (json!(3600.5), Some(Duration::from_millis(3_600_500))),
            (json!("3600"), seconds(3600)),
            (json!(" 3600.5 "), Some(Duration::from_millis(3_600_500))),
            (json!(LATER), seconds(3600)),
            (json!(LATER.to_string()), seconds(3600)),
            (json!(LATER * 1000), seconds(3600)),
            (json!((LATER * 1000).to_string()), seconds(3600)),
            (json!(999_999_999), seconds(999_999_999)),
            // Over, or never to begin with.
            (json!(0), None),
            (json!("0"), None),
            (json!(-1), None),
            (json!("-3600"), None),
            (json!(NOW), None),
            (json!(NOW - 1), None),
            (json!((NOW - 1) * 1000), None),
            // Never.
            (json!(253_402_300_799_u64), None),
            (json!(253_402_300_799_000_u64), None),
            (json!(u64::MAX), None),
            (json!(1e18), None),
            (json!("1e300"), None),
            (json!("inf"), None),
            (json!("NaN"), None),
            (json!(""), None),
            (json!("soon"), None),
            (json!(null), None),
            (json!(true), None),
            (json!([3600]), None),
            (json!({"seconds": 3600}), None),
        ] {
            assert_eq!(of(&value), life, "{value}");
        }
    }

    #[test]
    fn a_time_may_be_written_in_words() {
        let hour = Some(Duration::from_secs(3600));
        for (text, life) in [
            ("2025-09-16T07:13:20Z", hour),
            ("2025-09-16t07:13:20z", hour),
            ("2025-09-16 07:13:20", hour),
            ("2025-09-16T07:13:20", hour),
            ("2025-09-16T09:13:20+02:00", hour),
            ("2025-09-16T09:13:20.0000000+0200", hour),
            ("2025-09-16T01:43:20-05:30", hour),
            ("2025-09-16T02:13:20-05", hour),
            ("2025-09-16T07:13:20.500Z", Some(Duration::from_millis(3_600_500))),
            ("2025-09-16T07:13Z", Some(Duration::from_secs(3580))),
            ("Tue, 16 Sep 2025 07:13:20 GMT", hour),
            ("2026-09-16", Some(Duration::from_secs(31_513_600))),
            ("2028-02-29T00:00:00Z", Some(Duration::from_secs(77_392_000))),
            ("2025-09-16T06:13:20Z", None),
            ("2024-09-16T06:13:20Z", None),
            ("9999-12-31T23:59:59Z", None),
            ("0001-01-01T00:00:00Z", None),
            ("2025-13-16T07:13:20Z", None),
            ("2025-09-16T07:13:20+2", None),
            ("2025-09-16T07:13:20+99:00", None),
            ("2025-09-16T", None),
            ("2025-09", None),
            ("-1-1-1", None),
            ("tomorrow", None),
            ("T", None),
            ("2025-09-16T07:13:20ü", None),
            ("2025-09-16T07:13:20+ü1", None),
        ] {
            assert_eq!(of(&json!(text)), life, "{text}");
        }
    }

    #[test]
    fn a_field_on_the_life_is_known_by_its_name() {
        for name in [
            "expires_in",
            "expiresIn",
            "ExpiresIn",
            "expires-in",
            "expires_in_sec",
            "expires_at",
            "expiresAt",
            "expires_on",
            "expires",
            ".expires",
            "expiry",
            "expiry_date",
            "expire_in",
            "expireTime",
            "Expiration",
            "expirationTimestamp",
            "access_token_expires_in",
            "accessTokenExpiresAt",
            "token_expires_at",
        ] {
            assert_eq!(unit_of(name), Some(1.0), "{name}");
        }
        assert_eq!(unit_of("expiresInMs"), Some(1e-3));
        for name in [
            "refresh_expires_in",
            "refresh_token_expires_in",
            "refreshTokenExpiresAt",
            "ext_expires_in",
            "id_token_expires_in",
            "expired",
            "experience",
            "exp",
            "issued_at",
            "token",
            "",
        ] {
            assert_eq!(unit_of(name), None, "{name}");
        }
    }

    #[test]
    fn the_shortest_of_all_fields_counts_and_one_that_says_nothing_does_not() {
        for (object, life) in [
            (json!({"expires_in": 3_600_000, "expires_in_sec": 3600}), Some(3600)),
            (json!({"expires_in": 0, "expires_at": LATER}), Some(3600)),
            (
                json!({"expires_in": 3600, "ext_expires_in": 60, "refresh_expires_in": 60}),
                Some(3600),
            ),
            (json!({"expiresInMs": 3_600_000}), Some(3600)),
            (json!({"expires_at_ms": LATER * 1000}), Some(3600)),
            (json!({"expires_in": "never", "expiry": "9999-12-31"}), None),
            (json!({}), None),
        ] {
            let stated = stated_life(object.as_object().unwrap(), clock());
            assert_eq!(stated, life.map(Duration::from_secs), "{object}");
        }
    }
}
