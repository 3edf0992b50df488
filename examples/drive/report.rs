//! What is printed at the end.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt::{self, Display, Write as _},
    io::{self, Write as _},
    sync::atomic::Ordering::Relaxed,
    time::Duration,
};

use serde::Serialize;
use serde_json::{Map, Value};
use tower_refresh::Tokens;

use crate::{load::Load, plan::Plan};

#[derive(Serialize)]
pub(crate) struct Report {
    requests: u64,
    ok: u64,
    status: BTreeMap<u16, u64>,
    errors: BTreeMap<String, u64>,
    /// Calls to the token endpoint that brought a token.
    refreshes: u64,
    /// Calls to the token endpoint that brought none.
    refresh_failures: u64,
    /// Requests that were sent a second time after a refusal.
    retries: u64,
    latency_us: Latency,
    elapsed_s: f64,
    /// What the token endpoint sent beside the tokens.
    extra: Map<String, Value>,
    /// What the first error of each kind said.
    #[serde(skip)]
    messages: Vec<String>,
}

#[derive(Serialize)]
struct Latency {
    p50: u64,
    p90: u64,
    p99: u64,
    max: u64,
}

impl Report {
    pub(crate) fn new(plan: &Plan, load: &Load, retries: u64, elapsed: Duration) -> Self {
        let tally = load.tally();
        let quantile = |q| tally.latency.value_at_quantile(q).min(tally.latency.max());
        let count = |(kind, (count, _)): (&String, &(u64, String))| (kind.clone(), *count);
        let message = |(kind, (_, first)): (&String, &(u64, String))| format!("{kind}: {first}");
        Self {
            requests: tally.requests,
            ok: tally.ok,
            status: tally.status.clone(),
            errors: tally.errors.iter().map(count).collect(),
            refreshes: plan.calls.good.load(Relaxed),
            refresh_failures: plan.calls.failed.load(Relaxed),
            retries,
            latency_us: Latency {
                p50: quantile(0.50),
                p90: quantile(0.90),
                p99: quantile(0.99),
                max: tally.latency.max(),
            },
            elapsed_s: elapsed.as_secs_f64(),
            extra: plan.session.tokens().map(|tokens| extra(&tokens)).unwrap_or_default(),
            messages: tally.errors.iter().map(message).collect(),
        }
    }

    /// Whether every request got a status below 400.
    pub(crate) fn is_fine(&self) -> bool {
        self.ok == self.requests
    }

    /// The figures go to stdout, what errors said to stderr. Nobody reading is no fault of ours.
    pub(crate) fn print(&self, json: bool) {
        for message in &self.messages {
            let _ = writeln!(io::stderr(), "{message}");
        }
        let text = match json {
            true => serde_json::to_string(self).expect("numbers and strings"),
            false => self.to_string(),
        };
        let _ = writeln!(io::stdout(), "{text}");
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.requests as f64 / self.elapsed_s.max(1e-6);
        writeln!(f, "requests   {} in {:.2} s, {rate:.0} per s", self.requests, self.elapsed_s)?;
        writeln!(f, "ok         {}", self.ok)?;
        writeln!(f, "status     {}", counts(&self.status))?;
        writeln!(f, "errors     {}", counts(&self.errors))?;
        let failed = self.refresh_failures;
        writeln!(f, "refreshes  {}, failed calls {failed}", self.refreshes)?;
        writeln!(f, "retries    {}", self.retries)?;
        let Latency { p50, p90, p99, max } = &self.latency_us;
        let [p50, p90, p99, max] = [p50, p90, p99, max].map(|us| *us as f64 / 1000.0);
        write!(f, "latency    p50 {p50:.2} ms, p90 {p90:.2}, p99 {p99:.2}, max {max:.2}")?;
        for (name, value) in &self.extra {
            write!(f, "\nextra      {name}: {value}")?;
        }
        Ok(())
    }
}

fn counts<K: Display>(counts: &BTreeMap<K, u64>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    let counts: Vec<_> = counts.iter().map(|(what, count)| format!("{what}: {count}")).collect();
    counts.join(", ")
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
            object.iter_mut().for_each(|(name, value)| redact(name, value, known));
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
