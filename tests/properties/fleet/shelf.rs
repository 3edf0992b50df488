//! The store that the processes share, and what must be true of what is written to it.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};
use tower_refresh::{
    Tokens,
    store::{Record, SaveOutcome},
};

use super::{
    process::{Place, Process, TICK, Violations},
    server::Issuer,
};

const FIRST_REFRESH_TOKEN: &str = "refresh.1.0";

#[derive(Clone)]
pub(crate) struct Shelf {
    inner: Arc<Mutex<Inner>>,
    pub(crate) news: watch::Sender<()>,
    issuer: Issuer,
    violations: Violations,
}

#[derive(Default)]
struct Inner {
    /// All that was written and is not lost, the newest last.
    written: Vec<Held>,
    /// The newest place that was ever written.
    newest: Place,
    /// Grows when all connections break.
    connection: u64,
    /// Which login or log-out its id stands for.
    logins: HashMap<String, u64>,
    /// Which process an owner of leases is.
    owners: HashMap<String, usize>,
    /// When each process has written a lease, and for how long.
    landings: HashMap<usize, Vec<(Instant, Duration)>>,
    /// The processes that have taken over a lease which had lapsed.
    heirs: HashSet<usize>,
    losses: Vec<Loss>,
    /// How many writes there were of each process, and how many of them were renewals.
    counts: HashMap<usize, Counts>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) writes: u64,
    pub(crate) renewals: u64,
}

#[derive(Clone)]
struct Held {
    record: Record,
    place: Place,
    at: Instant,
    by: usize,
    skew: i64,
}

#[derive(Clone, Copy, Debug)]
struct Loss {
    at: Instant,
    noticed: bool,
    /// Whether more than leases was lost.
    tokens: bool,
}

impl Shelf {
    pub(crate) fn new(issuer: Issuer, violations: Violations) -> Self {
        Self { inner: Arc::default(), news: watch::Sender::new(()), issuer, violations }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Where the newest tokens stand that it holds, or the log-out that it knows of.
    pub(crate) fn place(&self) -> Place {
        self.lock().written.last().map_or_else(Place::default, |held| held.place)
    }

    pub(crate) fn newest(&self) -> Place {
        self.lock().newest
    }

    pub(crate) fn is_logged_out(&self) -> bool {
        self.lock().written.last().is_some_and(|held| held.record.is_logged_out())
    }

    pub(crate) fn turn(&self) -> Option<u64> {
        Some(self.lock().written.last()?.record.turn())
    }

    pub(crate) fn connection(&self) -> u64 {
        self.lock().connection
    }

    pub(crate) fn counts(&self, process: &Process) -> Counts {
        self.lock().counts.get(&process.name).copied().unwrap_or_default()
    }

    /// What is stored, as it reads now by a clock that is so many seconds ahead: the wall clock
    /// stands still in a test, and is the same for all processes. So dates are moved, and what is
    /// left of a token's life is written in for it.
    pub(crate) fn read(&self, skew: i64) -> Option<Record> {
        let inner = self.lock();
        let held = inner.written.last()?;
        let ahead = skew - held.skew;
        let mut record = serde_json::to_value(&held.record).unwrap();
        move_dates(&mut record, held.at.elapsed().as_millis() as i64 + ahead * 1_000);
        let access_token = held.record.tokens().and_then(Tokens::access_token);
        if let Some(left) = access_token.and_then(|token| self.issuer.left(token.expose()))
            && !record["tokens"]["life"].is_null()
        {
            record["tokens"]["life"] = json!(left.as_millis() as u64);
            record["tokens"]["obtained_at"] = wall(if ahead > 0 { -ahead } else { 3600 });
        }
        // All processes have the same initial tokens, of before any login here. They are known to
        // the store, so that none takes them for newer than a login that is over.
        record["seeds"] = json!([FIRST_REFRESH_TOKEN]);
        Some(serde_json::from_value(record).unwrap())
    }

    /// It forgets its last writes.
    pub(crate) fn lose(&self, writes: usize, noticed: bool) {
        let mut inner = self.lock();
        let before = inner.written.last().map(|held| (held.place, held.record.turn()));
        let kept = inner.written.len().saturating_sub(writes);
        inner.written.truncate(kept);
        let after = inner.written.last().map(|held| (held.place, held.record.turn()));
        inner.losses.push(Loss { at: Instant::now(), noticed, tokens: before != after });
        inner.connection += u64::from(noticed);
        drop(inner);
        self.news.send_replace(());
    }

    pub(crate) fn write(
        &self,
        record: Record,
        expected: Option<u64>,
        (by, decided): (&Process, u64),
    ) -> SaveOutcome {
        let (now, mut inner) = (Instant::now(), self.lock());
        let old = inner.written.last().cloned();
        if old.as_ref().map(|held| held.record.version()) != expected {
            return SaveOutcome::Conflict;
        }
        let (place, who) = (inner.place(&record, decided), by.name);
        let owner = record.lease().map(|lease| lease.owner().to_owned());
        if let (Some(lease), false) = (record.lease(), owner.as_deref() == Some("restored")) {
            inner.owners.entry(lease.owner().to_owned()).or_insert(who);
            inner.landings.entry(who).or_default().push((now, lease.life()));
            let json = serde_json::to_value(&record).unwrap();
            let members: Vec<_> = json["lease"].as_object().unwrap().keys().cloned().collect();
            self.violations.unless(members == ["life", "owner"], || {
                format!("a lease says more than its owner and its life: {members:?}")
            });
        }
        let lapsed = old.as_ref().and_then(|old| old.record.lease());
        if owner.is_some() && lapsed.is_some_and(|old| Some(old.owner()) != owner.as_deref()) {
            inner.heirs.insert(who);
        }
        let news = match &old {
            None => true,
            Some(old) => self.check(&inner, old, (&record, place), by),
        };
        let renews = old.as_ref().is_some_and(|old| {
            owner.is_some() && old.record.lease().map(|lease| lease.owner()) == owner.as_deref()
        });
        let counts = inner.counts.entry(who).or_default();
        counts.writes += 1;
        counts.renewals += u64::from(renews);
        inner.newest = inner.newest.max(place);
        inner.written.push(Held { record, place, at: now, by: who, skew: by.skew });
        drop(inner);
        if news {
            self.news.send_replace(());
        }
        SaveOutcome::Stored
    }

    /// What must be true of a write over `old`. Whether it is news.
    fn check(
        &self,
        inner: &Inner,
        old: &Held,
        (new, place): (&Record, Place),
        by: &Process,
    ) -> bool {
        let (hold, who) = (&self.violations, by.name);
        let (from, to) = (old.record.version(), new.version());
        hold.unless(from < to, || format!("{who} saves version {to} over {from}"));
        let (from, to) = (old.place, place);
        hold.unless(from <= to, || format!("{who} saves {to:?} over {from:?}"));
        let undone = old.record.is_logged_out() && !new.is_logged_out() && from.login >= to.login;
        hold.unless(!undone, || format!("{who} undoes a log-out with {to:?}"));
        if new.turn() != old.record.turn() {
            return true;
        }
        let secrets = |record: &Record| serde_json::to_value(record).unwrap()["tokens"].clone();
        let same = |name| secrets(new)[name] == secrets(&old.record)[name];
        // A process may put back what a failover has lost, under the turn that it had.
        let lost = !inner.losses.is_empty() || old.record.is_empty();
        let unchanged = same("access_token") && same("refresh_token");
        hold.unless(lost || unchanged, || format!("{who} changes tokens and not the turn"));
        let Some(lease) = old.record.lease().filter(|_| unchanged) else { return !unchanged };
        let held = Instant::now() - old.at;
        let is_other = inner.owners.get(lease.owner()).is_none_or(|&owner| owner != who);
        match new.lease() {
            Some(new) if new.owner() != lease.owner() => {
                // The lease of no process: the one that held it when it was lost takes it again.
                let landed = inner.landings.get(&who).and_then(|all| all.iter().rev().nth(1));
                let renews = landed.is_some_and(|&(at, life)| at.elapsed() < life * 2);
                let again = lease.owner() == "restored" && renews;
                hold.unless(held + TICK >= lease.life() || again, || {
                    format!("{who} takes the lease {lease:?} of {} after {held:?}", old.by)
                });
                false
            }
            Some(_) => false,
            None => {
                hold.unless(!is_other, || format!("{who} gives back the lease of {}", old.by));
                true
            }
        }
    }

    /// Whether a process has taken over a lease that had lapsed.
    pub(crate) fn is_heir(&self, process: &Process) -> bool {
        self.lock().heirs.contains(&process.name)
    }

    /// When this process had written a lease last.
    pub(crate) fn last_landing(&self, process: &Process) -> Option<(Instant, Duration)> {
        self.lock().landings.get(&process.name)?.last().copied()
    }

    /// Why `second` may call although `first` has called at `sent`, with the same refresh token or
    /// still without an answer: the lease of the first has lapsed, through no fault of its own.
    pub(crate) fn has_lapsed(
        &self,
        (first, sent, given_up): (&Process, Instant, Option<Instant>),
        second: &Process,
    ) -> bool {
        let (now, inner) = (Instant::now(), self.lock());
        let Some(landings) = inner.landings.get(&first.name) else { return true };
        let before = landings.iter().rposition(|&(at, _)| at <= sent).unwrap_or(0);
        let landings = &landings[before..];
        let Some(&(began, _)) = landings.first() else { return true };
        let since = |loss: &&Loss| loss.at >= began;
        let losses: Vec<_> = inner.losses.iter().filter(since).collect();
        if losses.iter().any(|loss| !loss.noticed || loss.tokens || second.started >= loss.at) {
            return true;
        }
        let ends = landings.iter().skip(1).map(|&(at, _)| at).chain([now]);
        landings.iter().zip(ends).any(|(&(at, life), next)| {
            let lost = losses.iter().any(|loss| loss.at >= at && loss.at <= next);
            let lasts = if lost { life.min(second.lease) } else { life };
            if next - at + TICK < lasts {
                return false;
            }
            // Once its trouble is over it renews in a third of its life, after a slow store.
            let since = next - (life / 3 + Duration::from_secs(4)).min(next - at + life);
            lost || given_up.is_some_and(|given_up| given_up <= next)
                || first.is_dead()
                || first.trouble_between(since, next)
        })
    }
}

impl Inner {
    fn place(&mut self, record: &Record, decided: u64) -> Place {
        let known = &mut self.logins;
        let json = serde_json::to_value(record).unwrap();
        let last = json["logins"].as_array().and_then(|logins| logins.last());
        let last = last.map(|id| *known.entry(id.to_string()).or_insert(decided));
        // An access token alone goes by no turn.
        let token = record.tokens().and_then(Tokens::refresh_token);
        match token {
            Some(token) => Place::of(token.expose()),
            None => Place { login: last.unwrap_or_default(), turn: 0 },
        }
    }
}

/// A date, so many seconds from now.
fn wall(from_now: i64) -> Value {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    json!(since.as_millis() as i64 + from_now * 1_000)
}

/// Dates are in milliseconds since 1970, and no other number is as large.
fn move_dates(value: &mut Value, back: i64) {
    match value {
        Value::Number(number) => {
            if let Some(date) = number.as_i64().filter(|&date| date > 1_000_000_000_000) {
                *value = json!(date - back);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| move_dates(value, back)),
        Value::Object(members) => members.values_mut().for_each(|value| move_dates(value, back)),
        _ => {}
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").finish_non_exhaustive()
    }
}
