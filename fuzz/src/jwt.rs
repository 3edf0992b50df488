use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use tower_refresh::{Session, Tokens};

use super::endpoint;

const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The bytes as a whole token, and as the claims of one: no panic, `exp` is found where there is
/// one, and no life is longer than ten years.
pub fn jwt(data: &[u8]) {
    let claims = URL_SAFE_NO_PAD.encode(data);
    let wrapped = format!("{}.{claims}.c2ln", URL_SAFE_NO_PAD.encode(r#"{"alg":"XX999"}"#));
    let before = SystemTime::now();
    let tokens = Tokens::new(wrapped).expect("visible ASCII");
    let claims: Option<Map<String, Value>> = serde_json::from_slice(data).ok();
    let claims = claims.filter(|_| is_plain(data));
    let number = |name| claims.as_ref()?.get(name)?.as_f64();
    match (number("exp"), number("iat")) {
        (None, _) => assert!(claims.is_none() || tokens.expires_at().is_none(), "{claims:?}"),
        (Some(exp), None) => {
            let expires_at = tokens.expires_at().expect("an exp");
            let exp = Duration::try_from_secs_f64(exp.max(0.0)).unwrap_or(Duration::MAX);
            let exp = UNIX_EPOCH.checked_add(exp).unwrap_or(before + TEN_YEARS * 2);
            let expected = exp.clamp(before, before + TEN_YEARS);
            let off = expires_at.duration_since(expected);
            let off = off.unwrap_or_else(|earlier| earlier.duration());
            assert!(off < Duration::from_secs(60), "{exp:?} {expires_at:?}");
        }
        (Some(_), Some(_)) => {}
    }
    build(tokens);

    if let Some(tokens) = str::from_utf8(data).ok().and_then(|token| Tokens::new(token).ok()) {
        build(tokens);
    }
}

/// Whether each claim stands there once, and as it is written.
fn is_plain(json: &[u8]) -> bool {
    let times = |name: &[u8; 5]| json.windows(5).filter(|window| window == name).count();
    times(b"\"exp\"") <= 1 && times(b"\"iat\"") <= 1 && !json.contains(&b'\\')
}

fn build(tokens: Tokens) {
    assert!(!format!("{tokens:?}").contains("c2ln"));
    super::run(async {
        let session = Session::builder(endpoint()).initial_tokens(tokens).build();
        let status = session.status();
        assert!(!status.is_login_required());
        session.token().await.expect("the seed or the next");
    });
}
