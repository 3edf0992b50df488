//! What to do about requests that had no answer.

/// By the kind of the error, as the report names it.
pub(crate) fn advice(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "login_required" => {
            "The token endpoint takes this refresh token no longer: it has expired, was revoked, or \
             an earlier run has spent it. Log in again for another; --store file:PATH keeps its \
             successors from one run to the next."
        }
        "misconfigured" => {
            "The token endpoint refuses such a call: look at --protocol, --client-id, --client-auth, \
             --scope and CLIENT_SECRET."
        }
        "unavailable" => {
            "There is no use in what the token endpoint answers, or it cannot be reached: look at \
             --token-url, and whether it speaks the --protocol."
        }
        "transport" => "The API cannot be reached, or breaks off: look at URL.",
        "request_timeout" => "The API is slower than --timeout allows.",
        "timed_out" => "The token endpoint is slower than a request waits for a token.",
        "refused" => {
            "The API refuses the token, and there is no refresh token to get another with."
        }
        "store" => "The store cannot be read or written: look at --store.",
        _ => return None,
    })
}
