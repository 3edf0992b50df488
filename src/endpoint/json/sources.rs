//! Tokens that an answer has beside its body.

use std::time::SystemTime;

use serde_json::Value;

use super::{
    place::{Found, Place},
    shape::Shape,
};
use crate::endpoint::{EndpointError, answer::Answer, fields::Fields};

/// Where the tokens of an answer are, if not in its body.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    pub(super) access_token: Option<Place>,
    pub(super) refresh_token: Option<Place>,
}

impl Sources {
    /// Puts the tokens that are elsewhere among the fields of the body, so that they are read as any
    /// others are. `Some` is the end of the grant.
    pub(super) fn lift(
        &self,
        answer: &mut Answer,
        fields: &Fields,
        shape: &Shape,
    ) -> Option<EndpointError> {
        let now = SystemTime::now();
        let find = |place: Option<&Place>| {
            place.map_or(Found::Nothing, |place| place.find(&answer.headers, now))
        };
        // Where it is sent as a cookie its successor comes as one.
        let cookie = shape.refresh_token.as_ref().filter(|place| matches!(place, Place::Cookie(_)));
        let refresh_token = find(self.refresh_token.as_ref().or(cookie));
        let access_token = find(self.access_token.as_ref());
        let status = answer.status;
        if refresh_token == Found::Cleared && matches!(status.as_u16(), 400 | 401 | 403) {
            let message = format!(
                "the token endpoint answered {} and took the cookie of the refresh token away: a \
                 user has to log in again",
                status.as_u16()
            );
            return Some(EndpointError::invalid_grant(message).with_status(status));
        }
        for (found, name) in
            [(access_token, &fields.access_token), (refresh_token, &fields.refresh_token)]
        {
            if let Found::Token(token) = found {
                answer.insert(name, Value::String(token));
            }
        }
        None
    }
}
