use std::iter;

use serde_json::Value;

use crate::token::Secret;

/// A server's text in an error message is no longer than this, in characters.
const LONGEST_QUOTE: usize = 200;

/// Keys are longer than this, names (`refresh_token`) mostly shorter; in bytes.
const SHORTEST_SECRET: usize = 16;

const REDACTED: &str = "[redacted]";

/// What went out with a call, or came back, and may not be seen in a message: servers like to
/// repeat what they could not use.
#[derive(Clone, Debug, Default)]
pub(super) struct Secrets(Vec<Secret>);

impl Secrets {
    pub(super) fn add(&mut self, secret: &str) {
        if secret.is_empty() {
            return;
        }
        let form = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let json = serde_json::to_string(secret).unwrap_or_default();
        let json = json.strip_prefix('"').and_then(|json| json.strip_suffix('"'));
        let json = json.unwrap_or(secret).to_owned();
        // Whole bodies are repeated too, so the secret may be spelt as it was there.
        self.0.extend([secret.to_owned(), form, json].map(Secret::new));
        self.0.dedup();
        // A secret may contain another; the longer has to go first.
        self.0.sort_by_key(|secret| usize::MAX - secret.expose().len());
    }

    /// Adds what may be a secret, unless it is so short that it is rather a word, which a message
    /// would be the poorer without.
    pub(super) fn add_if_long(&mut self, value: &str) {
        if value.len() >= SHORTEST_SECRET {
            self.add(value);
        }
    }

    /// Adds every text in `value` that may be a secret.
    pub(super) fn add_all(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.add_if_long(text),
            Value::Array(values) => values.iter().for_each(|value| self.add_all(value)),
            Value::Object(fields) => fields.values().for_each(|value| self.add_all(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// A server's text as it may stand in a message: one line, short, and without any secret.
    pub(super) fn quote(&self, text: &str) -> String {
        let one_line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        let mut quoted: String = one_line.collect();
        for secret in &self.0 {
            quoted = quoted.replace(secret.expose(), REDACTED);
        }
        // Cutting comes last: half a secret would no longer be found.
        shorten(without_jwts(&quoted).trim())
    }
}

/// An unknown JWT may be a token all the same.
fn without_jwts(text: &str) -> String {
    let in_jwt = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    text.split_inclusive(|c| !in_jwt(c))
        .flat_map(|piece| {
            let word = piece.trim_end_matches(|c| !in_jwt(c));
            // Every JWT begins with the base64 of `{"`.
            let shown = match word.starts_with("eyJ") {
                true => REDACTED,
                false => word,
            };
            [shown, &piece[word.len()..]]
        })
        .collect()
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => text[..end].chars().chain(iter::once('…')).collect(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(known: &[&str]) -> Secrets {
        let mut secrets = Secrets::default();
        known.iter().for_each(|secret| secrets.add(secret));
        secrets
    }

    #[test]
    fn a_quote_is_one_short_line() {
        let none = secrets(&[]);
        assert_eq!(none.quote("  no\r\nway\u{0}\u{1b}[31m "), "no  way  [31m");
        assert_eq!(none.quote(&"ü".repeat(200)), "ü".repeat(200));
        assert_eq!(none.quote(&"ü".repeat(201)), format!("{}…", "ü".repeat(200)));
    }

    #[test]
    fn a_quote_has_no_secret_in_any_spelling() {
        let known = secrets(&["", "s3cret", "s3cret/and more", r#"say "hi""#]);
        for (text, quoted) in [
            ("token s3cret is bad", "token [redacted] is bad"),
            ("'s3cret/and more'", "'[redacted]'"),
            ("?t=s3cret%2Fand+more&x", "?t=[redacted]&x"),
            (r#"{"t":"say \"hi\""}"#, r#"{"t":"[redacted]"}"#),
            ("bad: eyJhbGciOi.e30.c2ln, sorry", "bad: [redacted], sorry"),
            ("eyJhbGciOi", "[redacted]"),
            ("the key is keyJ", "the key is keyJ"),
        ] {
            assert_eq!(known.quote(text), quoted);
        }
    }

    #[test]
    fn a_secret_at_the_cut_does_not_show_its_first_half() {
        let text = format!("{}s3cret", "x".repeat(LONGEST_QUOTE - 3));
        assert!(!secrets(&["s3cret"]).quote(&text).contains("s3c"));
    }

    #[test]
    fn debug_shows_nothing() {
        assert!(!format!("{:?}", secrets(&["s3cret"])).contains("s3cret"));
    }
}
