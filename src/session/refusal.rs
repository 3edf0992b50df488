//! What a client's layer tells the session of the answers to its requests.

use std::{future::Future, time::Duration};

use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

use super::{
    Session,
    snapshot::{Token, TokenId},
    state::{Answer, Need, Now, Refused, Route},
};
use crate::error::Error;

impl Session {
    /// What follows from a refusal: the token to send the request again with, or `None` if the
    /// refusal is the answer. `retried_at` is when the refused token had been sent in the place of
    /// another.
    ///
    /// A token younger than `acceptance_delay` is to be sent once more as it is, when it is as old.
    pub(crate) fn after_refusal(
        &self,
        refused: Refused,
        retried_at: Option<Instant>,
        acceptance_delay: Duration,
    ) -> Option<impl Future<Output = Result<Token, Error>> + Send + use<>> {
        let rest = self.until_aged(refused.token, acceptance_delay);
        match (retried_at, refused.route) {
            _ if refused.is_retried && (rest.is_some() || retried_at.is_none()) => {
                let session = self.clone();
                Some(async move { session.token_for_retry(refused, rest).await })
            }
            _ if rest.is_some() => None,
            (Some(_), Some(route)) => {
                let Refused { token, .. } = refused;
                self.judge(Answer { token, route, retried_at, is_accepted: false });
                None
            }
            _ => {
                // For the next request.
                if let Some(runtime) = self.runtime() {
                    let _ = self.join(Need::Refused(refused), &runtime);
                }
                None
            }
        }
    }

    async fn token_for_retry(
        &self,
        refused: Refused,
        rest: Option<Duration>,
    ) -> Result<Token, Error> {
        if let Some(rest) = rest {
            sleep(rest).await;
            let live = self.cell.read(|state| state.live_token(&Now::read()));
            if let Some(token) = live.filter(|token| token.id() == refused.token) {
                return Ok(token);
            }
        }
        self.successor(refused).await
    }

    fn until_aged(&self, token: TokenId, age: Duration) -> Option<Duration> {
        if age.is_zero() || Handle::try_current().is_err() {
            return None;
        }
        self.cell.read(|state| state.until_aged(token, age, &Now::read()))
    }

    /// Whether answers that are no refusals tell anything. As a rule they do not, and no request has
    /// to find out more.
    #[inline]
    pub(crate) fn watches_routes(&self) -> bool {
        self.cell.watches_routes()
    }

    /// A request of this route was accepted.
    #[cold]
    pub(crate) fn accepted(&self, token: TokenId, route: Route, retried_at: Option<Instant>) {
        self.judge(Answer { token, route, retried_at, is_accepted: true });
    }

    fn judge(&self, answer: Answer) {
        if self.cell.read(|state| state.is_telling(&answer)) {
            self.cell.apply(|state, now| state.judge(&answer, now));
        }
    }
}
