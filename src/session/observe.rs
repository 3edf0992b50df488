//! What operators see in their logs and on their dashboards.
//!
//! Everything passes through here, so this is the one place to check that no secret does.

use std::time::Duration;

use super::event::Event;

/// Turns the events of one session into `tracing` events and `metrics` (features of the same
/// names). With neither it does nothing.
#[derive(Debug)]
#[cfg_attr(not(any(feature = "tracing", feature = "metrics")), allow(dead_code))]
pub(crate) struct Observer {
    /// The session's name, as operators know it.
    session: String,
}

impl Observer {
    pub(crate) fn new(session: Option<String>) -> Self {
        Self { session: session.unwrap_or_else(|| "default".to_owned()) }
    }

    pub(crate) fn event(&self, event: &Event) {
        #[cfg(feature = "tracing")]
        self.trace(event);
        #[cfg(feature = "metrics")]
        self.count(event);
        let _ = event;
    }

    /// The session shares a store and does not know whom its tokens are issued for.
    pub(crate) fn anonymous(&self) {
        #[cfg(feature = "tracing")]
        tracing::info!(
            session = self.session.as_str(),
            "it is not checked whose tokens the store holds: name the issuer with \
             `SessionBuilder::issuer`"
        );
    }

    /// A refresh has ended, well or not, after this long.
    pub(crate) fn refresh_took(&self, elapsed: Duration) {
        #[cfg(feature = "metrics")]
        metrics::histogram!("tower_refresh_duration_seconds", "session" => self.session.clone())
            .record(elapsed);
        let _ = elapsed;
    }

    /// There is a new token; it expires in so long, if anything says so.
    pub(crate) fn token_lives(&self, left: Option<Duration>) {
        #[cfg(feature = "metrics")]
        if let Some(left) = left {
            metrics::gauge!("tower_refresh_token_life_seconds", "session" => self.session.clone())
                .set(left.as_secs_f64());
        }
        let _ = left;
    }

    /// A set has forgotten a session that nothing was lost with.
    #[cfg(feature = "sessions")]
    pub(crate) fn forgotten(&self, cause: &'static str) {
        #[cfg(feature = "metrics")]
        metrics::counter!(
            "tower_refresh_sessions_forgotten_total",
            "session" => self.session.clone(),
            "cause" => cause,
        )
        .increment(1);
        let _ = cause;
    }

    /// The span that a refresh runs in.
    #[cfg(feature = "tracing")]
    pub(crate) fn span(&self, replaces: u64) -> tracing::Span {
        tracing::info_span!("token_refresh", session = %self.session, replaces)
    }

    #[cfg(feature = "tracing")]
    fn trace(&self, event: &Event) {
        use tracing::{debug, error, info, warn};

        let session = self.session.as_str();
        match event {
            Event::Refreshed { generation, adopted } => {
                info!(session, generation, adopted, "there is a new access token");
            }
            Event::RefreshFailed { error } if error.is_login_required() => {
                error!(session, error = %format_args!("{error:#}"), "a user has to log in again");
            }
            Event::RefreshFailed { error } => {
                warn!(session, error = %format_args!("{error:#}"), "the access token could not be refreshed");
            }
            Event::Refused { generation } => {
                info!(session, generation, "the access token was refused");
            }
            Event::StepUpRequired { acr_values, max_age } => {
                warn!(session, ?acr_values, ?max_age, "the API wants a stronger login");
            }
            Event::RotationLost => {
                error!(session, "the refresh token was spent and the answer lost");
            }
            Event::SaveFailed { error } => {
                error!(session, error = %format_args!("{error:#}"), "the tokens in use could not be saved");
            }
            Event::Saved => info!(session, "the tokens in use are saved"),
            Event::TokensSet => info!(session, "new tokens were set"),
            Event::LoggedIn => info!(session, "the login endpoint issued new tokens"),
            Event::LoggedOut => info!(session, "the session was logged out"),
            Event::Lagged { skipped } => debug!(session, skipped, "events were skipped"),
        }
    }

    #[cfg(feature = "metrics")]
    fn count(&self, event: &Event) {
        let count = |name: &'static str, what: &'static str| {
            metrics::counter!(name, "session" => self.session.clone(), "outcome" => what)
                .increment(1);
        };
        match event {
            Event::Refreshed { adopted: false, .. } => count("tower_refresh_total", "refreshed"),
            Event::Refreshed { adopted: true, .. } => count("tower_refresh_total", "adopted"),
            Event::RefreshFailed { error } => {
                let outcome = match error.kind() {
                    crate::ErrorKind::LoginRequired => "login_required",
                    crate::ErrorKind::Misconfigured | crate::ErrorKind::ForeignRecord => {
                        "misconfigured"
                    }
                    crate::ErrorKind::Store => "store",
                    _ => "unavailable",
                };
                count("tower_refresh_total", outcome);
            }
            Event::Refused { .. } => count("tower_refresh_refusals_total", "refused"),
            Event::StepUpRequired { .. } => count("tower_refresh_refusals_total", "step_up"),
            Event::RotationLost => count("tower_refresh_rotations_total", "lost"),
            Event::SaveFailed { .. } => count("tower_refresh_saves_total", "failed"),
            Event::Saved => count("tower_refresh_saves_total", "recovered"),
            Event::LoggedIn => count("tower_refresh_total", "logged_in"),
            Event::TokensSet | Event::LoggedOut | Event::Lagged { .. } => {}
        }
    }
}
