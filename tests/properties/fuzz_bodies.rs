//! What the fuzzer looks for, with bytes of the right shape.

use proptest::prelude::*;

use crate::{check, fuzz};

const CASES: u32 = 1024;

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..most)
}

fn feed(cases: u32, strategy: &impl Strategy<Value = Vec<u8>>, body: fn(&[u8])) {
    check(cases, strategy, |data| {
        body(&data);
        Ok(())
    });
}

/// `text` as it is, or with some bytes of it replaced or cut off.
fn nearly(text: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    let slips = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    let cut = prop::option::weighted(0.2, any::<prop::sample::Index>());
    (text, slips, cut).prop_map(|(text, slips, cut)| {
        let mut bytes = text.into_bytes();
        for (at, byte) in slips {
            if !bytes.is_empty() {
                *at.get_mut(&mut bytes) = byte;
            }
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        bytes
    })
}

#[test]
fn token_responses() {
    const STATUSES: [u16; 9] = [200, 400, 401, 403, 429, 500, 502, 503, 504];
    const NAMES: [&str; 9] = [
        "token",
        "access_token",
        "refresh_token",
        "expires_in",
        "error",
        "error_description",
        "detail",
        "message",
        "scope",
    ];
    const VALUES: [&str; 15] = [
        r#""Bearer r3fresh/1+2""#,
        r#""Refresh token has expired""#,
        r#"{"code":"invalid_grant"}"#,
        "\"a\nb\\ud83d\"",
        r#""r3fresh/1+2""#,
        r#""it is r3fresh%2F1%2B2""#,
        r#""invalid_grant""#,
        r#""slow_down""#,
        r#""gone""#,
        "3600",
        "-1e30",
        "null",
        "[]",
        r#"{"msg":"r3fresh/1+2"}"#,
        r#"[{"loc":["body"],"msg":"required","input":"r3fresh/1+2"}]"#,
    ];
    let status = prop_oneof![4 => prop::sample::select(&STATUSES[..]), 1 => 100..1000u16];
    let header =
        "(retry-after: ?[0-9]{1,20}|date: x|location: /\\?r3fresh/1\\+2|[a-z-]{1,8}:[ -~]{0,8})\n";
    let headers = prop::string::string_regex(&format!("({header}){{0,2}}")).unwrap();
    let field = (prop::sample::select(&NAMES[..]), prop::sample::select(&VALUES[..]));
    let fields = prop::collection::vec(field, 0..4);
    let answer = (status, headers, fields).prop_map(|(status, headers, fields)| {
        let fields: Vec<_> = fields.iter().map(|(n, v)| format!("\"{n}\":{v}")).collect();
        format!("{status}\n{headers}\n{{{}}}", fields.join(","))
    });
    feed(CASES, &nearly(answer), fuzz::token_response);
    feed(CASES, &bytes(200), fuzz::token_response);
}

#[test]
fn retry_after() {
    let date = "(Sun, 06 Nov (1994|2093) 08:(49|51):37 GMT|Sunday, 06-Nov-94 08:49:37 GMT)";
    let answer = format!("(-?[0-9]{{1,21}}|{date})(\n{date})?");
    let answer = prop::string::string_regex(&answer).unwrap();
    feed(CASES, &nearly(answer), fuzz::retry_after);
}

#[test]
fn jwts() {
    let number =
        "((1[89]|20)[0-9]{8}|-?[0-9]{1,30}(\\.[0-9]{1,10})?(e-?[0-9]{1,2})?|\"soon\"|null)";
    let claims = format!("\\{{(\"(exp|iat|sub)\":{number}(,\"(exp|iat)\":{number})?)?\\}}");
    let claims = prop::string::string_regex(&claims).unwrap();
    feed(CASES, &nearly(claims), fuzz::jwt);
    feed(CASES, &bytes(200), fuzz::jwt);
}

#[test]
fn challenges() {
    let parameter =
        "(error|realm|[a-z]{1,4}) ?= ?(insufficient_scope|\"(insufficient_scope|[ -~]{0,8})\")";
    let challenge =
        format!("(Basic|[Bb]earer|[A-Za-z]{{1,6}})( {parameter}( ?, ?{parameter}){{0,2}})?");
    let header = format!("({challenge}( ?, ?|\n)){{0,3}}{challenge}");
    let header = prop::string::string_regex(&header).unwrap();
    feed(CASES / 4, &nearly(header), fuzz::challenges);
}

// S88: unknown members of a record are kept, and what `crit` requires and is unknown is refused
#[test]
fn records() {
    let token = "(null|\"[!-~&&[^\"\\\\]]{1,9}\")";
    let number = "(0|[1-9][0-9]{0,18}|18446744073709551615)";
    let newer = "(,\"newer[a-z]?\":(null|1e3|\\[\\]|\\{\"a\":\"b\"\\}))?";
    let tokens = format!(
        "\\{{\"access_token\":{token}(,\"refresh_token\":{token})?(,\"obtained_at\":{number})?(,\"life\":(null|{number}))?{newer}\\}}"
    );
    let contents = format!(
        "(,\"tokens\":(null|{tokens})|,\"logged_out\":(true|false)|,\"sealed\":\\{{\"key\":\"k\",\"name\":\"n\",\"data\":\"\"\\}})?"
    );
    let issued_for = format!("(,\"for\":\\{{\"issuer\":\"i\"(,\"key\":\"42\")?{newer}\\}})?");
    let ended = format!("(,\"ended\":\\{{\"at\":{number},\"code\":\"c\"{newer}\\}})?");
    let lists =
        "(,\"seeds\":\\[(\"[a-c]\",){0,6}\"d\"\\])?(,\"logins\":\\[\"l\"(,\"[a-z]\"){0,9}\\])?";
    let lease = format!("(,\"lease\":\\{{\"owner\":\"o\",\"life\":{number}{newer}\\}})?");
    let record = format!(
        "\\{{\"format\":\"tower-refresh(-sealed)?/1\",\"version\":{number}(,\"turn\":{number})?(,\"crit\":\\[(\"dpop\")?\\])?{contents}{issued_for}{ended}{lists}{lease}{newer}\\}}"
    );
    let record = prop::string::string_regex(&record).unwrap();
    feed(CASES, &nearly(record), fuzz::record);
    let by_hand =
        prop::string::string_regex(&format!("\\{{\"tokens\":{tokens}{newer}\\}}")).unwrap();
    feed(CASES / 4, &nearly(by_hand), fuzz::record);
}

// S52: however frames fall, a replay is the original or nothing
#[test]
fn replays() {
    let head = (any::<[u8; 3]>(), any::<[u8; 4]>(), prop::bool::weighted(0.7));
    let body = prop::collection::vec(prop_oneof![4 => 0..100u8, 1 => any::<u8>()], 0..120);
    check(CASES, &(head, body), |((head, mut reads, refuses), body)| {
        if refuses {
            reads.iter_mut().for_each(|read| *read |= 1);
        }
        fuzz::replay(&[&head[..], &reads, &body].concat());
        Ok(())
    });
}
