use std::time::Duration;

use bytes::Bytes;
use http::Response;

/// How the protected API of an [`AuthServer`](super::AuthServer) refuses a request.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Refusal {
    /// 401 with a `Bearer` challenge: `error="invalid_token"`, or no error if no token was sent
    /// (RFC 6750 §3).
    #[default]
    InvalidToken,
    /// 401 without a challenge, as many home-grown APIs send it.
    Bare,
    /// 403 with `error="insufficient_scope"`.
    InsufficientScope,
    /// gRPC's: HTTP 200 with `grpc-status: 16` in the headers.
    Grpc,
    /// Exactly this answer.
    Answer(Response<Bytes>),
}

/// How the API answers; changeable while it runs.
#[derive(Debug, Default)]
pub(super) struct ApiRules {
    pub(super) refusal: Refusal,
    pub(super) refuse_everything: bool,
    pub(super) delay: Duration,
}
