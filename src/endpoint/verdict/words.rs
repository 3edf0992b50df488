//! Words and codes, compared as whole words and without regard to how they are spelt.

/// A text in lower case, with one space around each word. `refreshToken`, `REFRESH_TOKEN` and
/// `refresh-token` are two words each.
#[derive(Debug)]
pub(crate) struct Words(String);

impl Words {
    pub(crate) fn of(text: &str) -> Self {
        let mut words = String::with_capacity(text.len() + 2);
        words.push(' ');
        let mut chars = text.chars().filter(|&c| c != '\'' && c != '’').peekable();
        let mut last = ' ';
        while let Some(c) = chars.next() {
            let next_is_lower = chars.peek().is_some_and(|next| next.is_lowercase());
            let begins = c.is_uppercase()
                && (last.is_lowercase()
                    || last.is_numeric()
                    || (last.is_uppercase() && next_is_lower));
            if (begins || !c.is_alphanumeric()) && !words.ends_with(' ') {
                words.push(' ');
            }
            if c.is_alphanumeric() {
                words.extend(c.to_lowercase());
            }
            last = c;
        }
        if !words.ends_with(' ') {
            words.push(' ');
        }
        Self(words)
    }

    /// Whether one of `phrases`, each in lower case, is in the text.
    pub(crate) fn say(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| {
            let mut places = self.0.match_indices(phrase);
            places.any(|(at, _)| {
                self.0[..at].ends_with(' ') && self.0[at + phrase.len()..].starts_with(' ')
            })
        })
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_ascii_whitespace()
    }
}

/// What a code that is known says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Meaning {
    /// A person has to log in, if the grant presents what a person has consented to.
    Person,
    /// It passes.
    Passing,
    /// The client or its request is at fault.
    Setup,
}

/// What `code` says, if it is known.
pub(super) fn meaning(code: &str) -> Option<Meaning> {
    // `keymanagement.service.refresh_token_expired`, `urn:…:invalid_grant`, `https://…/expired`
    let last = code.rsplit(['.', ':', '/', '#']).find(|part| !part.is_empty()).unwrap_or(code);
    let words = Words::of(last);
    let fillers = ["is", "has", "have", "been", "was", "the", "a", "error", "exception", "err"];
    let squeezed: String = words.iter().filter(|word| !fillers.contains(word)).collect();
    if is_person(&squeezed) {
        Some(Meaning::Person)
    } else if PASSING.contains(&&*squeezed) || is_passing(&words) {
        Some(Meaning::Passing)
    } else if SETUP.contains(&&*squeezed) {
        Some(Meaning::Setup)
    } else {
        None
    }
}

/// Whether `code` says that a person has to log in.
pub(crate) fn is_about_a_person(code: &str) -> bool {
    meaning(code) == Some(Meaning::Person)
}

fn is_person(code: &str) -> bool {
    let joined = |one: &str, two: &str| {
        code.strip_prefix(one) == Some(two) || code.strip_prefix(two) == Some(one)
    };
    PERSON.contains(&code)
        || SUBJECTS.iter().any(|subject| FAULTS.iter().any(|fault| joined(subject, fault)))
        || TOKENS.iter().any(|token| ["invalid", "bad"].iter().any(|fault| joined(token, fault)))
}

fn is_passing(words: &Words) -> bool {
    let mut last = "";
    words.iter().next() == Some("internal")
        || words.iter().any(|word| {
            let is_limit = last == "rate" && word.starts_with("limit");
            last = word;
            is_limit || word.starts_with("ratelimit") || word.starts_with("throttl")
        })
}

/// Without an `error` at the end, as all here.
const PERSON: [&str; 12] = [
    "loginrequired",
    "itemloginrequired",
    "orgloginrequired",
    "reloginrequired",
    "interactionrequired",
    "consentrequired",
    "accountselectionrequired",
    "mfarequired",
    "reauthrequired",
    "reauthenticationrequired",
    "reauthorizationrequired",
    "invalidlogin",
];

/// Whatever a person has and an endpoint may find at fault.
const SUBJECTS: [&str; 10] = [
    "refreshtoken",
    "token",
    "jwt",
    "session",
    "grant",
    "login",
    "authorization",
    "consent",
    "user",
    "account",
];

const FAULTS: [&str; 21] = [
    "expired",
    "revoked",
    "invalidated",
    "reused",
    "reuse",
    "reusedetected",
    "notfound",
    "alreadyused",
    "used",
    "notvalid",
    "inactive",
    "blacklisted",
    "unknown",
    "rejected",
    "deleted",
    "disabled",
    "deactivated",
    "suspended",
    "locked",
    "terminated",
    "ended",
];

/// Those of the subjects that are never the client's.
const TOKENS: [&str; 5] = ["refreshtoken", "token", "session", "grant", "jwt"];

const PASSING: [&str; 38] = [
    "temporarilyunavailable",
    "temporary",
    "temporaryfailure",
    "transient",
    "server",
    "servererror",
    "serverbusy",
    "system",
    "systembusy",
    "busy",
    "backend",
    "database",
    "unexpected",
    "unexpectedfailure",
    "unknown",
    "unknownerror",
    "slowdown",
    "overloaded",
    "maintenance",
    "undermaintenance",
    "serviceunavailable",
    "unavailable",
    "badgateway",
    "toomanyrequests",
    "toomanyattempts",
    "requestlimitexceeded",
    "quotaexceeded",
    "resourceexhausted",
    "tryagain",
    "tryagainlater",
    "retry",
    "retrylater",
    "timeout",
    "requesttimeout",
    "gatewaytimeout",
    "deadlineexceeded",
    "usedpopnonce",
    "authorizationpending",
];

const SETUP: [&str; 22] = [
    "invalidclient",
    "invalidclientid",
    "invalidclientsecret",
    "invalidclientcredentials",
    "incorrectclientcredentials",
    "badclientcredentials",
    "unknownclient",
    "clientnotfound",
    "clientdisabled",
    "unauthorizedclient",
    "unsupportedgranttype",
    "invalidgranttype",
    "invalidscope",
    "invalidtarget",
    "invalidresource",
    "invalidrequest",
    "invaliddpopproof",
    "invalidapikey",
    "missingapikey",
    "missingrefreshtoken",
    "unsupportedtokentype",
    "redirecturimismatch",
];

#[cfg(test)]
mod tests {
    use super::{Meaning::*, *};

    #[test]
    fn phrases_are_found_as_whole_words_however_they_are_spelt() {
        for text in
            ["refresh_token expired", "The refreshToken", "REFRESH-TOKEN.", "'Refresh token'"]
        {
            assert!(Words::of(text).say(&["refresh token"]), "{text}");
        }
        for (text, phrase) in [
            ("was generated for another client", "rate"),
            ("corporate accounts are separate", "rate"),
            ("not internally known", "internal"),
            ("unavailability", "unavailable"),
            ("the refresh tokens", "refresh token"),
            ("", "rate"),
        ] {
            assert!(!Words::of(text).say(&[phrase]), "{text}");
        }
        assert!(Words::of("it doesn't exist").say(&["doesnt exist"]));
        assert!(Words::of("JWTExpired: ü").say(&["jwt expired", "x"]));
        assert!(Words::of("rate").say(&["rate"]));
    }

    #[test]
    fn codes_are_known_without_regard_to_case_and_separators() {
        for (code, known) in [
            ("invalid_grant", Person),
            ("INVALID_GRANT", Person),
            ("invalid-grant", Person),
            ("InvalidGrant", Person),
            ("invalidgrant", Person),
            ("bad_refresh_token", Person),
            ("invalid_refresh_token", Person),
            ("RefreshTokenExpired", Person),
            ("refresh_token_already_used", Person),
            ("refresh_token_has_been_revoked", Person),
            ("token_not_valid", Person),
            ("TOKEN_EXPIRED", Person),
            ("session_not_found", Person),
            ("USER_DISABLED", Person),
            ("account_inactive", Person),
            ("keymanagement.service.refresh_token_expired", Person),
            ("https://errors.example/invalid-grant", Person),
            ("login_required", Person),
            ("ITEM_LOGIN_REQUIRED", Person),
            ("TokenExpiredError", Person),
            ("temporarily_unavailable", Passing),
            ("server_error", Passing),
            ("unknown_error", Passing),
            ("over_request_rate_limit", Passing),
            ("rate_limited", Passing),
            ("RateLimitExceeded", Passing),
            ("ratelimit", Passing),
            ("ThrottlingException", Passing),
            ("internal_failure", Passing),
            ("INTERNAL", Passing),
            ("InternalServerError", Passing),
            ("use_dpop_nonce", Passing),
            ("invalid_client", Setup),
            ("invalid_request", Setup),
            ("unsupported_grant_type", Setup),
            ("invalid_dpop_proof", Setup),
        ] {
            assert_eq!(meaning(code), Some(known), "{code}");
        }
        for code in [
            "",
            "corporate_limit",
            "generated",
            "never_heard_of",
            "invalid_grant_for_client",
            "token_type_invalid",
            "externalinternal",
            "...",
        ] {
            assert_eq!(meaning(code), None, "{code}");
        }
    }
}
