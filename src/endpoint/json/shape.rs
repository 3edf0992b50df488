//! The shape of the request: its method, where the tokens are in it, and its body.

use std::{borrow::Cow, fmt};

use http::{Method, header::AUTHORIZATION, header::COOKIE};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::place::{Place, bearer};
use crate::{
    endpoint::{EndpointError, credential::Credential, exchange::Call, exchange::Exchange},
    token::{RefreshToken, Secret},
};

/// What each request is like.
#[derive(Clone)]
pub(super) struct Shape {
    pub(super) method: Method,
    pub(super) is_form: bool,
    /// Where the refresh token is. `None`: in the field that has it in the answer too.
    pub(super) refresh_token: Option<Place>,
    /// Whether one is sent at all.
    pub(super) needs_refresh_token: bool,
    /// The bearer token of the program itself.
    pub(super) bearer: Option<Credential>,
    pub(super) fields: Map<String, Value>,
}

impl Shape {
    pub(super) fn new() -> Self {
        Self {
            method: Method::POST,
            is_form: false,
            refresh_token: None,
            needs_refresh_token: true,
            bearer: None,
            fields: Map::new(),
        }
    }

    /// A request with these secrets. `name` is the field that has the refresh token in the answer.
    pub(super) fn call(
        &self,
        exchange: &Exchange,
        name: Cow<'_, str>,
        refresh_token: Option<&RefreshToken>,
        own: Option<&Secret>,
    ) -> Result<Call, EndpointError> {
        let refresh_token = refresh_token.map(RefreshToken::expose);
        let (name, in_body, elsewhere) = match &self.refresh_token {
            None => (name, refresh_token, None),
            Some(Place::Field(name)) => (Cow::Borrowed(&**name), refresh_token, None),
            Some(place) => (name, None, refresh_token.map(|token| (place, token))),
        };
        let body = Body { token: in_body.map(|token| (&*name, token)), fields: &self.fields };
        let mut call = match (body.is_empty(), self.is_form) {
            // Some servers do not take an empty object for none.
            (true, _) => Call::bare(),
            (false, false) => Call::json(body.json()),
            (false, true) => body.form(),
        };
        if self.method == Method::GET && !body.is_empty() {
            return Err(EndpointError::misconfigured(
                "a GET has no body: name a place for the refresh token with `refresh_token_in`, and \
                 take out `field`",
            ));
        }
        call.method = self.method.clone();
        if let Some((place, token)) = elsewhere {
            // The endpoint's own cookies stay.
            let cookies = exchange.headers.get(COOKIE).cloned();
            call.headers.extend(cookies.map(|cookies| (COOKIE, cookies)));
            place.put(token, &mut call.headers)?;
        }
        if let Some(own) = own
            && call.headers.insert(AUTHORIZATION, bearer(own.expose())?).is_some()
        {
            return Err(EndpointError::misconfigured(
                "the refresh token and `authorize_with` are both in the `Authorization` header: name \
                 another place for the refresh token",
            ));
        }
        Ok(call)
    }
}

/// The request's body, borrowed so that the token is written once and nowhere else.
struct Body<'a> {
    token: Option<(&'a str, &'a str)>,
    fields: &'a Map<String, Value>,
}

impl<'a> Body<'a> {
    fn is_empty(&self) -> bool {
        self.token.is_none() && self.fields.is_empty()
    }

    /// The token wins over a field of the same name.
    fn others(&self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        let name = self.token.map(|(name, _)| name);
        self.fields.iter().filter(move |(field, _)| Some(&***field) != name)
    }

    fn json(&self) -> Zeroizing<Vec<u8>> {
        // Room enough that no growing buffer leaves a copy of a secret behind.
        let token = self.token.map_or(0, |(name, token)| 6 * name.len() + 2 * token.len());
        let fields = serde_json::to_vec(self.fields).map_or(0, |fields| fields.len());
        let mut bytes = Zeroizing::new(Vec::with_capacity(token + fields + 16));
        serde_json::to_writer(&mut *bytes, self).expect("strings and JSON values to a Vec");
        bytes
    }

    fn form(&self) -> Call {
        let text = |value: &'a Value| match value {
            Value::Null => None,
            Value::String(text) => Some(Cow::Borrowed(&**text)),
            other => Some(Cow::Owned(other.to_string())),
        };
        let fields = self.others().filter_map(|(name, value)| Some((&**name, text(value)?)));
        let fields: Vec<_> = fields.collect();
        let fields = fields.iter().map(|(name, value)| (*name, &**value));
        let pairs: Vec<_> = self.token.into_iter().chain(fields).collect();
        Call::form(&pairs)
    }
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some((name, token)) = self.token {
            map.serialize_entry(name, token)?;
        }
        for (name, value) in self.others() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A field may hold a key, so only their names are shown.
        f.debug_struct("Shape")
            .field("method", &self.method)
            .field("is_form", &self.is_form)
            .field("refresh_token", &self.refresh_token)
            .field("needs_refresh_token", &self.needs_refresh_token)
            .field("bearer", &self.bearer)
            .field("fields", &self.fields.keys().collect::<Vec<_>>())
            .finish()
    }
}
