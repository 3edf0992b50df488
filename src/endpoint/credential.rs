//! What a call is authenticated by, read or made anew for each call.

use std::{
    borrow::Cow,
    fmt,
    fs::File,
    future::Future,
    io::{self, Read},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{runtime::Handle, task::spawn_blocking, time::timeout};
use zeroize::Zeroizing;

use super::error::{EndpointError, Spent};
use crate::{
    error::BoxError,
    token::{Secret, jwt::Claims},
};

/// All credentials of a call together may take this long. What is given up here has certainly sent
/// nothing, which the session's own time-out could not tell.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// Far more than any secret or assertion has.
const LARGEST_FILE: u64 = 64 * 1024;

/// A secret that a token endpoint is called with: text, a file that another program replaces, or
/// what a closure makes for each call.
///
/// Client secrets, client assertions, passwords, the subject of a token exchange and the value of
/// any [`param`](super::OAuth2Endpoint::param) are credentials. Text converts into one:
///
/// ```
/// use tower_refresh::{BoxError, endpoint::{Credential, OAuth2Client}};
/// # #[derive(Clone)] struct Vault;
/// # impl Vault { async fn read(&self, _: &str) -> Result<String, std::io::Error> { Ok("s3cret".into()) } }
/// # let vault = Vault;
///
/// let fixed = OAuth2Client::basic("reports", "7Fjfp0ZBr1KtDRbnfVdmIw");
/// let mounted = OAuth2Client::basic("reports", Credential::file("/run/secrets/oauth"));
/// let made = OAuth2Client::post("reports", Credential::from_fn(move || {
///     let vault = vault.clone();
///     async move { Ok(vault.read("oauth").await?) }
/// }));
/// ```
///
/// A file or a closure is asked once for each call and never in between, and nothing of it is kept.
/// One that does not answer within 5 s, a file that is missing, empty, unreadable, no text or larger
/// than 64 KiB, and a closure that fails are [transient](super::FailureClass::Transient) errors:
/// nothing is sent and nothing is [spent](Spent::No). The error names the file, and never what is
/// in it. An [`EndpointError`] of the closure counts as it is.
///
/// If the server refuses a credential that is another by then, because its file was replaced
/// meanwhile, the call is sent once more with the new one.
///
/// `Debug` shows where a credential comes from. Its memory is wiped when the last clone goes.
#[derive(Clone)]
pub struct Credential(Source);

#[derive(Clone)]
enum Source {
    Text(Secret),
    File(Arc<Path>),
    Made(Arc<dyn Fn() -> Making + Send + Sync>),
}

type Making = Pin<Box<dyn Future<Output = Result<String, BoxError>> + Send>>;

impl Credential {
    /// The content of a file, without one trailing line break. It is read for each call.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into().into()))
    }

    /// What a closure makes for each call: a secret from a vault, an assertion that is signed
    /// elsewhere.
    ///
    /// The future may not borrow from the closure, so it clones what it needs, as above.
    pub fn from_fn<F, Fut>(make: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, BoxError>> + Send + 'static,
    {
        Self(Source::Made(Arc::new(move || Box::pin(make()))))
    }

    /// The secret, for one sending.
    pub(super) async fn read(&self) -> Result<Secret, EndpointError> {
        match &self.0 {
            Source::Text(secret) => Ok(secret.clone()),
            Source::File(path) => {
                let from = path.clone();
                let read = spawn_blocking(move || read_file(&from)).await;
                let read = read.map_err(io::Error::other).and_then(|read| read);
                read.map_err(|error| {
                    let message =
                        format!("the credential's file {} {}", path.display(), why(&error));
                    unsent(message, error)
                })
            }
            Source::Made(make) => match make().await {
                Ok(made) => Ok(Secret::new(made)),
                Err(error) => Err(match error.downcast::<EndpointError>() {
                    Ok(error) => *error,
                    Err(error) => unsent("a credential of the token endpoint was not made", error),
                }),
            },
        }
    }

    /// The path of the file that it is read from.
    pub(super) fn path(&self) -> Option<&Path> {
        match &self.0 {
            Source::File(path) => Some(path),
            Source::Text(_) | Source::Made(_) => None,
        }
    }

    fn is_fixed(&self) -> bool {
        matches!(self.0, Source::Text(_))
    }
}

/// The secrets of `credentials`, in their order. They are read one after the other: a call has one
/// or two.
pub(super) async fn read_all(credentials: &[&Credential]) -> Result<Vec<Secret>, EndpointError> {
    let reading = async {
        let mut secrets = Vec::with_capacity(credentials.len());
        for credential in credentials {
            secrets.push(credential.read().await?);
        }
        Ok(secrets)
    };
    // Text needs neither a runtime nor a timer.
    if credentials.iter().all(|credential| credential.is_fixed()) {
        return reading.await;
    }
    if Handle::try_current().is_err() {
        return Err(EndpointError::misconfigured(
            "a credential of the token endpoint was read outside of a Tokio runtime",
        ));
    }
    timeout(TIME_LIMIT, reading).await.unwrap_or_else(|elapsed| {
        let from = credentials.iter().find_map(|credential| credential.path());
        let of = from.map(|path| format!(" (of {})", path.display())).unwrap_or_default();
        let seconds = TIME_LIMIT.as_secs();
        let message =
            format!("a credential of the token endpoint{of} took longer than {seconds} s");
        Err(unsent(message, elapsed))
    })
}

/// What `credentials` are by now, if any of them is another than was `sent`. One that cannot be read
/// leaves the refusal to speak for itself.
pub(super) async fn read_again(
    credentials: &[&Credential],
    sent: &[Secret],
) -> Option<Vec<Secret>> {
    if credentials.iter().all(|credential| credential.is_fixed()) {
        return None;
    }
    read_all(credentials).await.ok().filter(|now| now != sent)
}

/// Says which files a refused call had its credentials from, and of a JWT whether it is over.
pub(super) fn with_files(
    mut error: EndpointError,
    credentials: &[&Credential],
    sent: &[Secret],
) -> EndpointError {
    for (credential, secret) in credentials.iter().zip(sent) {
        let Some(path) = credential.path() else { continue };
        let exp = Claims::read(secret.expose()).exp;
        let end = exp.and_then(|exp| UNIX_EPOCH.checked_add(exp));
        let is_over = end.is_some_and(|end| end < SystemTime::now());
        let state = match is_over {
            true => {
                ", which holds a JWT that is over: does the program that replaces it still run?"
            }
            false => "",
        };
        error = error.explained(format_args!("sent with what is in {}{state}", path.display()));
    }
    error
}

fn unsent(message: impl Into<Cow<'static, str>>, source: impl Into<BoxError>) -> EndpointError {
    EndpointError::transient(message).with_spent(Spent::No).with_source(source)
}

fn read_file(path: &Path) -> io::Result<Secret> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, "larger than 64 KiB");
    if length > LARGEST_FILE {
        return Err(too_large());
    }
    // Room enough that no growing buffer leaves a copy behind.
    let mut content = Zeroizing::new(Vec::with_capacity(LARGEST_FILE as usize + 1));
    file.take(LARGEST_FILE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST_FILE {
        return Err(too_large());
    }
    let text = str::from_utf8(&content).map_err(|_| {
        // The source would repeat nothing, but says where a byte is wrong.
        io::Error::new(io::ErrorKind::InvalidData, "no UTF-8")
    })?;
    // Editors and `echo` add one. A secret may begin or end with anything else.
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    match text.is_empty() {
        true => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "empty")),
        false => Ok(Secret::new(text.to_owned())),
    }
}

/// What is wrong with a file, and what to do about it.
fn why(error: &io::Error) -> &'static str {
    use io::ErrorKind;

    match error.kind() {
        ErrorKind::NotFound => {
            "is missing: is its path right, and has the program that writes it run?"
        }
        ErrorKind::PermissionDenied => {
            "may not be read by this program: check its owner and its mode"
        }
        ErrorKind::IsADirectory => "is a folder: name the file in it",
        ErrorKind::FileTooLarge => "is larger than 64 KiB: is its path right?",
        ErrorKind::InvalidData => "is no UTF-8 text: is its path right?",
        ErrorKind::UnexpectedEof => "is empty: has the program that writes it failed?",
        _ => "cannot be read",
    }
}

impl From<&str> for Credential {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for Credential {
    fn from(text: String) -> Self {
        Self(Source::Text(Secret::new(text)))
    }
}

impl From<&String> for Credential {
    fn from(text: &String) -> Self {
        text.clone().into()
    }
}

impl From<Cow<'_, str>> for Credential {
    fn from(text: Cow<'_, str>) -> Self {
        text.into_owned().into()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Text(secret) => write!(f, "Credential({secret:?})"),
            Source::File(path) => write!(f, "Credential(file {path:?})"),
            Source::Made(_) => f.write_str("Credential(made for each call)"),
        }
    }
}
