//! Finds what the server says in its own words, wherever it says it.

use serde_json::{Map, Value};

use super::code::squeezed;

/// Where words stand, in the order in which they are quoted, without regard to case and separators.
const FIELDS: [&str; 17] = [
    "errordescription",
    "detail",
    "details",
    "message",
    "errormessage",
    "msg",
    "errmsg",
    "errormsg",
    "description",
    "reason",
    "hint",
    "title",
    "faultstring",
    "usermessage",
    "error",
    "errors",
    "fault",
];

/// What the words of a failure may be in.
const CONTAINERS: [&str; 5] = ["data", "body", "response", "meta", "exception"];

const DEEPEST: usize = 4;

/// What `object` says, in sentences that are separated by semicolons. `first` is the field of which
/// the endpoint knows that it has the reason, and `code` is shown beside the words.
pub(super) fn words(
    object: &Map<String, Value>,
    first: Option<&Value>,
    code: Option<&str>,
) -> String {
    let mut said = Vec::new();
    if let Some(first) = first {
        collect_value(first, DEEPEST, &mut said);
    }
    collect(object, DEEPEST, &mut said);
    said.retain(|said| Some(&**said) != code);
    said.join("; ")
}

fn collect(object: &Map<String, Value>, depth: usize, said: &mut Vec<String>) {
    if depth == 0 {
        return;
    }
    for name in FIELDS {
        for (_, value) in object.iter().filter(|(key, _)| squeezed(key) == name) {
            collect_value(value, depth - 1, said);
        }
    }
    for (_, value) in object.iter().filter(|(key, _)| CONTAINERS.contains(&&*squeezed(key))) {
        if let Value::Object(inner) = value {
            collect(inner, depth - 1, said);
        }
    }
}

fn collect_value(value: &Value, depth: usize, said: &mut Vec<String>) {
    match value {
        Value::String(text) => add(text.trim(), said),
        Value::Array(list) => {
            list.iter().take(8).for_each(|value| collect_value(value, depth, said));
        }
        Value::Object(object) => {
            // FastAPI's account of a field that it could not read. `input`, beside it, repeats
            // what was sent.
            let place = object.get("loc").and_then(Value::as_array);
            let place: Vec<_> = place.into_iter().flatten().filter_map(Value::as_str).collect();
            let before = said.len();
            collect(object, depth, said);
            if let Some(first) = said.get_mut(before).filter(|_| !place.is_empty()) {
                *first = format!("{} {first}", place.join(" "));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Says nothing twice.
fn add(text: &str, said: &mut Vec<String>) {
    if !text.is_empty() && !said.iter().any(|said| said.contains(text)) {
        said.push(text.to_owned());
    }
}

/// A text without its tags, scripts and styles.
pub(super) fn without_tags(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find('<') {
        shown.push_str(&rest[..begin]);
        shown.push(' ');
        let tag = &rest[begin + 1..];
        // What is between these is not for people.
        let unseen = ["script", "style", "!--"].into_iter().find(|name| {
            tag.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name))
        });
        let end = match unseen {
            Some("!--") => tag.find("-->").map(|end| end + 3),
            Some(name) => closing(tag, name),
            None => tag.find('>').map(|end| end + 1),
        };
        rest = end.map_or("", |end| &tag[end..]);
    }
    shown.push_str(rest);
    let words: Vec<_> = shown.split_whitespace().collect();
    words.join(" ")
}

/// Where the element `name` has ended.
fn closing(tag: &str, name: &str) -> Option<usize> {
    let lower = tag.to_ascii_lowercase();
    let at = lower.find(&format!("</{name}"))?;
    Some(at + lower[at..].find('>')? + 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_are_found_wherever_servers_put_them_and_said_once() {
        for (object, said) in [
            (json!({"error": "invalid_grant", "error_description": "gone"}), "gone"),
            (json!({"status": 400, "message": "Invalid refresh token"}), "Invalid refresh token"),
            (json!({"code": 400, "msg": "Not Found"}), "Not Found"),
            (json!({"errors": [{"errorType": "invalid_grant", "message": "gone"}]}), "gone"),
            (json!({"errors": ["one", "two"]}), "one; two"),
            (
                json!({"error_description": "gone", "hint": "revoked", "message": "gone"}),
                "gone; revoked",
            ),
            (json!({"error": {"message": "expired", "code": 190}}), "expired"),
            (
                json!({"fault": {"faultstring": "Invalid refresh token", "detail": {"errorcode": "x"}}}),
                "Invalid refresh token",
            ),
            (json!({"title": "t", "detail": "d", "reason": "r"}), "d; r; t"),
            (json!({"data": {"description": "no"}}), "no"),
            (
                json!({"detail": [{"loc": ["body", "refresh_token"], "msg": "required", "input": "s3cret"}]}),
                "body refresh_token required",
            ),
            (json!({"errmsg": "no", "access_token": "s3cret"}), "no"),
            (json!({"token": "s3cret", "error": 400}), ""),
            (json!({}), ""),
        ] {
            assert_eq!(
                words(object.as_object().unwrap(), None, Some("invalid_grant")),
                said,
                "{object}"
            );
        }
        let object = json!({"why": "gone", "message": "no"});
        let first = object.get("why");
        assert_eq!(words(object.as_object().unwrap(), first, None), "gone; no");
    }

    #[test]
    fn a_page_is_shown_without_its_tags() {
        for (page, shown) in [
            (
                "<html><head><title>403</title><style>a{}</style></head>\n<body>No <b>way</b>",
                "403 No way",
            ),
            ("<SCRIPT>var a = 1 < 2;</script >x", "x"),
            ("a <!-- b > c --> d", "a d"),
            ("a < b", "a"),
            ("<script>", ""),
            ("plain\ntext", "plain text"),
        ] {
            assert_eq!(without_tags(page), shown, "{page}");
        }
    }
}
