use crate::error::Error;

/// What a session's things are called. The braces make the name the *hash tag*: a cluster keeps
/// all keys with one tag in one slot.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub(super) record: String,
    pub(super) changed: String,
}

pub(super) const PREFIX: &str = "tower-refresh";

/// Longer ones are a token or a whole URL by mistake.
const LONGEST: usize = 256;

impl Keys {
    pub(super) fn new(prefix: &str, name: &str) -> Result<Self, Error> {
        check("key prefix", prefix)?;
        check("name", name)?;
        let key = |what| format!("{prefix}:{{{name}}}:{what}");
        Ok(Self { record: key("record"), changed: key("changed") })
    }
}

fn check(what: &str, text: &str) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::invalid(format!("the {what} of a Redis store is empty")));
    }
    if text.len() > LONGEST {
        let length = text.len();
        return Err(Error::invalid(format!(
            "the {what} of a Redis store has {length} bytes, and at most {LONGEST} are allowed"
        )));
    }
    let Some((at, wrong)) =
        text.char_indices().find(|&(_, c)| c.is_control() || matches!(c, '{' | '}'))
    else {
        return Ok(());
    };
    let why = match wrong {
        '{' | '}' => "braces say which of a cluster's nodes keeps the key, and are put in for you",
        _ => "control characters make keys that cannot be typed",
    };
    Err(Error::invalid(format!("the {what} of a Redis store has {wrong:?} at byte {at}: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_session_have_one_hash_tag() {
        let keys = Keys::new(PREFIX, "billing:eu").unwrap();
        assert_eq!(keys.record, "tower-refresh:{billing:eu}:record");
        assert_eq!(keys.changed, "tower-refresh:{billing:eu}:changed");
        let keys = Keys::new("prod:tokens", "billing:eu").unwrap();
        assert_eq!(keys.record, "prod:tokens:{billing:eu}:record");
    }

    #[test]
    fn a_name_that_would_break_the_tag_is_refused() {
        for (name, word) in [
            ("", "is empty"),
            ("a{b", "'{' at byte 1"),
            ("ab}", "'}' at byte 2"),
            ("a\n", "'\\n' at byte 1"),
            (&"x".repeat(257), "257 bytes"),
        ] {
            let error = Keys::new(PREFIX, name).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
            let error = Keys::new(name, "name").unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("key prefix"), "{error}");
        }
        Keys::new(PREFIX, "bücher & co").unwrap();
    }
}
