//! The options of a session and of a set, which are the same.

/// The setters of a builder that has a `config`.
macro_rules! option_setters {
    () => {
        /// What stands before the token in the header: `"token".parse()?`, or [`AuthScheme::NONE`] for
        /// the bare token.
        ///
        /// Defaults to [`AuthScheme::BEARER`].
        pub fn scheme(mut self, scheme: AuthScheme) -> Self {
            self.config.scheme = scheme;
            self
        }

        /// The origins that the session's tokens are for. Whatever layer or middleware a request to
        /// another origin goes through, it is an [error](crate::ErrorKind::WrongOrigin) that names
        /// both, and nothing is sent.
        ///
        /// It is for programs with several identities, whose hosts differ or whose requests could be
        /// mixed up. A layer's [`only_for`](crate::RefreshLayer::only_for) comes first: what it leaves
        /// alone goes out without a token and is no error.
        ///
        /// ```
        /// # fn doc(endpoint: tower_refresh::endpoint::JsonEndpoint) -> Result<(), tower_refresh::Error> {
        /// use tower_refresh::Session;
        ///
        /// let session = Session::builder(endpoint)
        ///     .origins(["https://acme.example.com".parse()?])
        ///     .build();
        /// # Ok(())
        /// # }
        /// ```
        ///
        /// It does not bind what takes a token from [`Session::token`](crate::Session::token), nor a client below a layer that
        /// follows redirects: such a client takes `Authorization` off on the way to another host, and
        /// leaves a [header of your own](crate::RefreshLayer::header) in place.
        ///
        /// Defaults to all origins. An empty list permits none.
        pub fn origins(mut self, origins: impl IntoIterator<Item = Origin>) -> Self {
            self.config.origins = Some(origins.into_iter().collect());
            self
        }

        /// How long callers wait for one call to the endpoint, from when the endpoint is ready. It ends
        /// the call too, unless the call may use up the refresh token: then it goes on, for at most
        /// [`call_limit`](Self::call_limit), as to present the token again could cost the login.
        ///
        /// Use this in place of a `Timeout` layer around the endpoint, which would drop the answer.
        ///
        /// Defaults to 10 s.
        pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
            self.config.attempt_timeout = timeout;
            self
        }

        /// How long a call that may use up the refresh token takes at most, although its callers give up
        /// after [`attempt_timeout`](Self::attempt_timeout). No other call starts before it has ended,
        /// and its tokens are used whenever they come. If the server's last answer kept the refresh
        /// token, `attempt_timeout` ends the call.
        ///
        /// Defaults to 60 s, and is at least `attempt_timeout`.
        pub fn call_limit(mut self, limit: Duration) -> Self {
            self.config.call_limit = limit;
            self
        }

        /// How many calls one refresh makes at most while they fail transiently; at least one.
        ///
        /// Defaults to 3.
        pub fn attempts(mut self, attempts: u32) -> Self {
            self.config.attempts = attempts.max(1);
            self
        }

        /// The delay before the second attempt and the longest before any: it doubles from one to the
        /// other, and of each a random part is taken (full jitter).
        ///
        /// Defaults to 200 ms and 5 s.
        pub fn backoff(mut self, first: Duration, most: Duration) -> Self {
            self.config.backoff = (first, most);
            self
        }

        /// The pause after the first failed refresh and the longest after any: it doubles from one to
        /// the other with each failure in a row, and of each a random part is taken. While it lasts no
        /// call is made, and callers that need a token get the last error. After a fault of
        /// configuration it is 30 s doubling to 5 min instead.
        ///
        /// Defaults to 1 s and 30 s.
        pub fn pause(mut self, first: Duration, most: Duration) -> Self {
            self.config.pause = (first, most);
            self
        }

        /// How long a caller waits for a token at most. The refresh goes on without it.
        ///
        /// Defaults to 30 s.
        pub fn wait_limit(mut self, limit: Duration) -> Self {
            self.config.wait_limit = limit;
            self
        }

        /// How long one call to the store may take.
        ///
        /// Defaults to 2 s.
        pub fn store_timeout(mut self, timeout: Duration) -> Self {
            self.config.store_timeout = timeout;
            self
        }

        /// How many refreshes refusals may cause within how long that do not cure them: it bounds
        /// what an API costs that refuses every token. Past it a refusal goes to the caller. See
        /// [the guide](crate::guide::operations#tokens-are-refused) for what counts.
        ///
        /// Defaults to 3 in 30 s.
        pub fn refusal_limit(mut self, refreshes: u32, window: Duration) -> Self {
            self.config.refusals = (refreshes, window);
            self
        }

        /// How long before a token expires the next one is fetched, while requests go on with the old
        /// one; at most a fifth of its life. A random part of up to one half is taken off, once per
        /// token.
        ///
        /// Zero starts no refresh ahead. That is the mode for processes that are frozen between requests
        /// (serverless): there a refresh in the background would stop half-way.
        ///
        /// Defaults to 60 s.
        pub fn refresh_ahead(mut self, ahead: Duration) -> Self {
            self.config.refresh_ahead = ahead;
            self
        }

        /// How long before it expires a token is no longer sent; at most a twentieth of its life.
        ///
        /// Defaults to 10 s.
        pub fn leeway(mut self, leeway: Duration) -> Self {
            self.config.leeway = leeway;
            self
        }

        /// How much time lies at least between two refreshes, so that a server which issues expired
        /// tokens causes no loop. A caller that needs a token sooner waits, also if the one in use was
        /// refused: keep it short beside [`wait_limit`](Self::wait_limit).
        ///
        /// Defaults to 1 s.
        pub fn min_interval(mut self, interval: Duration) -> Self {
            self.config.min_interval = interval;
            self
        }

        /// The life of the lease that a process writes into the record before it calls the endpoint, if
        /// it shares the [`store`](Self::store) with others. It renews the lease until the refresh has
        /// ended. If it dies, the others take over after one such life. They wait for as long after an
        /// outage of the store, and after one of them has put lost tokens back.
        ///
        /// A session that is used looks at a shared store every 30 to 50 % of it.
        ///
        /// Defaults to 5 s, and is at least 100 ms and at most 60 s.
        pub fn lease(mut self, life: Duration) -> Self {
            self.config.lease = life;
            self
        }

        /// Whether the token is refreshed although no request comes, so that no request waits for one.
        ///
        /// It begins with the first use of the session, as [`build`](Self::build) starts nothing. To
        /// spare the first request its wait too, call [`Session::ready`](crate::Session::ready) when the program starts. It ends
        /// when the session is closed or its last clone is dropped.
        ///
        /// Defaults to `false`.
        pub fn keep_fresh(mut self, eager: bool) -> Self {
            self.config.keep_fresh = eager;
            self
        }

        /// Whether an expired token is refreshed although the store cannot be reached. With a store
        /// that processes share, two of them may then use one refresh token, which logs the user out at
        /// a server that rotates them.
        ///
        /// Defaults to `false`.
        pub fn refresh_without_store(mut self, alone: bool) -> Self {
            self.config.refresh_without_store = alone;
            self
        }
    };
}

pub(crate) use option_setters;
