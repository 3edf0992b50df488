//! The arguments, checked before anything is sent.

use std::{
    fmt::{self, Display},
    sync::Arc,
    time::Duration,
};

use http::{Method, Uri};
use tower_refresh::{ErrorKind, Session, endpoint::EndpointUrl};

use crate::{
    args::{Args, Protocol},
    plot::PlotFile,
    session::{self, Calls, Start},
    timeline::Timeline,
};

/// What is sent where, and the session that signs it.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) session: Session,
    /// Whether the tokens are kept outside of this process.
    pub(crate) is_durable: bool,
    pub(crate) calls: Arc<Calls>,
    pub(crate) timeline: Arc<Timeline>,
    pub(crate) target: Uri,
    pub(crate) method: Method,
    pub(crate) body_bytes: usize,
    pub(crate) stream_body: bool,
    pub(crate) timeout: Duration,
    pub(crate) limit: Limit,
    pub(crate) concurrency: u16,
    pub(crate) rate: Option<f64>,
    pub(crate) plot: Option<PlotFile>,
}

#[derive(Clone, Copy)]
pub(crate) enum Limit {
    Requests(u64),
    Time(Duration),
}

pub(crate) const SET_TOKENS: &str = "set REFRESH_TOKEN in the environment (or --refresh-token), or \
     ACCESS_TOKEN for a run that ends with that token's life";

impl Plan {
    /// What is wrong with the arguments is said without repeating what may be a secret.
    pub(crate) fn new(args: Args) -> Result<Self, String> {
        let target = target(&args.url)?;
        let method = method(&args)?;
        if args.stream_body && args.body_bytes == 0 {
            return Err(
                "--stream-body has nothing to stream: say how much with --body-bytes".into()
            );
        }
        let start = Start::new(&args)?;
        let (is_durable, is_empty) = (start.is_durable(), start.is_empty());
        let timeline = Arc::new(Timeline::start());
        let calls = Arc::new(Calls::new(timeline.clone()));
        let session = session::open(&args, start, &calls)?;
        if is_empty && !is_durable && args.protocol != Protocol::ClientCredentials {
            return Err(format!("there is nothing to begin with: {SET_TOKENS}"));
        }
        // Last, as it touches the disk.
        let plot = args.plot.map(PlotFile::check).transpose()?;
        Ok(Self {
            session,
            is_durable,
            calls,
            timeline,
            target,
            method,
            body_bytes: args.body_bytes as usize,
            stream_body: args.stream_body,
            timeout: Duration::from_secs_f64(args.timeout),
            limit: match args.requests {
                Some(requests) => Limit::Requests(requests),
                None => Limit::Time(Duration::from_secs_f64(args.seconds.unwrap_or(10.0))),
            },
            concurrency: args.concurrency,
            rate: args.rate,
            plot,
        })
    }

    /// The requests, as a headline. A query stays out of it: there may be a key in one.
    pub(crate) fn request_line(&self) -> String {
        let (scheme, host) = (self.target.scheme_str(), self.target.authority());
        let origin = scheme.zip(host).map(|(scheme, host)| format!("{scheme}://{host}"));
        format!("{} {}{}", self.method, origin.unwrap_or_default(), self.target.path())
    }
}

/// How the load was asked for.
impl Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at a time", self.concurrency)?;
        if let Some(rate) = self.rate {
            write!(f, ", {rate} per second")?;
        }
        match (self.body_bytes, self.stream_body) {
            (0, _) => Ok(()),
            (bytes, false) => write!(f, ", bodies of {bytes} bytes"),
            (bytes, true) => write!(f, ", streamed bodies of {bytes} bytes"),
        }
    }
}

/// The rules for where a token may be sent are those of a token endpoint, so its parser checks
/// them; the layer would refuse each request one by one.
fn target(url: &str) -> Result<Uri, String> {
    EndpointUrl::parse(url).map_err(|error| match error.kind() {
        ErrorKind::Plaintext => {
            "the URL would send the access token unencrypted to another host: write https://…"
        }
        _ => {
            "the URL cannot be used: write https://host/path (http only to localhost), without a \
             user name, a fragment or spaces"
        }
    })?;
    url.parse().map_err(|_| "the URL cannot be read".to_owned())
}

fn method(args: &Args) -> Result<Method, String> {
    let default = if args.body_bytes == 0 { "GET" } else { "POST" };
    let name = args.method.as_deref().unwrap_or(default);
    match name.parse() {
        Ok(Method::CONNECT) | Err(_) => Err(format!("-X cannot send the method {name:?}")),
        Ok(method) => Ok(method),
    }
}
