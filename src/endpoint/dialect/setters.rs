//! The setters that all endpoints have.

/// How an endpoint's answers are read: the same setters for each, with defaults of its own.
macro_rules! answer_setters {
    ($Endpoint:ident, access_token: $access_token:literal, refresh_token: $refresh_token:literal) => {
        impl $Endpoint {
            /// Names the field of the answer that holds the access token. Defaults to
            #[doc = concat!("`", $access_token, "`.")]
            ///
            /// Here and in the other setters for fields of the answer, a name that begins with a
            /// slash is a path, as a JSON pointer is (RFC 6901): `/data/access_token`. Any other
            /// name is looked for beside the access token, and then at the top.
            pub fn access_token_field(
                mut self,
                name: impl Into<std::borrow::Cow<'static, str>>,
            ) -> Self {
                self.dialect.fields.access_token = name.into();
                self
            }

            #[doc = $refresh_token]
            pub fn refresh_token_field(
                mut self,
                name: impl Into<std::borrow::Cow<'static, str>>,
            ) -> Self {
                self.dialect.fields.refresh_token = name.into();
                self
            }

            /// Names the field of the answer that says how long the access token lives, or until
            /// when: a number of seconds, a time since the epoch in seconds or milliseconds, either
            /// as a string, or a date. Defaults to `expires_in`.
            ///
            /// Fields whose names say it (`expires_at`, `expiresOn`, `expiry`) count without being
            /// named, and so does a JWT's own `exp`; the shortest life that the server states is
            /// used.
            pub fn expires_in_field(
                mut self,
                name: impl Into<std::borrow::Cow<'static, str>>,
            ) -> Self {
                self.dialect.fields.expires_in = name.into();
                self
            }

            /// Names one more field of the answer that says when the access token expires, or how
            /// long it lives, in the forms of [`expires_in_field`](Self::expires_in_field).
            /// Defaults to none.
            pub fn expires_at_field(
                mut self,
                name: impl Into<std::borrow::Cow<'static, str>>,
            ) -> Self {
                self.dialect.fields.expires_at = Some(name.into());
                self
            }

            /// Says how long an access token lives if neither the answer nor the token does.
            /// Defaults to nothing said: such a token is used until the API refuses it.
            pub fn default_life(mut self, life: std::time::Duration) -> Self {
                self.dialect.default_life = Some(life);
                self
            }

            /// Decides what a failure means, before all rules of this endpoint: a class that it
            /// returns is the one that counts, and `None` leaves it to the rules. Defaults to the
            /// rules alone.
            ///
            /// It is asked about answers only, and not about one with a usable access token in it.
            /// The error that it is shown has the class by the rules, and what the server said:
            ///
            /// ```
            #[doc = concat!("use tower_refresh::endpoint::{EndpointError, FailureClass, ", stringify!($Endpoint), "};")]
            ///
            #[doc = concat!("# fn doc(endpoint: ", stringify!($Endpoint), ") {")]
            /// let endpoint = endpoint.classify(|error: &EndpointError| match error.code() {
            ///     Some("device_gone") => Some(FailureClass::InvalidGrant),
            ///     _ if error.said().is_some_and(|said| said.contains("nightly backup")) => {
            ///         Some(FailureClass::Transient)
            ///     }
            ///     _ => None,
            /// });
            /// # }
            /// ```
            pub fn classify<F>(mut self, classify: F) -> Self
            where
                F: Fn(&$crate::endpoint::EndpointError) -> Option<$crate::endpoint::FailureClass>
                    + Send
                    + Sync
                    + 'static,
            {
                self.dialect.classify(classify);
                self
            }
        }
    };
}

pub(in crate::endpoint) use answer_setters;
