//! Where an authorization server has its endpoints, as it says itself (RFC 8414, OpenID Connect
//! Discovery): when that is read, and when once more. `metadata` is what it says.

mod metadata;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use http::Uri;
use tokio::{sync, time::Instant};

use self::metadata::{Metadata, places};
pub(super) use self::metadata::{Wanted, is_a_place};
use super::{
    answer::Answer,
    error::{EndpointError, FailureClass, Spent},
};

/// Metadata that may be out of date is not read more often than this.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// An issuer and what is known of it, shared by all clones of its URL.
pub(super) struct Issuer {
    text: String,
    uri: Uri,
    known: Mutex<Option<Known>>,
    /// One call reads, and the others wait for what comes of it.
    reading: sync::Mutex<Option<Failure>>,
    /// How often it was read, well or not. Changes under `reading` alone.
    readings: AtomicU64,
}

#[derive(Clone)]
struct Known {
    metadata: Arc<Metadata>,
    read_at: Instant,
    /// An endpoint was not where it says.
    is_in_doubt: bool,
}

impl Known {
    fn is_due(&self) -> bool {
        self.is_in_doubt && self.read_at.elapsed() >= READ_AGAIN_AFTER
    }
}

/// An error that every call gets which waited for the same reading.
struct Failure {
    class: FailureClass,
    is_presumed: bool,
    message: String,
}

impl Issuer {
    pub(super) fn new(text: String, uri: Uri) -> Self {
        Self {
            text,
            uri,
            known: Mutex::default(),
            reading: sync::Mutex::default(),
            readings: AtomicU64::new(0),
        }
    }

    /// The issuer identifier, as it was given.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Where the endpoint is that is `wanted`, if that is known and not to be read again.
    pub(super) fn find(&self, wanted: Wanted) -> Option<Result<Uri, EndpointError>> {
        let known = self.known().filter(|known| !known.is_due())?;
        Some(known.metadata.endpoint(wanted, &self.text))
    }

    /// An endpoint is not where the metadata says: it is read once more before the next call.
    pub(super) fn doubt(&self) {
        if let Some(known) = &mut *self.lock() {
            known.is_in_doubt = true;
        }
    }

    /// Waits for the turn to read. `Err` is what came of another call's reading meanwhile.
    pub(super) async fn turn(
        &self,
        wanted: Wanted,
        has_worked: bool,
    ) -> Result<Reading<'_>, Result<Uri, EndpointError>> {
        let readings = self.readings.load(SeqCst);
        let failure = self.reading.lock().await;
        if self.readings.load(SeqCst) > readings {
            let known = self.known().map(|known| known.metadata.endpoint(wanted, &self.text));
            let failed = || Err(failure.as_ref().map_or_else(unknown, Failure::error));
            return Err(known.unwrap_or_else(failed));
        }
        Ok(Reading { issuer: self, wanted, has_worked, failure, missing: None })
    }

    fn known(&self) -> Option<Known> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call's turn to read the metadata: it gets what is at each place, until one has them. Nothing
/// of the call itself has been sent meanwhile.
pub(super) struct Reading<'a> {
    issuer: &'a Issuer,
    wanted: Wanted,
    has_worked: bool,
    failure: sync::MutexGuard<'a, Option<Failure>>,
    /// Why it was not at the first place.
    missing: Option<EndpointError>,
}

impl Reading<'_> {
    /// The next place to look at.
    pub(super) fn next_place(&self) -> Uri {
        let [oidc, oauth2] = places(&self.issuer.uri);
        if self.missing.is_some() { oauth2 } else { oidc }
    }

    /// What was there. `Some` is the end.
    pub(super) fn found(
        &mut self,
        place: &Uri,
        answer: Result<Answer, EndpointError>,
    ) -> Option<Result<Uri, EndpointError>> {
        let failure = match answer {
            Ok(answer) => {
                match Metadata::read(&self.issuer.text, place, &answer, self.has_worked) {
                    Ok(metadata) => return Some(self.end(Ok(metadata))),
                    Err(error) => error,
                }
            }
            // Nothing answers there: the other place would not either.
            Err(error) => {
                let message = format!("the metadata at {place} were not read: {error}");
                let error = EndpointError::new(error.class(), message).with_source(error);
                return Some(self.end(Err(error.with_spent(Spent::No))));
            }
        };
        match self.missing.take() {
            Some(first) => Some(self.end(Err(both(first, failure)))),
            None => {
                self.missing = Some(failure);
                None
            }
        }
    }

    fn end(&mut self, read: Result<Metadata, EndpointError>) -> Result<Uri, EndpointError> {
        let issuer = self.issuer;
        issuer.readings.fetch_add(1, SeqCst);
        let metadata = match (read, issuer.known()) {
            (Ok(metadata), before) => {
                if let Some(before) = before {
                    metadata.tell_moves(&before.metadata, &issuer.text);
                }
                Arc::new(metadata)
            }
            // What was true a while ago is the best there is.
            (Err(_), Some(before)) => before.metadata,
            (Err(error), None) => {
                *self.failure = Some(Failure::of(&error));
                return Err(error);
            }
        };
        *self.failure = None;
        let known =
            Known { metadata: metadata.clone(), read_at: Instant::now(), is_in_doubt: false };
        *issuer.lock() = Some(known);
        metadata.endpoint(self.wanted, &issuer.text)
    }
}

fn unknown() -> EndpointError {
    EndpointError::transient("the issuer's metadata were not read").with_spent(Spent::No)
}

/// Of the failures at both places. A document that will not do says more than one that is missing.
fn both(first: EndpointError, second: EndpointError) -> EndpointError {
    if first.status().is_none() {
        return first;
    }
    let Some(status) = second.status() else { return second };
    let is_transient = |error: &EndpointError| error.class() == FailureClass::Transient;
    let class = match is_transient(&first) || is_transient(&second) {
        true => FailureClass::Transient,
        false => FailureClass::Misconfigured,
    };
    let message = format!("no metadata of the issuer: {first}, and {second}");
    let is_presumed = first.is_presumed() && second.is_presumed();
    let error = EndpointError::new(class, message).presumed(is_presumed);
    error.with_spent(Spent::No).with_status(status)
}

impl Failure {
    fn of(error: &EndpointError) -> Self {
        let (class, is_presumed) = (error.class(), error.is_presumed());
        Self { class, is_presumed, message: error.to_string() }
    }

    fn error(&self) -> EndpointError {
        let error = EndpointError::new(self.class, self.message.clone()).presumed(self.is_presumed);
        error.with_spent(Spent::No)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issuer({})", self.text)
    }
}
