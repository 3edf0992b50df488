//! Text with characters in it that are none. What counts in an answer is ASCII, so nothing is lost
//! by a mark in their place; a token would be lost with an answer that is not read.

use zeroize::Zeroizing;

/// A body with a mark where it is not UTF-8: some servers still write their remarks, or the name of
/// a user, in Latin-1.
pub(super) fn lossy(body: &[u8]) -> Zeroizing<String> {
    // Room enough that no growing string leaves a copy of a token behind.
    let mut text = Zeroizing::new(String::with_capacity(3 * body.len()));
    for chunk in body.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    text
}

/// JSON with a mark for each half of a character (`\ud83d` alone): what JavaScript writes of a name
/// that was cut in the middle of an emoji. It is JSON by the grammar, and no text (RFC 8259 §8.2).
pub(super) fn without_halves(json: &str) -> Zeroizing<String> {
    // The mark is as long as what it stands for.
    let mut whole = Zeroizing::new(String::with_capacity(json.len()));
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        whole.push_str(before);
        let (length, is_half) = match unit(escape) {
            Some(0xD800..0xDC00) if matches!(unit(&escape[6..]), Some(0xDC00..0xE000)) => {
                (12, false)
            }
            Some(unit) => (6, (0xD800..0xE000).contains(&unit)),
            // The second may be a backslash that begins no escape.
            None => (escape.chars().take(2).map(char::len_utf8).sum(), false),
        };
        let (escape, after) = escape.split_at(length);
        whole.push_str(if is_half { "\\ufffd" } else { escape });
        rest = after;
    }
    whole.push_str(rest);
    whole
}

/// The UTF-16 code unit that `json` begins with, as an escape.
fn unit(json: &str) -> Option<u16> {
    u16::from_str_radix(json.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_marked_and_nothing_else() {
        for (json, whole) in [
            (r"a\ud83d", r"a\ufffd"),
            (r"\uDE00b", r"\ufffdb"),
            (r"\ud83d\ud83d\ude00\ude00", r"\ufffd\ud83d\ude00\ufffd"),
            (r"\ud83d\n", r"\ufffd\n"),
            (r"\\ud83d", r"\\ud83d"),
            (r"\\\ud83d", r"\\\ufffd"),
            (r"\u00fc ü", r"\u00fc ü"),
            (r"\u12", r"\u12"),
            (r"\uüüü", r"\uüüü"),
            (r"\ü\", r"\ü\"),
            ("", ""),
        ] {
            assert_eq!(*without_halves(json), whole, "{json}");
        }
    }
}
