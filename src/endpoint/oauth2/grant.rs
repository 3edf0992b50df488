use http::StatusCode;

use crate::endpoint::{EndpointError, FailureClass, Spent};

/// What the token is asked for with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    RefreshToken,
    ClientCredentials,
    Password,
    JwtBearer,
    TokenExchange,
    /// One that only the program knows.
    Other,
}

impl Grant {
    /// Whether `invalid_grant` means that a user has to log in, or change a password. Of any other
    /// grant it is the program that presents what will not do.
    pub(super) fn is_of_a_user(self) -> bool {
        matches!(self, Self::RefreshToken | Self::Password)
    }

    /// Whether a refresh token in the answer is for use: what these present is presented again
    /// instead (RFC 6749 §4.4.3).
    pub(super) fn may_bring_a_refresh_token(self) -> bool {
        !matches!(self, Self::ClientCredentials | Self::JwtBearer)
    }

    /// Whether `error` may be about a credential that was sent, and not about a refresh token.
    pub(super) fn refuses_a_credential(self, error: &EndpointError) -> bool {
        let is_verdict = error.class() != FailureClass::Transient && error.spent() == Spent::No;
        let is_about_it = match error.code() {
            Some("invalid_client" | "unauthorized_client") => true,
            Some("invalid_grant") => self != Self::RefreshToken,
            _ => error.status() == Some(StatusCode::UNAUTHORIZED),
        };
        is_verdict && is_about_it
    }
}
