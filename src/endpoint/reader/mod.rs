//! Reads a token endpoint's answer, whatever was put around it: the first whole object that says
//! something, and what there is if there is none.
//!
//! Bytes come as frames. `decode` makes text of them, `scan` finds objects in that as it comes, and
//! an object that is found is parsed once. With the first that says something the reading has
//! ended: whatever follows it, or fails to follow, says nothing. A text without such an object may
//! be a `form`, or may have been cut off.
//!
//! Everything here is a pure function of bytes from outside: it may fail, and never panics.

mod decode;
mod form;
mod inflate;
mod parse;
mod scan;
#[cfg(test)]
mod tests;
mod wiped;

use std::fmt;

use http::{
    HeaderMap,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use self::{
    decode::Decoder,
    inflate::Broken,
    parse::Parsed,
    scan::{Scanner, StringScanner},
};
use super::text::lossy;

/// What a body is.
pub(super) enum Body {
    /// An object, whole.
    Object(Map<String, Value>),
    /// The members of an object that had ended before it was cut off.
    Cut(Map<String, Value>),
    /// No object: text to its end, which is shortened if it is long.
    Text(Zeroizing<String>),
    /// In a content coding that is not read.
    Coded(String),
    /// Nothing can be read any more.
    Lost(Loss),
}

/// Why nothing can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    BrokeOff,
    /// It ended as it should, in the middle of an object.
    CutOff,
    Damaged,
    /// It is larger than this many bytes.
    TooLarge(usize),
}

/// Whether an object says something to an endpoint: a token, or a failure.
pub(super) type Speaks = dyn Fn(&Map<String, Value>) -> bool + Send + Sync;

/// What the first frames have made of a body so far.
pub(super) struct Reader<'a> {
    decoder: Decoder,
    scanner: Scanner,
    strings: StringScanner,
    speaks: &'a Speaks,
    is_form: Option<bool>,
    max: usize,
    /// It says itself that it is larger than that.
    declares_too_much: bool,
    /// The object, once it is found.
    object: Option<Map<String, Value>>,
    /// An object that the text begins with, and that says nothing.
    silent: Option<Map<String, Value>>,
    loss: Option<Loss>,
}

/// As much of a text as may be shown, and more.
const LONGEST_TEXT: usize = 4096;

impl<'a> Reader<'a> {
    pub(super) fn new(headers: &HeaderMap, max: usize, speaks: &'a Speaks) -> Self {
        Self {
            decoder: Decoder::new(headers, max),
            scanner: Scanner::default(),
            strings: StringScanner::default(),
            speaks,
            is_form: is_form(headers),
            max,
            declares_too_much: length(headers).is_some_and(|length| length > max),
            object: None,
            silent: None,
            loss: None,
        }
    }

    /// Takes what has come. Whether there is need of more.
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        let pushed = self.decoder.push(bytes);
        self.note(pushed);
        self.scan();
        self.object.is_none() && self.loss.is_none()
    }

    /// What the body is, if it ends here, cleanly or not.
    pub(super) fn end(mut self, broke_off: bool) -> Body {
        if self.object.is_none() {
            let ended = self.decoder.end();
            self.note(ended);
            self.scan();
        }
        if let Some(object) = self.object {
            return Body::Object(object);
        }
        let loss = self.loss.or(broke_off.then_some(match self.declares_too_much {
            true => Loss::TooLarge(self.max),
            false => Loss::BrokeOff,
        }));
        if loss.is_none()
            && let Some(coding) = self.decoder.unread_coding()
        {
            return Body::Coded(coding);
        }
        if let Some(form) =
            form::read(self.decoder.text(), loss.is_some(), self.is_form, self.speaks)
        {
            return Body::Object(form);
        }
        let cut = self.cut();
        match (self.object, cut, self.silent, loss) {
            (Some(object), ..) => Body::Object(object),
            (_, Some(members), ..) if (self.speaks)(&members) => Body::Cut(members),
            (_, _, Some(object), _) => Body::Object(object),
            (_, _, _, Some(loss)) => Body::Lost(loss),
            (_, Some(_), ..) => Body::Lost(Loss::CutOff),
            _ => {
                let text = self.decoder.text();
                Body::Text(lossy(&text[..text.len().min(LONGEST_TEXT)]))
            }
        }
    }

    /// The members of an object that was cut off.
    fn cut(&mut self) -> Option<Map<String, Value>> {
        if let Some(begin) = self.strings.cut() {
            return parse::cut_string(self.decoder.text(), begin);
        }
        loop {
            let text = self.decoder.text();
            let (members, begin) = parse::cut(text, &self.scanner)?;
            if (self.speaks)(&members) || parse::is_prefix(&text[..begin]) {
                return Some(members);
            }
            // A brace in a text may have hidden an object.
            if !self.scanner.reject(begin) {
                return None;
            }
            self.scan();
            if self.object.is_some() {
                return None;
            }
        }
    }

    fn scan(&mut self) {
        let text = self.decoder.text();
        if parse::is_page(text) {
            return;
        }
        while self.object.is_none() {
            // Each that is found is parsed once.
            let Some(range) = self.scanner.next(text) else { break };
            let begin = range.start;
            match parse::object(&text[range]) {
                Parsed::Object(object) if (self.speaks)(&object) => self.object = Some(object),
                // Two braces after something else may be a script's.
                Parsed::Object(object)
                    if parse::is_prefix(&text[..begin]) && (begin == 0 || !object.is_empty()) =>
                {
                    self.silent.get_or_insert(object);
                }
                Parsed::Object(_) => {}
                Parsed::Nothing => _ = self.scanner.reject(begin),
            }
        }
        if let Some(range) = self.strings.next(text)
            && let Some(object) = parse::in_string(&text[range])
        {
            self.object = Some(object).filter(|object| (self.speaks)(object));
        }
    }

    fn note(&mut self, decoded: Result<(), Broken>) {
        self.loss = self.loss.or(decoded.err().map(|broken| match broken {
            Broken::Damaged => Loss::Damaged,
            Broken::TooLarge => Loss::TooLarge(self.max),
        }));
    }
}

fn length(headers: &HeaderMap) -> Option<usize> {
    let length: u64 = headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()?;
    Some(usize::try_from(length).unwrap_or(usize::MAX))
}

fn is_form(headers: &HeaderMap) -> Option<bool> {
    let content_type = headers.get(CONTENT_TYPE)?;
    let content_type = content_type.to_str().unwrap_or_default().to_ascii_lowercase();
    match content_type.split(';').next().unwrap_or_default().trim() {
        "application/x-www-form-urlencoded" => Some(true),
        "" | "text/plain" | "application/octet-stream" => None,
        _ => Some(false),
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(object) => write!(f, "Object({} members)", object.len()),
            Self::Cut(object) => write!(f, "Cut({} members)", object.len()),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Coded(coding) => write!(f, "Coded({coding:?})"),
            Self::Lost(loss) => write!(f, "Lost({loss:?})"),
        }
    }
}
