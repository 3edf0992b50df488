use std::time::Duration;

use jsonwebtoken::dangerous::insecure_decode_claims;
use serde_json::{Value, json};
use tower_refresh::testing::Issuer;

#[test]
fn verifies_what_others_have_signed() {
    // The sample token of jwt.io.
    let jwt = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c";
    let claims = Issuer::new("your-256-bit-secret").verify(jwt).unwrap();
    assert_eq!(claims, json!({ "sub": "1234567890", "name": "John Doe", "iat": 1516239022 }));
}

#[test]
fn signs_what_jsonwebtoken_can_read() {
    let claims = json!({ "sub": "user-1", "exp": 1758003600.5, "roles": ["a", "b"] });
    let jwt = Issuer::new("key").sign(&claims);
    assert_eq!(insecure_decode_claims::<Value>(&jwt).unwrap(), claims);
}

#[test]
fn a_changed_token_does_not_verify() {
    let issuer = Issuer::new("key");
    let jwt = issuer.sign(&json!({ "sub": "user-1" }));
    let other = issuer.sign(&json!({ "sub": "user-2" }));
    let (_, signature) = jwt.rsplit_once('.').unwrap();
    let (signed, _) = other.rsplit_once('.').unwrap();
    assert!(issuer.verify(&format!("{signed}.{signature}")).is_none());
    assert!(issuer.verify(&format!("{signed}.")).is_none());
    for nonsense in ["", ".", "..", "a.b.c", "opaque"] {
        assert!(issuer.verify(nonsense).is_none(), "{nonsense:?}");
    }
}

#[test]
fn access_tokens_are_unique_and_live_as_long_as_asked() {
    let issuer = Issuer::random();
    let claims = |life| issuer.verify(&issuer.access_token(life)).unwrap();
    let whole = claims(Duration::from_secs(3600));
    assert_eq!(whole["exp"].as_u64().unwrap() - whole["iat"].as_u64().unwrap(), 3600);
    let fractional = claims(Duration::from_millis(1500));
    let life = fractional["exp"].as_f64().unwrap() - fractional["iat"].as_f64().unwrap();
    assert!((life - 1.5).abs() < 1e-5, "{life}");
    assert_ne!(whole["jti"], fractional["jti"]);
}
