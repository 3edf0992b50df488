use crate::error::Error;

/// What a session's things are called. The braces make the name the *hash tag*: a cluster keeps
/// all keys with one tag in one slot.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    name: String,
    pub(super) record: String,
    pub(super) lease: String,
    pub(super) changed: String,
}

const PREFIX: &str = "tower-refresh";

/// Longer ones are a token or a whole URL by mistake.
const LONGEST: usize = 256;

impl Keys {
    pub(super) fn new(name: String) -> Result<Self, Error> {
        check("name", &name)?;
        Ok(Self::of(PREFIX, name))
    }

    pub(super) fn with_prefix(self, prefix: String) -> Result<Self, Error> {
        check("key prefix", &prefix)?;
        Ok(Self::of(&prefix, self.name))
    }

    fn of(prefix: &str, name: String) -> Self {
        let key = |what| format!("{prefix}:{{{name}}}:{what}");
        let (record, lease, changed) = (key("record"), key("lease"), key("changed"));
        Self { name, record, lease, changed }
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
        _ => "control characters make keys that nobody can type",
    };
    Err(Error::invalid(format!("the {what} of a Redis store has {wrong:?} at byte {at}: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_session_have_one_hash_tag() {
        let keys = Keys::new("billing:eu".into()).unwrap();
        assert_eq!(keys.record, "tower-refresh:{billing:eu}:record");
        assert_eq!(keys.lease, "tower-refresh:{billing:eu}:lease");
        assert_eq!(keys.changed, "tower-refresh:{billing:eu}:changed");
        let keys = keys.with_prefix("prod:tokens".into()).unwrap();
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
            let error = Keys::new(name.into()).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
            let keys = Keys::new("name".into()).unwrap();
            let error = keys.with_prefix(name.into()).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("key prefix"), "{error}");
        }
        Keys::new("bücher & co".into()).unwrap();
    }
}
