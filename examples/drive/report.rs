//! What is told at the end.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt::Write as _,
    io::{self, Write as _},
    time::Duration,
};

use serde::Serialize;
use serde_json::{Map, Value};
use tower_refresh::Tokens;

use crate::{advice::advice, load::Load, plan::Plan, summary::Summary};

#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) requests: u64,
    pub(crate) ok: u64,
    pub(crate) status: BTreeMap<u16, u64>,
    pub(crate) errors: BTreeMap<String, u64>,
    /// Calls to the token endpoint that brought a token.
    pub(crate) refreshes: u64,
    /// Calls to the token endpoint that brought none.
    pub(crate) refresh_failures: u64,
    /// Requests that were sent a second time after a refusal.
    pub(crate) retries: u64,
    pub(crate) latency_us: Latency,
    pub(crate) elapsed_s: f64,
    /// What the token endpoint sent beside the tokens.
    pub(crate) extra: Map<String, Value>,
    /// Whether Ctrl-C ended the run.
    #[serde(skip)]
    pub(crate) interrupted: bool,
    /// By the kind of an error, what the first of them said.
    #[serde(skip)]
    messages: BTreeMap<String, String>,
}

#[derive(Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

impl Report {
    pub(crate) fn new(
        plan: &Plan,
        load: &Load,
        retries: u64,
        elapsed: Duration,
        interrupted: bool,
    ) -> Self {
        let tally = load.tally();
        let quantile = |q| tally.latency.value_at_quantile(q).min(tally.latency.max());
        let count = |(kind, (count, _)): (&String, &(u64, String))| (kind.clone(), *count);
        let message = |(kind, (_, first)): (&String, &(u64, String))| (kind.clone(), first.clone());
        Self {
            requests: tally.requests,
            ok: tally.ok,
            status: tally.status.clone(),
            errors: tally.errors.iter().map(count).collect(),
            refreshes: plan.calls.good(),
            refresh_failures: plan.calls.failed(),
            retries,
            latency_us: Latency {
                p50: quantile(0.50),
                p90: quantile(0.90),
                p99: quantile(0.99),
                max: tally.latency.max(),
            },
            elapsed_s: elapsed.as_secs_f64(),
            extra: plan.session.tokens().map(|tokens| extra(&tokens)).unwrap_or_default(),
            interrupted,
            messages: tally.errors.iter().map(message).collect(),
        }
    }

    /// Whether every request got a status below 400.
    pub(crate) fn is_fine(&self) -> bool {
        self.ok == self.requests
    }

    /// The figures go to stdout, what errors said to stderr. Nobody reading is no fault of ours.
    pub(crate) fn print(&self, headline: &str, json: bool) {
        let text = match json {
            true => serde_json::to_string(self).expect("numbers and strings"),
            false => Summary { headline, report: self }.to_string(),
        };
        let _ = writeln!(io::stdout(), "{text}");
        for (kind, message) in &self.messages {
            let _ = writeln!(io::stderr(), "{kind}: {message}");
            if let Some(advice) = advice(kind) {
                let _ = writeln!(io::stderr(), "  {advice}");
            }
        }
    }
}

/// An error with all that is behind it, on one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let _ = write!(text, ": {error}");
        next = error.source();
    }
    text
}

/// The extra fields, but for those that may be secrets, such as OpenID's `id_token`.
fn extra(tokens: &Tokens) -> Map<String, Value> {
    let access = tokens.access_token().map(|token| token.expose());
    let refresh = tokens.refresh_token().map(|token| token.expose());
    let known: Vec<_> = access.into_iter().chain(refresh).collect();
    let mut extra = tokens.extra().clone();
    extra.iter_mut().for_each(|(name, value)| redact(name, value, &known));
    extra
}

fn redact(name: &str, value: &mut Value, known: &[&str]) {
    match value {
        Value::Object(object) => {
            // What is in something secret is secret by whatever name.
            let within = |inner| if sounds_secret(name) { name } else { inner };
            object.iter_mut().for_each(|(inner, value)| redact(within(inner), value, known));
        }
        Value::Array(array) => array.iter_mut().for_each(|value| redact(name, value, known)),
        Value::String(text) => {
            // Every JWT begins with the base64 of `{"`.
            let token = text.contains("eyJ") || known.iter().any(|known| text.contains(known));
            if token || sounds_secret(name) {
                *text = "[redacted]".to_owned();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn sounds_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let secret = |word| name.contains(word);
    name != "token_type" && ["token", "secret", "password", "key", "assertion"].iter().any(secret)
}
