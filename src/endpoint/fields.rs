use std::borrow::Cow;

use serde_json::{Map, Value};

use super::secrets::Secrets;

/// What the fields of a good answer are called. A name that begins with a slash is a path, a JSON
/// pointer (RFC 6901); any other is looked for beside the access token, and then at the top.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub(super) access_token: Cow<'static, str>,
    pub(super) refresh_token: Cow<'static, str>,
    pub(super) expires_in: Cow<'static, str>,
    /// Names that say it count in any case.
    pub(super) expires_at: Option<Cow<'static, str>>,
}

impl Fields {
    /// The names of RFC 6749 §5.1.
    pub(super) const OAUTH2: Self = Self {
        access_token: Cow::Borrowed("access_token"),
        refresh_token: Cow::Borrowed("refresh_token"),
        expires_in: Cow::Borrowed("expires_in"),
        expires_at: None,
    };

    /// The field `name`, beside the access token or at the top.
    pub(super) fn get<'a>(&self, object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
        let beside = self.beside(name);
        beside.and_then(|path| get(object, &path)).or_else(|| get(object, name))
    }

    /// Takes the field `name` out of `object`.
    pub(super) fn take(&self, object: &mut Map<String, Value>, name: &str) -> Option<Value> {
        let beside = self.beside(name);
        beside.and_then(|path| take(object, &path)).or_else(|| take(object, name))
    }

    /// The object that the access token is in.
    pub(super) fn around<'a>(&self, object: &'a Map<String, Value>) -> &'a Map<String, Value> {
        let around = self.parent().and_then(|parent| get(object, parent)?.as_object());
        around.unwrap_or(object)
    }

    /// Where a field is that stands beside a nested access token.
    fn beside(&self, name: &str) -> Option<String> {
        let parent = self.parent().filter(|_| !name.starts_with('/'))?;
        Some(format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1")))
    }

    fn parent(&self) -> Option<&str> {
        let path = &*self.access_token;
        let (parent, _) = path.starts_with('/').then(|| path.rsplit_once('/'))??;
        Some(parent).filter(|parent| !parent.is_empty())
    }

    /// Keeps the tokens in `object` out of every message: those that are looked for, and all others
    /// that may be some.
    pub(super) fn hide(&self, object: &Map<String, Value>, secrets: &mut Secrets) {
        for name in [&self.access_token, &self.refresh_token] {
            let Some(text) = self.get(object, name).and_then(Value::as_str) else { continue };
            secrets.add(text.trim());
            // A scheme may stand before the token.
            text.split_ascii_whitespace().skip(1).for_each(|word| secrets.add_if_long(word));
        }
        object.iter().for_each(|(name, value)| hide(name, value, secrets));
    }
}

/// A field at the top of `object`, or on a path.
pub(super) fn get<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = object.get(name) {
        return Some(value);
    }
    let mut steps = steps(name)?;
    let first = object.get(&*steps.next()?)?;
    steps.try_fold(first, |value, step| match value {
        Value::Object(object) => object.get(&*step),
        Value::Array(list) => list.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

fn take(object: &mut Map<String, Value>, name: &str) -> Option<Value> {
    if let Some(value) = object.remove(name) {
        return Some(value);
    }
    let mut steps: Vec<_> = steps(name)?.collect();
    let last = steps.pop()?;
    let Some((first, steps)) = steps.split_first() else { return object.remove(&*last) };
    let first = object.get_mut(&**first)?;
    let parent = steps.iter().try_fold(first, |value, step| match value {
        Value::Object(object) => object.get_mut(&**step),
        Value::Array(list) => list.get_mut(step.parse::<usize>().ok()?),
        _ => None,
    })?;
    match parent {
        Value::Object(object) => object.remove(&*last),
        Value::Array(list) => list.get_mut(last.parse::<usize>().ok()?).map(Value::take),
        _ => None,
    }
}

/// The steps of a JSON pointer.
fn steps(path: &str) -> Option<impl Iterator<Item = Cow<'_, str>>> {
    let steps = path.strip_prefix('/')?.split('/');
    Some(steps.map(|step| match step.contains('~') {
        true => Cow::Owned(step.replace("~1", "/").replace("~0", "~")),
        false => Cow::Borrowed(step),
    }))
}

/// The last name on a path, or the name.
pub(super) fn last_name(name: &str) -> Cow<'_, str> {
    steps(name).and_then(Iterator::last).unwrap_or(Cow::Borrowed(name))
}

fn hide(name: &str, value: &Value, secrets: &mut Secrets) {
    let name = name.to_ascii_lowercase();
    let is_secret = ["token", "secret", "password", "jwt", "assertion"];
    match value {
        Value::String(text) if is_secret.iter().any(|secret| name.contains(secret)) => {
            secrets.add_if_long(text);
        }
        Value::Object(object) => {
            object.iter().for_each(|(name, value)| hide(name, value, secrets));
        }
        Value::Array(list) => list.iter().for_each(|value| hide(&name, value, secrets)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object() -> Map<String, Value> {
        let object = json!({
            "a": 1, "/x": 2, "data": {"token": "t", "a": 3, "m~n": {"o/p": 4}}, "list": [{"b": 5}],
        });
        object.as_object().unwrap().clone()
    }

    #[test]
    fn a_name_with_a_slash_before_it_is_a_path() {
        for (name, value) in [
            ("a", json!(1)),
            ("/a", json!(1)),
            ("/x", json!(2)),
            ("/data/token", json!("t")),
            ("/data/m~0n/o~1p", json!(4)),
            ("/list/0/b", json!(5)),
        ] {
            let mut object = object();
            assert_eq!(get(&object, name), Some(&value), "{name}");
            assert_eq!(take(&mut object, name), Some(value), "{name}");
            assert!(get(&object, name).is_none_or(Value::is_null), "{name}");
        }
        for name in ["", "/", "b", "data/token", "/data/b", "/a/b", "/list/7/b", "/list/x", "//"] {
            assert_eq!(get(&object(), name), None, "{name}");
            assert_eq!(take(&mut object(), name), None, "{name}");
        }
    }

    #[test]
    fn the_other_fields_are_looked_for_beside_the_access_token_and_then_at_the_top() {
        let fields = Fields { access_token: "/data/token".into(), ..Fields::OAUTH2 };
        assert_eq!(fields.get(&object(), "a"), Some(&json!(3)));
        assert_eq!(fields.take(&mut object(), "a"), Some(json!(3)));
        assert_eq!(fields.get(&object(), "/a"), Some(&json!(1)));
        assert_eq!(fields.get(&object(), "list"), Some(&json!([{"b": 5}])));
        assert!(fields.around(&object()).contains_key("token"));
        assert_eq!(Fields::OAUTH2.get(&object(), "a"), Some(&json!(1)));
    }
}
