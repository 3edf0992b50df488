//! What a failure means: its code, the server's own words, and from both the class.
//!
//! Evidence is weighed in one order, and the first that there is decides: what HTTP says, a code that
//! is known, words, what the endpoint's own protocol has as a failure, and last whether the endpoint
//! has worked before. `code` finds the code, `said` the words, and `words` knows them.
//!
//! Pure functions of an answer: they may fail to see what a person would, and never panic.

mod code;
mod said;
#[cfg(test)]
mod tests;
mod words;

use http::StatusCode;
use serde_json::{Map, Value};

pub(crate) use self::words::{Words, is_about_a_person};
use self::{code::Code, words::Meaning};
use super::error::FailureClass;

/// Which endpoint was asked, and for whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) protocol: Protocol,
    /// The grant presents what a person has consented to.
    pub(super) for_a_person: bool,
    /// This endpoint has issued tokens to this identity before.
    pub(super) has_worked: bool,
}

/// What the endpoint's own failures look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// `error` is a code (RFC 6749 §5.2).
    OAuth2,
    /// One field has the reason. `is_named` if the program has named it.
    Json { is_named: bool },
}

/// An answer that brought no token.
#[derive(Debug)]
pub(super) struct Refusal<'a> {
    pub(super) status: StatusCode,
    /// The server says when to come back.
    pub(super) has_retry_after: bool,
    /// The content type is that of RFC 9457.
    pub(super) is_problem: bool,
    pub(super) content: Content<'a>,
}

#[derive(Debug)]
pub(super) enum Content<'a> {
    /// An object, and the field of the endpoint's protocol that has the reason.
    Object(&'a Map<String, Value>, Option<&'a Value>),
    Text(&'a str),
}

/// What a refusal means, and what it says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) class: FailureClass,
    /// The answer is in no protocol of the endpoint's: the class goes by what it did before.
    pub(super) is_presumed: bool,
    /// At most 64 letters, digits, `_`, `.`, `:` and `-`.
    pub(super) code: Option<String>,
    /// Not yet fit to be shown.
    pub(super) said: String,
}

/// The verdict on a refusal.
pub(super) fn verdict(refusal: &Refusal<'_>, asked: Asked) -> Verdict {
    let status = refusal.status.as_u16();
    let (code, said, is_page) = match refusal.content {
        Content::Object(object, reason) => {
            let code = code::find(object, status);
            let said = said::words(object, reason, code.as_ref().map(|code| &*code.text));
            (code, said, false)
        }
        Content::Text(text) => (None, said::without_tags(text), text.contains('<')),
    };
    let case = Case { refusal, asked, code: code.as_ref(), words: Words::of(&said), is_page };
    let (class, is_presumed) = match case.class() {
        Some(class) => (class, false),
        None if asked.has_worked => (FailureClass::Transient, true),
        None => (FailureClass::Misconfigured, true),
    };
    Verdict { class, is_presumed, code: code.map(|code| code.text), said }
}

/// The words in an object of which it is not known that it is a failure.
pub(super) fn words(object: &Map<String, Value>) -> String {
    said::words(object, None, None)
}

/// Whether an object without an access token says that the call was refused, with whatever status
/// it comes.
pub(super) fn is_refusal(object: &Map<String, Value>) -> bool {
    says_failure(object)
        || code::find(object, 200).is_some()
        || members(object, &["errors", "errordescription", "errormessage", "errmsg", "fault"])
            .any(says_something)
}

/// Whether an object with an access token in it says that the call has failed.
pub(super) fn says_failure(object: &Map<String, Value>) -> bool {
    let is_false = |value: &Value| *value == Value::Bool(false) || value.as_str() == Some("false");
    members(object, &["error", "errcode", "errorcode"]).any(says_something)
        || members(object, &["ok", "success", "succeeded"]).any(is_false)
        || members(object, &["status", "result"]).any(|value| {
            let failed = ["error", "fail", "failed", "failure"];
            value.as_str().is_some_and(|value| failed.contains(&&*code::squeezed(value)))
        })
}

fn members<'a>(
    object: &'a Map<String, Value>,
    names: &'a [&str],
) -> impl Iterator<Item = &'a Value> {
    let named = |name: &str| names.contains(&&*code::squeezed(name));
    object.iter().filter(move |(name, _)| named(name)).map(|(_, value)| value)
}

/// `"error": null`, `"error": ""` and `"errcode": 0` come with good answers.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !["", "0", "none", "null", "false"].contains(&text.trim()),
        Value::Array(list) => !list.is_empty(),
        Value::Object(object) => !object.is_empty(),
    }
}

/// Whether a server says that it has not yet answered an earlier call.
pub(crate) fn says_in_progress(words: &Words) -> bool {
    words.say(IN_PROGRESS) && !says_reuse(words)
}

/// Whether a server says that the refresh token was presented twice.
pub(crate) fn says_reuse(words: &Words) -> bool {
    words.say(REUSE)
}

struct Case<'a> {
    refusal: &'a Refusal<'a>,
    asked: Asked,
    code: Option<&'a Code>,
    words: Words,
    /// Text in a markup language.
    is_page: bool,
}

impl Case<'_> {
    /// The class, by the first evidence that there is.
    fn class(&self) -> Option<FailureClass> {
        use FailureClass::{InvalidGrant, Misconfigured, Transient};

        let meaning = self.code.and_then(|code| code.meaning);
        let status = self.refusal.status.as_u16();
        match (status, meaning) {
            // A server that fails does not know what it says.
            (408 | 425 | 429 | 500.., _) => Some(Transient),
            // A redirect is no verdict, wherever it leads.
            (100..=199 | 300..=399, _) => None,
            // The answer to an earlier call is still to come, or to a call of another process.
            (_, Some(Meaning::Person)) if says_in_progress(&self.words) => Some(Transient),
            (_, Some(Meaning::Person)) if self.asked.for_a_person => Some(InvalidGrant),
            (409 | 421 | 423, _) | (_, Some(Meaning::Passing)) => Some(Transient),
            (_, Some(Meaning::Person | Meaning::Setup)) => Some(Misconfigured),
            _ if self.passes() => Some(Transient),
            _ if self.is_list_of_faults() => Some(Misconfigured),
            _ if self.has_reason() => {
                let class = if self.blames_the_call() { Misconfigured } else { InvalidGrant };
                Some(class)
            }
            _ if self.names_a_dead_token() => Some(InvalidGrant),
            _ if self.has_code_of_protocol() => Some(Misconfigured),
            _ => None,
        }
    }

    /// The words are those of a fault that passes.
    fn passes(&self) -> bool {
        let words = &self.words;
        let tried_again = words.say(&["try again"]) && !words.say(LOG_IN);
        let timed_out = words.say(&["timed out"]) && !words.say(SESSION_TIMED_OUT);
        self.refusal.has_retry_after
            || words.say(PASSING)
            || says_in_progress(words)
            || tried_again
            || timed_out
    }

    /// FastAPI's account of a request that it could not read.
    fn is_list_of_faults(&self) -> bool {
        let Content::Object(object, reason) = self.refusal.content else { return false };
        let lists = [reason, object.get("detail"), object.get("errors")];
        let has_place = |fault: &Value| fault.get("loc").is_some();
        lists.into_iter().flatten().filter_map(Value::as_array).any(|faults| {
            faults.iter().any(has_place) || (self.refusal.status == 422 && !faults.is_empty())
        })
    }

    /// The field of a JSON endpoint that has the reason of a refusal has one.
    fn has_reason(&self) -> bool {
        let Content::Object(object, Some(reason)) = self.refusal.content else { return false };
        let Protocol::Json { is_named } = self.asked.protocol else { return false };
        let has_text = match reason {
            Value::String(text) => !text.trim().is_empty(),
            reason => reason.is_object(),
        };
        // A gateway's, which has a field of that name too.
        let is_gateways = !is_named && (self.refusal.is_problem || is_problem(object));
        let is_refusal = matches!(self.refusal.status.as_u16(), 400 | 401 | 403 | 410 | 422);
        self.asked.for_a_person && has_text && is_refusal && !is_gateways
    }

    /// A reason that rather speaks of how the call was made. At an endpoint that has worked, it
    /// does not.
    fn blames_the_call(&self) -> bool {
        let about_a_login =
            self.words.say(&["token", "tokens", "session", "grant", "login", "jwt"]);
        !self.asked.has_worked
            && (self.words.say(&["csrf", "xsrf", "api key", "apikey"])
                || (self.words.say(FORBIDDEN) && !about_a_login))
    }

    /// The server names the refresh token, and says that it is of no more use.
    fn names_a_dead_token(&self) -> bool {
        let words = &self.words;
        let names_it = words.say(REFRESH_TOKEN)
            // At an endpoint that has worked there is no other token.
            || (self.asked.has_worked && words.say(&["token", "jwt"]) && !words.say(OTHER_TOKENS));
        let is_dead = words.say(DEAD) || words.say(SESSION_TIMED_OUT);
        let blames_the_call = words.say(&["required", "missing", "grant type", "parameter"]);
        self.asked.for_a_person && !self.is_page && names_it && is_dead && !blames_the_call
    }

    /// `error` is a code, though not a known one, and not a status in words.
    fn has_code_of_protocol(&self) -> bool {
        let Content::Object(object, _) = self.refusal.content else { return false };
        let code = object.get("error").and_then(Value::as_str).map(str::trim);
        let is_number = |code: &str| code.parse::<f64>().is_ok();
        self.asked.protocol == Protocol::OAuth2
            && code.is_some_and(|code| {
                code::is_code(code) && !is_number(code) && !code::is_reason_phrase(code)
            })
    }
}

/// The shape of RFC 9457.
fn is_problem(object: &Map<String, Value>) -> bool {
    let has = |name| object.contains_key(name);
    has("title") && (has("status") || has("type"))
}

const PASSING: &[&str] = &[
    "too many requests",
    "too many attempts",
    "rate limit",
    "rate limited",
    "rate limits",
    "rate limiting",
    "throttled",
    "throttling",
    "temporarily",
    "temporary",
    "try again later",
    "try again in",
    "retry your request",
    "retry later",
    "please retry",
    "busy",
    "overloaded",
    "maintenance",
];

const IN_PROGRESS: &[&str] = &[
    "being processed",
    "being refreshed",
    "already processing",
    "in progress",
    "concurrent",
    "concurrently",
];

const REUSE: &[&str] =
    &["reuse", "reused", "re use", "re used", "already used", "already been used", "used twice"];

const LOG_IN: &[&str] = &[
    "log in",
    "login",
    "sign in",
    "signin",
    "log back in",
    "sign back in",
    "reauthenticate",
    "re authenticate",
    "reauthorize",
    "re authorize",
    "reconnect",
];

const SESSION_TIMED_OUT: &[&str] =
    &["session timed out", "session has timed out", "session is timed out", "session timeout"];

const FORBIDDEN: &[&str] = &[
    "not authenticated",
    "credentials were not provided",
    "forbidden",
    "permission",
    "permissions",
    "access denied",
    "access is denied",
    "not found",
    "not allowed",
];

const REFRESH_TOKEN: &[&str] =
    &["refresh token", "refreshtoken", "refresh tokens", "refresh jwt", "session", "sessions"];

const OTHER_TOKENS: &[&str] =
    &["access token", "id token", "csrf", "xsrf", "api token", "client", "bearer token"];

const DEAD: &[&str] = &[
    "expired",
    "expires",
    "invalid",
    "invalidated",
    "revoked",
    "not found",
    "unknown",
    "used",
    "reused",
    "over",
    "no longer",
    "will not do",
    "not valid",
    "isnt valid",
    "not active",
    "inactive",
    "not exist",
    "doesnt exist",
    "no such",
    "not recognized",
    "unrecognized",
    "deleted",
    "removed",
    "blacklisted",
    "terminated",
    "ended",
    "rejected",
    "consumed",
    "not match",
    "doesnt match",
    "malformed",
];
