//! Reads challenges (RFC 9110 §11.6.1) as leniently as servers write them.
//!
//! All that is wanted of a challenge is its parameters. They are found by the `=` after their name,
//! as bytes, so that nothing in front of them hides them: no text in another character set, no
//! base64 in the place of parameters, no quotation mark too many.

use std::borrow::Cow;

/// One piece of a challenge.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// A scheme, or what stands in the place of its parameters.
    Word,
    /// The name of a parameter, and its value without quotation marks.
    Param(&'a [u8], Cow<'a, [u8]>),
}

/// The pieces of a header's value.
pub(super) struct Parts<'a> {
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(super) fn of(value: &'a [u8]) -> Self {
        Self { rest: value }
    }

    fn skip(&mut self, skipped: impl Fn(u8) -> bool) {
        self.take(skipped);
    }

    fn take(&mut self, taken: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|&byte| !taken(byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// What follows a `=`. A string that does not end goes as far as the header.
    fn value(&mut self) -> Cow<'a, [u8]> {
        let Some((b'"', string)) = self.rest.split_first() else {
            return Cow::Borrowed(self.take(|byte| !is_separator(byte)));
        };
        let (mut value, mut bytes) = (Vec::new(), string.iter().copied());
        while let Some(byte) = bytes.next().filter(|&byte| byte != b'"') {
            match byte {
                b'\\' => value.extend(bytes.next()),
                _ => value.push(byte),
            }
        }
        self.rest = &string[string.len() - bytes.len()..];
        Cow::Owned(value)
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        // A quotation mark opens a string after a `=` alone; elsewhere it is one too many.
        self.skip(|byte| is_separator(byte) || byte == b'"' || byte == b'=');
        if self.rest.is_empty() {
            return None;
        }
        let name = self.take(|byte| !is_separator(byte) && byte != b'"' && byte != b'=');
        self.skip(is_space);
        let Some((b'=', rest)) = self.rest.split_first() else { return Some(Part::Word) };
        self.rest = rest;
        self.skip(is_space);
        Some(Part::Param(name, self.value()))
    }
}

fn is_space(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Some servers write a semicolon for the comma.
fn is_separator(byte: u8) -> bool {
    is_space(byte) || byte == b',' || byte == b';'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(value: &[u8]) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let params = Parts::of(value).filter_map(|part| match part {
            Part::Word => None,
            Part::Param(name, value) => Some((text(name), text(&value))),
        });
        params.collect()
    }

    #[test]
    fn parameters_are_found_whatever_stands_in_front_of_them() {
        let error = [("error".to_owned(), "x".to_owned())];
        for front in [
            "",
            "Bearer",
            "Basic,",
            "Negotiate oRQwEqADCgEB==,",
            "Negotiate oRQwEqADCgEB== , Bearer",
            "NTLM, Digest ,, Bearer \t",
            "\" Bearer",
            "Bearer ;",
        ] {
            for written in ["error=\"x\"", "error=x", "error = \"x\"", "error=\"x", "error=\"\\x\""]
            {
                let found = params(format!("{front} {written}").as_bytes());
                assert!(found.ends_with(&error), "{front} {written}: {found:?}");
            }
        }
    }

    #[test]
    fn a_string_is_read_as_one_value() {
        let value = b"Bearer realm=\"a, b; error=\\\"y\\\"\\\\\",error=x;scope=\"\xe9t\xe9\"";
        let realm = ("realm".to_owned(), "a, b; error=\"y\"\\".to_owned());
        assert_eq!(params(value)[..2], [realm, ("error".to_owned(), "x".to_owned())]);
        assert_eq!(params(value)[2].0, "scope");
    }

    #[test]
    fn quotation_marks_that_were_not_escaped_hide_nothing() {
        let found = params(b"Bearer realm=\"our \"own\" API\", error=\"x\"");
        assert_eq!(found.last(), Some(&("error".to_owned(), "x".to_owned())));
    }

    #[test]
    fn every_value_is_read_to_its_end() {
        for value in ["", ",", "=", "==", "\"", "a=", "a=\"", "a=\"\\", "a==", "a==b", "= a", ";;"]
        {
            assert!(Parts::of(value.as_bytes()).count() <= 2, "{value}");
        }
    }
}
