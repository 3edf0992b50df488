//! What an answer means to an endpoint: the tokens in it, or the failure that it is.
//!
//! One for all endpoints. They differ in what they send, in the names of fields, and in which
//! failures are their protocol's own.

mod setters;
#[cfg(test)]
mod tests;
mod tokens;

pub(super) use self::setters::answer_setters;

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use serde_json::{Map, Value};

use super::{
    TokenResponse,
    answer::Answer,
    error::{EndpointError, FailureClass, Spent},
    exchange::with_retry_after,
    fields::{self, Fields},
    reader::{Body, Speaks},
    secrets::Secrets,
    verdict::{self, Asked, Protocol},
};
use crate::token::RefreshToken;

type Classify = dyn Fn(&EndpointError) -> Option<FailureClass> + Send + Sync;

/// How an endpoint's answers are read.
#[derive(Clone)]
pub(super) struct Dialect {
    pub(super) fields: Fields,
    pub(super) protocol: Protocol,
    /// The field of a failure that says why; `None`: it is looked for.
    pub(super) error_field: Option<Cow<'static, str>>,
    pub(super) default_life: Option<Duration>,
    classify: Option<Arc<Classify>>,
}

/// The call that an answer is to.
pub(super) struct Presented {
    /// The refresh token that went out.
    pub(super) sent: Option<RefreshToken>,
    /// It presented what a person has, who can be asked again.
    pub(super) for_a_person: bool,
    /// A refresh token in the answer is one to keep (see RFC 6749 §4.4.3).
    pub(super) keeps_refresh_token: bool,
    pub(super) has_worked: bool,
    /// The session's, where it is not `Bearer`.
    pub(super) scheme: Option<Cow<'static, str>>,
    pub(super) secrets: Secrets,
}

impl Dialect {
    pub(super) const OAUTH2: Self = Self {
        fields: Fields::OAUTH2,
        protocol: Protocol::OAuth2,
        error_field: None,
        default_life: None,
        classify: None,
    };

    pub(super) const FREDDY: Self = Self {
        fields: Fields { access_token: Cow::Borrowed("token"), ..Fields::OAUTH2 },
        protocol: Protocol::Json { is_named: false },
        error_field: Some(Cow::Borrowed("detail")),
        default_life: None,
        classify: None,
    };

    pub(super) fn name_error_field(&mut self, name: Cow<'static, str>) {
        self.error_field = Some(name);
        self.protocol = Protocol::Json { is_named: true };
    }

    pub(super) fn classify<F>(&mut self, classify: F)
    where
        F: Fn(&EndpointError) -> Option<FailureClass> + Send + Sync + 'static,
    {
        self.classify = Some(Arc::new(classify));
    }

    /// What hears when an answer has said something.
    pub(super) fn listener(&self) -> Box<Speaks> {
        let dialect = self.clone();
        Box::new(move |object| dialect.speaks(object))
    }

    /// Whether an object that was found among other things says something.
    fn speaks(&self, object: &Map<String, Value>) -> bool {
        let Fields { access_token, refresh_token, .. } = &self.fields;
        let has = |name: &str| self.fields.get(object, name).is_some();
        has(access_token)
            || has(refresh_token)
            || self.reason(object).is_some()
            || verdict::is_refusal(object)
    }

    /// The tokens that came, or why there are none. A pure function of what came.
    pub(super) fn read(
        &self,
        mut answer: Answer,
        mut presented: Presented,
    ) -> Result<TokenResponse, EndpointError> {
        if let Body::Object(object) | Body::Cut(object) = &answer.body {
            self.fields.hide(object, &mut presented.secrets);
        }
        let broken = answer.broken.take();
        let result = match answer.status.is_success() {
            true => self.read_success(&mut answer, &presented),
            false => Err(self.refused(&answer, &presented)),
        };
        result.map_err(|mut error| {
            if presented.sent.is_none() {
                // Nothing went out that could be used up.
                error = error.with_spent(Spent::No);
            }
            let error = self.classified(with_retry_after(error, &answer.headers), &answer.body);
            match broken {
                Some(broken) => error.or_source(broken),
                None => error,
            }
        })
    }

    /// What a 2xx means.
    fn read_success(
        &self,
        answer: &mut Answer,
        presented: &Presented,
    ) -> Result<TokenResponse, EndpointError> {
        let (object, is_whole) = match &mut answer.body {
            Body::Object(object) => (object, true),
            Body::Cut(object) => (object, false),
            _ => return Err(answer.unreadable(presented.has_worked, &presented.secrets)),
        };
        if self.is_refusal(object) {
            return Err(self.refused(answer, presented));
        }
        let object = std::mem::take(object);
        let (unusable, object) = match self.tokens(object, &answer.headers, presented) {
            Ok(response) => return Ok(response),
            Err(unusable) => unusable,
        };
        if !is_whole {
            answer.body = Body::Cut(object);
            return Err(answer.unreadable(presented.has_worked, &presented.secrets));
        }
        // The server has used the refresh token: it is not sent again.
        let said = verdict::words(&object);
        let said = presented.secrets.quote(&said);
        let error = answer.error(FailureClass::Misconfigured, &unusable.what, &said);
        let mut error = error.with_spent(Spent::Yes);
        if let Some(rotated) = self.rotated(&object, presented.sent.as_ref()) {
            error = error.with_rotated(rotated);
        }
        Err(match unusable.source {
            Some(source) => error.with_source(source),
            None => error,
        })
    }

    fn refused(&self, answer: &Answer, presented: &Presented) -> EndpointError {
        let refusal = answer.refusal(|object| self.reason(object));
        let asked = Asked {
            protocol: self.protocol,
            for_a_person: presented.for_a_person,
            // What broke off may have been in the endpoint's protocol.
            has_worked: presented.has_worked || matches!(answer.body, Body::Lost(_)),
        };
        answer.refused(verdict::verdict(&refusal, asked), &presented.secrets)
    }

    /// Whether a 2xx says that the call was refused. In a good answer the field of the reason is one
    /// like any other.
    fn is_refusal(&self, object: &Map<String, Value>) -> bool {
        let has_token = self.fields.get(object, &self.fields.access_token).is_some();
        let is_refusal = match has_token {
            true => verdict::says_failure,
            false => verdict::is_refusal,
        };
        is_refusal(object) || (!has_token && self.reason(object).is_some())
    }

    /// The field of a failure that says why, if it says something.
    fn reason<'a>(&self, object: &'a Map<String, Value>) -> Option<&'a Value> {
        let reason = fields::get(object, self.error_field.as_deref()?)?;
        let is_empty = match reason {
            Value::Null | Value::Bool(_) => true,
            Value::String(text) => text.trim().is_empty(),
            _ => false,
        };
        (!is_empty).then_some(reason)
    }

    /// The program's word on an answer comes before all others.
    fn classified(&self, error: EndpointError, body: &Body) -> EndpointError {
        let is_answer = !matches!(body, Body::Lost(_));
        let class = self.classify.as_ref().filter(|_| is_answer).and_then(|word| word(&error));
        match class {
            Some(class) => error.reclassified(class),
            None => error,
        }
    }
}

impl fmt::Debug for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialect")
            .field("fields", &self.fields)
            .field("error_field", &self.error_field)
            .field("default_life", &self.default_life)
            .field("classify", &self.classify.as_ref().map(|_| "…"))
            .finish()
    }
}
