//! An answer as a form, as OAuth 2.0 had it in its drafts.

use serde_json::{Map, Value};

use super::Speaks;

/// The fields of `text`, if all of it is a form.
///
/// `is_form` is what the content type says, if it says anything; else a field has to be known. Where
/// the text broke off, its last field may not be whole. That is kept all the same: the fields before
/// it are of little use without it if it holds the refresh token, and no more than a prefix of a
/// token would be lost with it.
pub(super) fn read(
    text: &[u8],
    broke_off: bool,
    is_form: Option<bool>,
    speaks: &Speaks,
) -> Option<Map<String, Value>> {
    let text = text.trim_ascii();
    let fits = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'{' | b'"');
    if is_form == Some(false) || !text.contains(&b'=') || !text.iter().all(fits) {
        return None;
    }
    let fields = form_urlencoded::parse(text);
    let mut fields: Map<_, _> =
        fields.map(|(name, value)| (name.into_owned(), Value::from(value.into_owned()))).collect();
    fields.retain(|name, _| !name.is_empty());
    let known = speaks(&fields);
    (known || (is_form == Some(true) && !broke_off)).then_some(fields)
}
