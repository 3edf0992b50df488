use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{Counts, Fault, Hold, Refusal, fault::Mix, shared::Shared};
use crate::{error::Error, token::Tokens};

/// An auth server and a protected API on one loopback port, over real HTTP/1 and HTTP/2 (h2c by
/// prior knowledge).
///
/// It runs on tasks of the runtime that started it, and they stop when it is dropped. It knows
/// only the tokens that it has issued itself. See the [module](super) for an example.
///
/// # What it speaks
///
/// - [`refresh_url`](Self::refresh_url): the JSON protocol, `{"refresh_token"}` for
///   `{"token", "device_id"}`, and failures as 401 `{"detail"}`.
/// - [`token_url`](Self::token_url): OAuth 2.0's refresh_token and client_credentials grants
///   (RFC 6749 §6, §4.4).
/// - [`revocation_url`](Self::revocation_url): RFC 7009. Any token revokes its whole family.
/// - [`url`](Self::url) is also its issuer, whose metadata name the two
///   ([`EndpointUrl::discover`](crate::endpoint::EndpointUrl::discover)).
/// - [`api_url`](Self::api_url): everything below it answers 200 to a live access token, with a
///   JSON description of the request: `method`, `path`, `query`, `version`, `body_length`,
///   `body_sha256`. `/api/echo` sends the body and its trailers back instead.
pub struct AuthServer {
    shared: Arc<Shared>,
    url: String,
    stop: watch::Sender<bool>,
}

impl AuthServer {
    pub(super) fn new(shared: Arc<Shared>, url: String, stop: watch::Sender<bool>) -> Self {
        Self { shared, url, stop }
    }

    /// Where the server is: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The JSON refresh endpoint.
    pub fn refresh_url(&self) -> String {
        format!("{}/v1/auth/refresh", self.url)
    }

    /// The OAuth 2.0 token endpoint.
    pub fn token_url(&self) -> String {
        format!("{}/oauth2/token", self.url)
    }

    /// The OAuth 2.0 revocation endpoint.
    pub fn revocation_url(&self) -> String {
        format!("{}/oauth2/revoke", self.url)
    }

    /// The protected API; any path below it is one of its resources.
    pub fn api_url(&self) -> String {
        format!("{}/api", self.url)
    }

    /// Logs a user in: the first tokens of a new family, as a login page would hand them out.
    pub fn log_in(&self) -> Login {
        let issued = self.shared.ledger().log_in();
        Login {
            access_token: issued.access_token,
            refresh_token: issued.refresh_token.expect("a family has a refresh token"),
        }
    }

    /// Changes how long the access tokens live that are issued from now on.
    pub fn set_access_life(&self, life: Duration) {
        self.shared.ledger().policy.access_life = life;
    }

    /// Refuses every access token that is out. Refresh tokens stay good.
    pub fn revoke_access_tokens(&self) {
        self.shared.ledger().revoke_access_tokens();
    }

    /// Revokes the family of a token, access or refresh. `false` if it is none of this server's,
    /// or its family was revoked before.
    pub fn revoke_family(&self, token: &str) -> bool {
        self.shared.ledger().revoke_by_token(token)
    }

    /// Revokes everything that was issued: all users have to log in again.
    pub fn revoke_all(&self) {
        self.shared.ledger().revoke_all();
    }

    /// Changes how the API refuses.
    pub fn refuse_with(&self, refusal: Refusal) {
        self.shared.api().refusal = refusal;
    }

    /// Makes the API refuse every request, whatever its token, or stop doing so.
    pub fn refuse_everything(&self, everything: bool) {
        self.shared.api().refuse_everything = everything;
    }

    /// Lets this much time pass before the API looks at a request's token.
    pub fn delay_api(&self, delay: Duration) {
        self.shared.api().delay = delay;
    }

    /// Strikes the next call to a token endpoint. Faults queue up, one for each call that passes
    /// the [gate](Self::hold).
    pub fn fault(&self, fault: Fault) {
        self.shared.faults().queued.push_back(fault);
    }

    /// Strikes every call that no [queued](Self::fault) fault strikes, until it is set to `None`.
    pub fn faults_always(&self, fault: impl Into<Option<Fault>>) {
        self.shared.faults().always = fault.into();
    }

    /// Strikes calls at random: each share is the probability of its fault, and what is left to 1
    /// goes well. The same seed draws the same faults in the same order. An empty mix ends it.
    pub fn faults_mixed(&self, seed: u64, shares: impl IntoIterator<Item = (f64, Fault)>) {
        self.shared.faults().mix = Some(Mix::new(seed, shares));
    }

    /// Holds calls to the token endpoints: they arrive, and wait until the hold is released. A
    /// call whose client gives up while it waits was never carried out.
    pub fn hold(&self) -> Hold {
        self.shared.gate.hold()
    }

    /// What the server has seen so far.
    pub fn counts(&self) -> Counts {
        self.shared.counters.now()
    }

    /// Waits until this many calls to the token endpoints have arrived, since the start.
    pub async fn calls_reached(&self, calls: u64) -> Counts {
        self.reached(|counts| counts.calls >= calls).await
    }

    /// Waits until the counts are as asked, and returns them.
    ///
    /// ```
    /// # async fn f(server: tower_refresh::testing::AuthServer) {
    /// server.reached(|counts| counts.refused >= 100).await;
    /// # }
    /// ```
    pub async fn reached(&self, enough: impl FnMut(&Counts) -> bool) -> Counts {
        self.shared.counters.reached(enough).await
    }

    /// Stops the server as dropping it does, and waits until all of its tasks have ended.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        self.stop.closed().await;
    }
}

impl fmt::Debug for AuthServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthServer")
            .field("url", &self.url)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

/// What a user has after a login.
#[derive(Clone)]
#[non_exhaustive]
pub struct Login {
    /// The access token.
    pub access_token: String,
    /// The refresh token.
    pub refresh_token: String,
}

impl Login {
    /// The same, as a session wants it.
    ///
    /// # Errors
    ///
    /// None for tokens from a server of this kit.
    pub fn tokens(&self) -> Result<Tokens, Error> {
        Tokens::new(&self.access_token)?.with_refresh_token(&self.refresh_token)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}
