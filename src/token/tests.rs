//! How long a token lives, whatever the clocks and the servers say.

use std::time::UNIX_EPOCH;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::{prelude::*, test_runner::RngSeed};

use super::*;

/// Numbers as claims have them, and as they should not.
fn numbers() -> impl Strategy<Value = f64> {
    prop_oneof![4 => 0.0..4e9, 2 => -1e3..1e3, 1 => any::<f64>(), 1 => Just(0.0)]
}

/// From nothing to all there is, the small ones as often as the large.
fn durations() -> impl Strategy<Value = Duration> {
    let spread = (any::<u64>(), 0..64u32, 0..1_000_000_000u32);
    let spread = spread.prop_map(|(secs, shift, nanos)| Duration::new(secs >> shift, nanos));
    prop_oneof![1 => Just(Duration::ZERO), 1 => Just(Duration::MAX), 8 => spread]
}

fn times() -> impl Strategy<Value = SystemTime> {
    (durations(), any::<bool>()).prop_map(|(distance, later)| {
        let time = match later {
            true => UNIX_EPOCH.checked_add(distance),
            false => UNIX_EPOCH.checked_sub(distance),
        };
        time.unwrap_or(UNIX_EPOCH)
    })
}

fn jwt(exp: Option<f64>, iat: Option<f64>) -> String {
    let claims = [("exp", exp), ("iat", iat)].into_iter().filter_map(|(name, value)| {
        let number = serde_json::Number::from_f64(value?)?;
        Some((name.to_owned(), Value::Number(number)))
    });
    let claims = Value::Object(claims.collect()).to_string();
    format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode("{}"), URL_SAFE_NO_PAD.encode(claims))
}

/// `exp` as a time, or as far off as there is.
fn until(exp: Duration, from: SystemTime) -> Duration {
    exp.saturating_sub(from.duration_since(UNIX_EPOCH).unwrap_or_default())
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(0),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_received_token_lives_as_its_server_says_and_no_longer(
        expires_in in prop::option::of(durations()),
        (exp, iat) in (prop::option::of(numbers()), prop::option::of(numbers())),
        date in prop::option::of(times()),
        now in times(),
    ) {
        let token = AccessToken::new(jwt(exp, iat)).unwrap();
        let life = received_life(expires_in, token.expose(), date, now);
        prop_assert!(life.is_none_or(|life| life <= LONGEST_LIFE));
        // Whatever says something positive says it, and the least of all that counts.
        let claims = Claims::read(token.expose());
        let by_iat = claims.exp.zip(claims.iat).map(|(exp, iat)| exp.saturating_sub(iat));
        // Our own clock counts only if the server does not tell its own.
        let by_exp = claims.exp.map(|exp| until(exp, date.unwrap_or(now)));
        let words = [expires_in, by_iat, by_exp].into_iter().flatten();
        let expected = words.filter(|life| !life.is_zero()).min();
        prop_assert_eq!(life, expected.map(|life| life.min(LONGEST_LIFE)));
    }

    #[test]
    fn a_seed_has_left_what_its_exp_says_and_never_more_than_its_life(
        (exp, iat) in (numbers(), prop::option::of(numbers())),
        now in times(),
        later in durations(),
    ) {
        let claims = Claims::read(&jwt(Some(exp), iat));
        let (obtained_at, life) = seeded(claims, now);
        if claims.exp.is_none() {
            prop_assert!(!(0.0..4e9).contains(&exp), "{exp} is a time");
            prop_assert_eq!(life, None);
            return Ok(());
        }
        let tokens = Tokens { obtained_at, life, ..Tokens::default() };
        let (life, left) = (life.unwrap(), tokens.left(now).unwrap());
        prop_assert!(life <= LONGEST_LIFE && left <= life);
        let slack = Duration::from_secs(1);
        prop_assert!(left <= until(claims.exp.unwrap(), now).saturating_add(slack), "{:?}", left);
        let _ = tokens.expires_at();
        if let Some(later) = now.checked_add(later) {
            prop_assert!(tokens.left(later).unwrap() <= left, "time only takes away");
        }
    }

    #[test]
    fn a_stored_token_ages_by_the_wall_clock(
        obtained_at in times(),
        life in durations(),
        now in times(),
    ) {
        let life = life.min(LONGEST_LIFE);
        let tokens = Tokens { obtained_at, life: Some(life), ..Tokens::default() };
        let age = now.duration_since(obtained_at).unwrap_or_default();
        prop_assert_eq!(tokens.left(now), Some(life.saturating_sub(age)));
    }

    #[test]
    fn an_expiry_that_somebody_sets_may_be_any_time(expires_at in times()) {
        let tokens = Tokens::new("token").unwrap().with_expires_at(expires_at);
        prop_assert!(tokens.life.unwrap() <= LONGEST_LIFE);
        prop_assert!(tokens.left(SystemTime::now()).unwrap() <= tokens.life.unwrap());
        prop_assert!(tokens.expires_at().is_some());
    }
}
