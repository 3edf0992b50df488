use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::*;

fn speaks(object: &Map<String, Value>) -> bool {
    object.contains_key("token") || object.contains_key("error")
}

fn read(headers: &[(HeaderName, &str)], body: &[u8], broke_off: bool) -> Body {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
        .collect();
    let whole = read_in(&headers, body, broke_off, body.len().max(1));
    // However it is cut into frames, it says the same.
    for piece in [1, 2, 3, 7] {
        let again = read_in(&headers, body, broke_off, piece);
        assert_eq!(shown(&again), shown(&whole), "in pieces of {piece}: {body:?}");
    }
    whole
}

fn read_in(headers: &HeaderMap, body: &[u8], broke_off: bool, piece: usize) -> Body {
    let mut reader = Reader::new(headers, 1000, &speaks);
    for piece in body.chunks(piece) {
        if !reader.push(piece) {
            return reader.end(false);
        }
    }
    reader.end(broke_off)
}

fn shown(body: &Body) -> String {
    match body {
        Body::Object(object) => format!("object {}", Value::Object(object.clone())),
        Body::Cut(object) => format!("cut {}", Value::Object(object.clone())),
        Body::Text(text) => format!("text {}", **text),
        Body::Coded(coding) => format!("coded {coding}"),
        Body::Lost(loss) => format!("lost {loss:?}"),
    }
}

fn utf16(text: &str, mark: bool, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let mark = mark.then_some(0xFEFF);
    mark.into_iter().chain(text.encode_utf16()).flat_map(to_bytes).collect()
}

const GOOD: &str = r#"object {"note":"ü😀","token":"t"}"#;

#[test]
fn an_object_is_found_whatever_is_put_around_it() {
    let json = r#"{"token":"t","note":"ü😀"}"#;
    let string = serde_json::to_string(json).unwrap();
    for body in [
        json.to_owned(),
        format!("\u{feff}{json}"),
        format!("\r\n {json}\n"),
        format!("{json}\0"),
        format!("{json}\n<!-- served in 12 ms -->"),
        format!("{json}{json}"),
        format!(")]}}',\n{json}"),
        format!("while(1);{json}"),
        format!("callback({json});"),
        format!("[{json}]"),
        format!(
            "<br />\n<b>Warning</b>: Undefined index: {{x}} in <b>a.php</b> on line <b>3</b><br />\n{json}"
        ),
        format!("Notice: \"unbalanced {{ and {{\"x\": {json}"),
        format!(r#"{{"level":"warn","text":"deprecated"}}{}{json}"#, "\n"),
        string.clone(),
        format!(" \u{feff}{string} \n"),
        json.replace('}', ",}"),
        json.replace("ü", "ü\\ud83d").replace("\\ud83d", ""),
    ] {
        assert_eq!(shown(&read(&[], body.as_bytes(), false)), GOOD, "{body}");
        // An end that is not clean takes nothing away from it.
        assert_eq!(shown(&read(&[], body.as_bytes(), true)), GOOD, "{body}");
    }
    for (mark, to_bytes) in [
        (true, u16::to_be_bytes as fn(u16) -> _),
        (true, u16::to_le_bytes),
        (false, u16::to_be_bytes),
        (false, u16::to_le_bytes),
    ] {
        assert_eq!(shown(&read(&[], &utf16(json, mark, to_bytes), false)), GOOD);
    }
    let raw_break = "{\"note\":\"a\nb\",\"token\":\"t\"}";
    assert_eq!(
        shown(&read(&[], raw_break.as_bytes(), false)),
        r#"object {"note":"a b","token":"t"}"#
    );
    let latin_1 = b"{\"note\":\"\xfc\",\"token\":\"t\"}";
    assert_eq!(shown(&read(&[], latin_1, false)), "object {\"note\":\"\u{fffd}\",\"token\":\"t\"}");
}

#[test]
fn of_an_object_that_was_cut_off_the_whole_members_are_left() {
    for (body, broke_off, left) in [
        (r#"{"token":"t","refresh_token":"r"#, true, r#"cut {"token":"t"}"#),
        (r#"{"token":"t","refresh_token":"r"#, false, r#"cut {"token":"t"}"#),
        (r#"{"token":"t","expires_in":36"#, true, r#"cut {"token":"t"}"#),
        (r#"{"token":"t","expires_in":36"#, false, r#"cut {"token":"t"}"#),
        (r#"{"token":"t""#, true, r#"cut {"token":"t"}"#),
        (r#"{"d":{"x":1},"token":"t","e":{"y":"#, true, r#"cut {"d":{"x":1},"token":"t"}"#),
        (r#""{\"token\":\"t\",\"r\":\"\u00"#, true, r#"cut {"token":"t"}"#),
        (r#"<br /> {"token":"t","r":"#, true, r#"cut {"token":"t"}"#),
        (r#"{"token":"t"#, true, "lost BrokeOff"),
        (r#"{"token":"t"#, false, "lost CutOff"),
        (r#"{"other":"t","#, false, "lost CutOff"),
        ("{", true, "lost BrokeOff"),
        ("", true, "lost BrokeOff"),
        ("<html>", true, "lost BrokeOff"),
    ] {
        assert_eq!(shown(&read(&[], body.as_bytes(), broke_off)), left, "{body}");
    }
}

#[test]
fn what_is_no_object_is_told_apart() {
    let page = "<!DOCTYPE html><script>x = {\"error\":\"no\"}</script>";
    for (body, what) in [
        ("", "text "),
        (" \r\n", "text  \r\n"),
        ("gone", "text gone"),
        ("[]", "text []"),
        (r#""token""#, r#"text "token""#),
        (page, &format!("text {page}")),
        ("function() {} {\"a\":1}", "text function() {} {\"a\":1}"),
        // One that the text is about, but that says nothing.
        ("{}", "object {}"),
        (r#")]}'{"a":1}"#, r#"object {"a":1}"#),
        (r#"{"a":{"token":"t"}}"#, r#"object {"a":{"token":"t"}}"#),
    ] {
        assert_eq!(shown(&read(&[], body.as_bytes(), false)), what, "{body}");
    }
    let long = "x".repeat(2000);
    assert_eq!(shown(&read(&[], long.as_bytes(), false)), "lost TooLarge(1000)");
    let long = format!(r#"{{"token":"t","x":"{long}"}}"#);
    assert_eq!(shown(&read(&[], long.as_bytes(), false)), r#"cut {"token":"t"}"#);
    let deep = r#"{"a":"#.repeat(150);
    assert!(shown(&read(&[], deep.as_bytes(), false)).starts_with("text"));
}

#[test]
fn a_form_is_read_by_its_content_type_or_by_its_fields() {
    let form = "token=t%2B1&scope=a+b&x=";
    let fields = r#"object {"scope":"a b","token":"t+1","x":""}"#;
    let of = |content_type| [(header::CONTENT_TYPE, content_type)];
    for content_type in
        ["application/x-www-form-urlencoded; charset=utf-8", "text/plain", "Text/Plain;x"]
    {
        assert_eq!(shown(&read(&of(content_type), form.as_bytes(), false)), fields);
        assert_eq!(shown(&read(&of(content_type), form.as_bytes(), true)), fields);
    }
    assert_eq!(shown(&read(&[], form.as_bytes(), false)), fields);
    assert_eq!(shown(&read(&of("text/html"), form.as_bytes(), false)), format!("text {form}"));
    assert_eq!(shown(&read(&of("text/plain"), b"a=1&b=2", false)), "text a=1&b=2");
    let typed = of("application/x-www-form-urlencoded");
    assert_eq!(shown(&read(&typed, b"a=1&b=2", false)), r#"object {"a":"1","b":"2"}"#);
    assert_eq!(
        shown(&read(&of("text/plain"), b"token=t and more", false)),
        "text token=t and more"
    );
}

/// `{"token":"t","pad":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}`.
const DEFLATED: &[u8] = b"\xabV*\xc9\xcfN\xcdS\xb2R*Q\xd2Q*HL\x01\xb2\x12\x89\x04J\xb5\x00";
const ZLIB: &[u8] =
    b"x\x9c\xabV*\xc9\xcfN\xcdS\xb2R*Q\xd2Q*HL\x01\xb2\x12\x89\x04J\xb5\x00\x8e\x08\x15\x9b";
const GZIP: &[u8] =
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xabV*\xc9\xcfN\xcdS\xb2R*Q\xd2Q*HL\x01\xb2\x12\
    \x89\x04J\xb5\x00L\x16\xc2\xa2>\x00\x00\x00";
const GZIP_TWICE: &[u8] =
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x93\xef\xe6`\x00\x03\xe6\xd5aZ'\xcf\xfb\x9d\x0d\
    \xde\x14\xa4\x15x)P\xcb\xc3\x87q\x93P'\x8b\xd7V\x06\x1f\xb1C\x8b\xec\x80*\x00?\xfb\x9e\x06\
    +\x00\x00\x00";

#[test]
fn what_is_compressed_is_inflated_by_its_header_or_by_how_it_begins() {
    let good = format!(r#"object {{"pad":"{}","token":"t"}}"#, "a".repeat(40));
    let coded = |coding| [(header::CONTENT_ENCODING, coding)];
    for (coding, body) in [
        ("gzip", GZIP),
        ("x-gzip", GZIP),
        ("GZIP", GZIP),
        ("identity", GZIP),
        ("deflate", GZIP),
        ("br", GZIP),
        ("deflate", ZLIB),
        ("utf-8", ZLIB),
        ("deflate", DEFLATED),
    ] {
        assert_eq!(shown(&read(&coded(coding), body, false)), good, "{coding}");
        assert_eq!(shown(&read(&coded(coding), body, true)), good, "{coding}");
        let followed = [body, b"and more"].concat();
        assert_eq!(shown(&read(&coded(coding), &followed, false)), good, "{coding}");
    }
    assert_eq!(shown(&read(&[], GZIP, false)), good);
    // A proxy has inflated it and left the header.
    let plain = br#"{"token":"t"}"#;
    for coding in ["gzip", "deflate", "br", "zstd", "gzip, br", "utf-8"] {
        assert_eq!(
            shown(&read(&coded(coding), plain, false)),
            r#"object {"token":"t"}"#,
            "{coding}"
        );
    }
    for (coding, body, named) in [
        ("br", &b"\x8b\x05\x80{}"[..], "br"),
        ("zstd", b"\x28\xb5\x2f\xfd\x04", "zstd"),
        ("identity", b"\x28\xb5\x2f\xfd\x04", "zstd"),
        ("compress", b"\x1f\x9d\x90", "compress"),
        ("gzip", GZIP_TWICE, "gzip"),
        ("gzip, gzip", GZIP_TWICE, "gzip, gzip"),
        ("identity", GZIP_TWICE, "gzip, gzip"),
        ("rot13", b"gbxra", "rot13"),
    ] {
        let coding = coded(coding);
        assert_eq!(shown(&read(&coding, body, false)), format!("coded {named}"), "{coding:?}");
        // What broke off was lost, whatever it was in.
        assert_eq!(shown(&read(&coding, body, true)), "lost BrokeOff", "{coding:?}");
    }
    for cut in 1..GZIP.len() - 20 {
        let body = read(&coded("gzip"), &GZIP[..cut], false);
        assert!(matches!(body, Body::Lost(_) | Body::Cut(_) | Body::Text(_)), "{cut} {body:?}");
    }
    assert_eq!(shown(&read(&coded("gzip"), &GZIP[..GZIP.len() - 30], false)), "lost Damaged");
}
