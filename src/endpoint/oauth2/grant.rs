/// What the token is asked for with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    RefreshToken,
    ClientCredentials,
}

impl Grant {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::RefreshToken => "refresh_token",
            Self::ClientCredentials => "client_credentials",
        }
    }

    /// Whether it presents what a person has consented to, who can be asked again. A refresh token
    /// in the answer to any other says nothing (RFC 6749 §4.4.3).
    pub(super) fn is_for_a_person(self) -> bool {
        self == Self::RefreshToken
    }
}
