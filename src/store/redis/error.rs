use redis::{ErrorKind as Kind, RedisError, ServerErrorKind as Server};

use crate::{
    error::{BoxError, Error, ErrorKind},
    store::record::Unreadable,
};

/// Why a script has no result.
pub(super) enum Failure {
    /// There is no connection to send it on.
    Connect(BoxError),
    Script(RedisError),
}

/// Says what was tried with which key, and what to do.
pub(super) fn failed(doing: &str, key: &str, failure: Failure) -> BoxError {
    let error = match failure {
        Failure::Script(error) => error,
        Failure::Connect(error) => match error.downcast::<RedisError>() {
            Ok(error) => *error,
            Err(error) => {
                let message = format!(
                    "cannot {doing} in Redis (key {key}): what the store was given to connect with \
                     has failed"
                );
                return Error::with_source(ErrorKind::Store, message, error).into();
            }
        },
    };
    let hint = match (error.kind(), error.code()) {
        (_, Some("WRONGTYPE")) => {
            "another program has put something else there: give the store another name or prefix"
        }
        (_, Some("OOM")) => "the server's memory is full: raise `maxmemory`",
        (_, Some("MISCONF")) => "the server cannot write its data to disk: see its log",
        (_, Some("NOAUTH" | "WRONGPASS")) | (Kind::AuthenticationFailed, _) => {
            "pass the user and the password in the connection's URL"
        }
        (Kind::Server(Server::NoPerm), _) => NO_RIGHTS,
        (Kind::Server(Server::BusyLoading), _) => "the server is starting: it will work soon",
        _ if error.is_timeout() => "the server did not answer in time: is it up, or busy?",
        _ if error.is_io_error() => {
            "is the server up? A `ConnectionManager` and `connect_fn` connect again, a plain \
             `MultiplexedConnection` does not"
        }
        _ if is_of_replica(&error) => {
            "this is a replica: connect to the primary (through Sentinel, if you have it)"
        }
        // What a script may not do has a code of its own only since Redis 7.2.
        _ if error.to_string().contains("The user executing the script can't") => NO_RIGHTS,
        _ => "the source of this error is the server's answer",
    };
    let message = format!("cannot {doing} in Redis (key {key}): {hint}");
    Error::with_source(ErrorKind::Store, message, without_arguments(error)).into()
}

/// Whether this is what a replica answers to who wants to write. In a script it has a code of its
/// own only since Redis 7.
pub(super) fn is_of_replica(error: &RedisError) -> bool {
    error.kind() == Kind::Server(Server::ReadOnly) || error.to_string().contains("-READONLY ")
}

const NO_RIGHTS: &str = "give this user the rights that the documentation of `RedisStore` lists";

/// A server that does not know a command answers with its arguments, and one of ours is the
/// record with the tokens in it.
fn without_arguments(error: RedisError) -> BoxError {
    let shown = error.to_string();
    match shown.split_once(", with args") {
        Some((safe, _)) => safe.to_owned().into(),
        None => error.into(),
    }
}

/// Says what is wrong with a record, and nothing of what is in it.
pub(super) fn unreadable(key: &str, error: &Unreadable) -> BoxError {
    match error {
        Unreadable::Requires(_) | Unreadable::Newer => {
            let message = format!("the token record in Redis (key {key}) {error}");
            Error::new(ErrorKind::Store, message).into()
        }
        _ => unusable(key, &error.to_string()),
    }
}

/// Says that a record `why`: "is cut off".
pub(super) fn unusable(key: &str, why: &str) -> BoxError {
    let message = format!(
        "the token record in Redis (key {key}) {why}. Was it written by another program? If \
         it is not needed, delete the key and log in again"
    );
    Error::new(ErrorKind::Store, message).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_may_not_write_is_a_replicas_whatever_the_server_makes_of_it() {
        let redis_6 = "Error running script (call to f_1): @user_script:1: @user_script: 1: \
                       -READONLY You can't write against a read only replica.";
        let redis_6 = RedisError::from((Kind::Extension, "ERR", redis_6.to_owned()));
        let redis_7 = RedisError::from((Kind::Server(Server::ReadOnly), "READONLY"));
        for error in [redis_6, redis_7] {
            assert!(is_of_replica(&error), "{error:?}");
            let shown = failed("save the tokens", "key", Failure::Script(error)).to_string();
            assert!(shown.contains("this is a replica"), "{shown}");
        }
        let another = RedisError::from((Kind::Server(Server::NoPerm), "READONLY"));
        assert!(!is_of_replica(&another), "{another:?}");
    }

    #[test]
    fn a_command_that_the_server_does_not_know_is_not_quoted_with_the_tokens() {
        let detail = "unknown command 'EVALSHA', with args beginning with: '1' 'secret'".to_owned();
        let error = RedisError::from((Kind::Extension, "ERR", detail));
        let error = failed("save the tokens", "a:{b}:record", Failure::Script(error));
        let shown = format!("{error:?} {error} {:?}", error.source());
        assert!(shown.contains("EVALSHA") && shown.contains("a:{b}:record"), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}
