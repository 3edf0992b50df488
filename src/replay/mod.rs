//! How a request's body is kept for a second sending.

/// How the layer splits a body into the one to send and the spare for a retry.
///
/// It is a policy of the layer and not a property of the body alone, so that a body of a foreign
/// crate can be given one.
pub trait Split<B>: Clone {
    /// Splits `body` into the one that is sent and what is kept for a retry.
    fn split(&self, body: B) -> (B, Spare<B>);
}

/// What is kept of a body for a second sending.
#[derive(Debug)]
pub struct Spare<B> {
    body: Option<B>,
}

impl<B> Spare<B> {
    /// Nothing is kept: the request is sent once.
    pub fn none() -> Self {
        Self { body: None }
    }

    /// A copy that is ready to be sent.
    pub fn ready(body: B) -> Self {
        Self { body: Some(body) }
    }

    /// Whether nothing was kept from the start, so that keeping the rest of the request is useless.
    pub(crate) fn is_none(&self) -> bool {
        self.body.is_none()
    }

    /// The body to send again, unless it is lost by now.
    pub(crate) fn take(self) -> Option<B> {
        self.body
    }
}

/// Bodies that know how.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByBody;

impl<B: Clone> Split<B> for ByBody {
    fn split(&self, body: B) -> (B, Spare<B>) {
        (body.clone(), Spare::ready(body))
    }
}
