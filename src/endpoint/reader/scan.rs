//! Finds the whole JSON objects in text as it comes, in one pass over it.
//!
//! Only depth, strings and escapes are followed. Whether what lies between two braces is JSON, a
//! parser says, once.

use std::ops::Range;

/// How far nesting is followed. It is as far as a parser goes, too.
const DEEPEST: usize = 127;

/// How often a brace that did not open an object is passed over, so that no text is scanned over
/// and over again.
const RESTARTS: u32 = 16;

/// Where a scan has come to.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// The next byte to look at.
    at: usize,
    open: Option<Open>,
    restarts: u32,
}

/// An object that has begun and not ended.
#[derive(Debug)]
struct Open {
    begin: usize,
    /// Nothing but white space has followed the brace.
    fresh: bool,
    /// What closes the containers that are open, the outermost first.
    closers: Vec<u8>,
    string: Option<Quoted>,
    /// A string would be a value, and not the name of a member.
    expects_value: bool,
    /// The end of the last value that has ended, and how many containers were open there.
    ended: (usize, usize),
}

#[derive(Debug)]
struct Quoted {
    is_value: bool,
    escaped: bool,
}

impl Scanner {
    /// The next whole object in `text`, of which more may come. It has to begin with what it had
    /// before.
    pub(super) fn next(&mut self, text: &[u8]) -> Option<Range<usize>> {
        while let Some(&byte) = text.get(self.at) {
            let at = self.at;
            self.at += 1;
            let Some(open) = &mut self.open else {
                self.open = (byte == b'{').then(|| Open::new(at));
                continue;
            };
            match open.step(byte, at) {
                Step::Inside => {}
                Step::Ended => return self.open.take().map(|open| open.begin..self.at),
                // No name follows the brace, as in a text about braces. Another may.
                Step::Text => (self.at, self.open) = (at, None),
                Step::Broken => {
                    let begin = open.begin;
                    self.open = None;
                    self.reject(begin);
                }
            }
        }
        None
    }

    /// What began at `begin` was no object: the scan goes on inside of it, unless it has done so too
    /// often.
    pub(super) fn reject(&mut self, begin: usize) -> bool {
        let may_restart = self.restarts < RESTARTS;
        if may_restart {
            self.restarts += 1;
            (self.at, self.open) = (begin + 1, None);
        }
        may_restart
    }

    /// What is left of an object that was cut off: from where to where, and what closes it there.
    pub(super) fn cut(&self) -> Option<(Range<usize>, Vec<u8>)> {
        let open = self.open.as_ref()?;
        let (end, depth) = open.ended;
        Some((open.begin..end, open.closers[..depth].iter().rev().copied().collect()))
    }
}

/// The end of a text that is one JSON string, as it comes.
#[derive(Debug, Default)]
pub(super) struct StringScanner {
    at: usize,
    /// Where the string begins; `None` before that is known.
    begin: Option<usize>,
    escaped: bool,
    /// The text is no string, or its string has ended.
    done: bool,
}

impl StringScanner {
    /// The string, with its quotes, as soon as it has ended.
    pub(super) fn next(&mut self, text: &[u8]) -> Option<Range<usize>> {
        while !self.done {
            let &byte = text.get(self.at)?;
            let at = self.at;
            self.at += 1;
            match (self.begin, byte) {
                (None, b'"') => self.begin = Some(at),
                // A byte order mark may stand before it.
                (None, 0xEF | 0xBB | 0xBF) => {}
                (None, byte) => self.done = !byte.is_ascii_whitespace(),
                (Some(_), _) if self.escaped => self.escaped = false,
                (Some(_), b'\\') => self.escaped = true,
                (Some(begin), b'"') => {
                    self.done = true;
                    return Some(begin..self.at);
                }
                _ => {}
            }
        }
        None
    }

    /// Where a string begins that has not ended.
    pub(super) fn cut(&self) -> Option<usize> {
        self.begin.filter(|_| !self.done)
    }
}

enum Step {
    Inside,
    Ended,
    Text,
    Broken,
}

impl Open {
    fn new(begin: usize) -> Self {
        Self {
            begin,
            fresh: true,
            closers: vec![b'}'],
            string: None,
            expects_value: false,
            ended: (begin + 1, 1),
        }
    }

    fn step(&mut self, byte: u8, at: usize) -> Step {
        match byte {
            _ if !self.fresh => {}
            b'"' | b'}' => self.fresh = false,
            byte if byte.is_ascii_whitespace() => return Step::Inside,
            _ => return Step::Text,
        }
        if let Some(string) = &mut self.string {
            match byte {
                _ if string.escaped => string.escaped = false,
                b'\\' => string.escaped = true,
                b'"' => {
                    if string.is_value {
                        self.ended = (at + 1, self.closers.len());
                    }
                    self.string = None;
                }
                _ => {}
            }
            return Step::Inside;
        }
        match byte {
            b'"' => {
                self.string = Some(Quoted { is_value: self.expects_value, escaped: false });
            }
            b':' => self.expects_value = true,
            b',' => {
                // A number has no other end.
                self.ended = (at, self.closers.len());
                self.expects_value = self.closers.last() == Some(&b']');
            }
            b'{' | b'[' if self.closers.len() == DEEPEST => return Step::Broken,
            b'{' | b'[' => {
                self.closers.push(if byte == b'{' { b'}' } else { b']' });
                self.expects_value = byte == b'[';
            }
            b'}' | b']' if self.closers.last() != Some(&byte) => return Step::Broken,
            b'}' | b']' => {
                self.closers.pop();
                self.ended = (at + 1, self.closers.len());
                if self.closers.is_empty() {
                    return Step::Ended;
                }
            }
            _ => {}
        }
        Step::Inside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(text: &str) -> Vec<&str> {
        let mut scanner = Scanner::default();
        let mut found = Vec::new();
        while let Some(range) = scanner.next(text.as_bytes()) {
            found.push(&text[range]);
        }
        found
    }

    fn cut(text: &str) -> Option<String> {
        let mut scanner = Scanner::default();
        assert_eq!(scanner.next(text.as_bytes()), None, "{text}");
        let (range, closers) = scanner.cut()?;
        Some(format!("{}{}", &text[range], str::from_utf8(&closers).unwrap()))
    }

    #[test]
    fn whole_objects_are_found_between_whatever_else_there_is() {
        for (text, found) in [
            (r#"{"a":1}"#, &[r#"{"a":1}"#][..]),
            ("{}{ }", &["{}", "{ }"]),
            (r#")]}',{"a":"}"}<!-- {x} -->"#, &[r#"{"a":"}"}"#]),
            (r#"call({"a":"\"}"});"#, &[r#"{"a":"\"}"}"#]),
            (r#"Warning: {foo} in "x {"a":{"b":[{}]}}"#, &[r#"{"a":{"b":[{}]}}"#]),
            (r#"{"a":]{"b":2}"#, &[r#"{"b":2}"#]),
            (r#"[{"a":1},{"b":2}]"#, &[r#"{"a":1}"#, r#"{"b":2}"#]),
            ("{{ \n{}", &["{}"]),
            ("{", &[]),
            ("", &[]),
        ] {
            assert_eq!(objects(text), found, "{text}");
        }
    }

    #[test]
    fn of_what_was_cut_off_the_members_that_had_ended_are_left() {
        for (text, left) in [
            (r#"{"a":"x","b":"y"#, Some(r#"{"a":"x"}"#)),
            (r#"{"a":"x","b":12"#, Some(r#"{"a":"x"}"#)),
            (r#"{"a":"x","b":12,"#, Some(r#"{"a":"x","b":12}"#)),
            (r#"{"a":"x","b""#, Some(r#"{"a":"x"}"#)),
            (r#"{"a":"x""#, Some(r#"{"a":"x"}"#)),
            (r#"{"a":"x\"#, Some("{}")),
            (r#"{"d":{"a":["x","y"#, Some(r#"{"d":{"a":["x"]}}"#)),
            (r#"{"d":{"a":"x"},"e":{"b":"#, Some(r#"{"d":{"a":"x"}}"#)),
            (r#"{"a":tr"#, Some("{}")),
            ("{", Some("{}")),
            ("text", None),
            ("text {x", None),
        ] {
            assert_eq!(cut(text).as_deref(), left, "{text}");
        }
    }

    #[test]
    fn text_that_comes_byte_by_byte_is_looked_at_once() {
        let text = br#"<br /> {"a":{"b":"\\\"}"},"c":[1,2]}!"#;
        let mut scanner = Scanner::default();
        let found = (0..=text.len()).find_map(|end| scanner.next(&text[..end]));
        assert_eq!(found, Some(7..text.len() - 1));
        assert_eq!(scanner.at, text.len() - 1);
    }

    #[test]
    fn braces_without_end_are_given_up() {
        let deep = r#"{"a":"#.repeat(100_000);
        assert_eq!(Scanner::default().next(deep.as_bytes()), None);
        let mut scanner = Scanner::default();
        let many = format!("{}{}", r#"{"a":]"#.repeat(1000), r#"{"a":1}"#);
        scanner.next(many.as_bytes());
        assert!(scanner.restarts <= RESTARTS);
    }
}
