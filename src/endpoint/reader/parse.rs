//! Objects out of text that is nearly JSON.

use std::ops::Range;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::scan::Scanner;
use crate::endpoint::text::{lossy, without_halves};

pub(super) enum Parsed {
    Object(Map<String, Value>),
    Nothing,
}

/// The object in `json`. What no parser takes (bytes that are no text, line breaks in strings, a
/// comma before the end) costs what stands there, or comes after it, and nothing else.
pub(super) fn object(json: &[u8]) -> Parsed {
    let text = lossy(json);
    let parsed = serde_json::from_str(&text).or_else(|_| {
        let mended = without_halves(&text);
        // Between values a control character is white space or a mistake, in a string a mistake.
        let mended: Zeroizing<String> = Zeroizing::new(
            mended.chars().map(|c| if c.is_ascii_control() { ' ' } else { c }).collect(),
        );
        serde_json::from_str(&mended).or_else(|error| {
            // There is one line, so this is the byte where the parser gave up.
            let end = mended.len().min(error.column().saturating_sub(1));
            let mut scanner = Scanner::default();
            let _ = scanner.next(&mended.as_bytes()[..end]);
            let (range, closers) = scanner.cut().unwrap_or_default();
            let closed = Zeroizing::new([&mended.as_bytes()[range], &closers].concat());
            serde_json::from_slice(&closed)
        })
    });
    match parsed {
        Ok(Value::Object(object)) => Parsed::Object(object),
        _ => Parsed::Nothing,
    }
}

/// The members of the object that is open in `scanner` that had ended before `text` was cut off, and
/// where that object begins.
pub(super) fn cut(text: &[u8], scanner: &Scanner) -> Option<(Map<String, Value>, usize)> {
    let (range, closers) = scanner.cut()?;
    let begin = range.start;
    let closed = Zeroizing::new([&text[range], &closers].concat());
    match object(&closed) {
        Parsed::Object(members) => Some((members, begin)),
        Parsed::Nothing => Some((Map::new(), begin)),
    }
}

/// The same in a string that begins at `begin`.
pub(super) fn cut_string(text: &[u8], begin: usize) -> Option<Map<String, Value>> {
    // An escape that is cut off has up to eleven characters.
    let string = &text[begin..];
    (0..string.len().min(12)).find_map(|short| {
        let string = [&string[..string.len() - short], b"\""].concat();
        in_string(&Zeroizing::new(string))
    })
}

/// The object in a JSON string: what a program sends that makes JSON of its JSON.
pub(super) fn in_string(json: &[u8]) -> Option<Map<String, Value>> {
    let inner = Zeroizing::new(serde_json::from_str::<String>(&without_halves(&lossy(json))).ok()?);
    let mut scanner = Scanner::default();
    match scanner.next(inner.as_bytes()) {
        Some(Range { start, end }) => match object(&inner.as_bytes()[start..end]) {
            Parsed::Object(object) => Some(object),
            Parsed::Nothing => None,
        },
        None => cut(inner.as_bytes(), &scanner).map(|(members, _)| members),
    }
}

/// Whether an object after this is what the text is about: after a byte order mark, the guards
/// against scripts that load JSON (`)]}'`, `while(1);`) and the name of a function (JSONP).
pub(super) fn is_prefix(before: &[u8]) -> bool {
    let before = before.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(before).trim_ascii();
    before.len() <= 64 && before.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'<')
}

/// Whether this is a web page. The objects in its scripts are not the endpoint's.
pub(super) fn is_page(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text).trim_ascii_start();
    let begins =
        |tag: &[u8]| text.get(..tag.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(tag));
    begins(b"<!doctype") || begins(b"<html") || begins(b"<head")
}
