//! The session that signs the requests, as the arguments describe it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tower::{Service, ServiceExt};
use tower_refresh::{
    BoxError, ErrorKind, Session, SessionBuilder, Tokens,
    endpoint::{
        Credential, EndpointUrl, JsonEndpoint, OAuth2Client, OAuth2Endpoint, RefreshRequest,
        TokenResponse,
    },
    store::TokenStore,
};

use crate::{
    args::{Args, ClientAuth, Protocol},
    store,
    timeline::Timeline,
};

/// What a session begins with.
pub(crate) struct Start {
    tokens: Tokens,
    /// None keeps them in memory.
    store: Option<Arc<dyn TokenStore>>,
}

impl Start {
    pub(crate) fn new(args: &Args) -> Result<Self, String> {
        Ok(Self { tokens: tokens(args)?, store: store::open(&args.store, &args.session)? })
    }

    /// Whether the tokens are kept outside of this process.
    pub(crate) fn is_durable(&self) -> bool {
        self.store.is_some()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tokens.access_token().is_none() && self.tokens.refresh_token().is_none()
    }

    fn session(self, name: &str, builder: SessionBuilder) -> Session {
        let builder = builder.name(name).initial_tokens(self.tokens);
        match self.store {
            Some(store) => builder.store(store).build(),
            None => builder.build(),
        }
    }
}

/// Calls to the token endpoint.
pub(crate) struct Calls {
    good: AtomicU64,
    failed: AtomicU64,
    timeline: Arc<Timeline>,
}

impl Calls {
    pub(crate) fn new(timeline: Arc<Timeline>) -> Self {
        Self { good: AtomicU64::new(0), failed: AtomicU64::new(0), timeline }
    }

    /// Those that brought a token.
    pub(crate) fn good(&self) -> u64 {
        self.good.load(Relaxed)
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    fn ended(&self, good: bool) {
        if good {
            self.good.fetch_add(1, Relaxed);
            self.timeline.refreshed();
        } else {
            self.failed.fetch_add(1, Relaxed);
        }
    }
}

pub(crate) fn open(args: &Args, start: Start, calls: &Arc<Calls>) -> Result<Session, String> {
    let (flag, url) = match (&args.token_url, &args.issuer) {
        (Some(url), _) => ("--token-url", EndpointUrl::parse(url)),
        (None, Some(issuer)) => ("--issuer", EndpointUrl::discover(issuer)),
        (None, None) => return Err("say where the token endpoint is with --token-url".into()),
    };
    let url = url.map_err(|error| match error.kind() {
        // The library's message names a function, which nobody can call from here.
        ErrorKind::Plaintext => {
            format!("{flag} would send secrets unencrypted to another host: write https://…")
        }
        _ => format!("{flag}: {error}"),
    })?;
    let params = params(args)?;
    if args.protocol == Protocol::Json {
        if args.client_id.is_some() || args.client_auth.is_some() {
            return Err("--client-id and --client-auth are OAuth 2.0's, not json's".into());
        }
        if args.scope.is_some() || !args.resource.is_empty() {
            return Err("--scope and --resource are OAuth 2.0's: add a field with --param".into());
        }
        let mut endpoint = JsonEndpoint::new(url).map_err(|error| format!("{flag}: {error}"))?;
        if args.no_proxy {
            endpoint = endpoint.no_proxy();
        }
        let endpoint = params.fold(endpoint, |endpoint, (name, value)| endpoint.field(name, value));
        return Ok(start.session(&args.session, counted(endpoint, calls)));
    }
    let client = client(args)?;
    let endpoint = match args.protocol {
        Protocol::ClientCredentials => OAuth2Endpoint::client_credentials(url, client),
        _ => OAuth2Endpoint::refresh_token(url, client),
    };
    let mut endpoint = endpoint.map_err(|error| error.to_string())?;
    if args.no_proxy {
        endpoint = endpoint.no_proxy();
    }
    if let Some(scope) = &args.scope {
        endpoint = endpoint.scope(scope);
    }
    endpoint = args.resource.iter().fold(endpoint, OAuth2Endpoint::resource);
    endpoint = params.fold(endpoint, |endpoint, (name, value)| endpoint.param(name, value));
    Ok(start.session(&args.session, counted(endpoint, calls)))
}

fn params(args: &Args) -> Result<impl Iterator<Item = (&str, &str)>, String> {
    let params: Option<Vec<_>> = args.param.iter().map(|param| param.split_once('=')).collect();
    match params {
        Some(params) if params.iter().all(|(name, _)| !name.is_empty()) => Ok(params.into_iter()),
        _ => Err("--param: write NAME=VALUE".into()),
    }
}

fn tokens(args: &Args) -> Result<Tokens, String> {
    let checked = |what: &str, error: tower_refresh::Error| format!("{what}: {error}");
    let mut tokens = match &args.access_token {
        Some(token) => Tokens::new(token).map_err(|error| checked("--access-token", error))?,
        None => Tokens::default(),
    };
    if let Some(token) = &args.refresh_token {
        tokens =
            tokens.with_refresh_token(token).map_err(|error| checked("--refresh-token", error))?;
    }
    Ok(tokens)
}

fn client(args: &Args) -> Result<OAuth2Client, String> {
    let Some(id) = args.client_id.as_deref().filter(|id| !id.is_empty()) else {
        return Err("OAuth 2.0 needs a client: say which with --client-id".into());
    };
    let secret = args.client_secret.as_deref();
    if secret.is_some_and(|secret| secret.is_empty() || secret.contains(char::is_control)) {
        return Err(
            "--client-secret is empty or has a control character: is the variable set, and is the \
             line break at a file's end cut off?"
                .into(),
        );
    }
    let file = args.client_secret_file.as_ref().map(Credential::file);
    let secret = secret.map(Credential::from).or(file);
    let how = args.client_auth.unwrap_or(match (args.protocol, &secret) {
        (Protocol::Oauth2, None) => ClientAuth::None,
        _ => ClientAuth::Basic,
    });
    if how == ClientAuth::None {
        return Ok(OAuth2Client::public(id));
    }
    let secret = secret.ok_or(
        "the client needs its secret: set CLIENT_SECRET in the environment (or --client-secret, or \
         --client-secret-file); --client-auth none goes without",
    )?;
    Ok(match how {
        ClientAuth::Basic | ClientAuth::None => OAuth2Client::basic(id, secret),
        ClientAuth::BasicRaw => OAuth2Client::basic_raw(id, secret),
        ClientAuth::Post => OAuth2Client::post(id, secret),
        ClientAuth::Assertion => OAuth2Client::assertion(id, secret),
    })
}

/// The session's builder, with each call to the endpoint counted.
fn counted<E>(endpoint: E, calls: &Arc<Calls>) -> SessionBuilder
where
    E: Service<RefreshRequest, Response = TokenResponse> + Clone + Send + 'static,
    E::Error: Into<BoxError> + Send + 'static,
    E::Future: Send + 'static,
{
    let calls = calls.clone();
    let endpoint = endpoint.map_future(move |call| {
        let mut outcome = Outcome { calls: calls.clone(), good: false };
        async move { call.await.inspect(|_| outcome.set_good()) }
    });
    Session::builder(endpoint)
}

/// Counts when the call is over, and that is also when the session gives it up.
struct Outcome {
    calls: Arc<Calls>,
    good: bool,
}

impl Outcome {
    fn set_good(&mut self) {
        self.good = true;
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        self.calls.ended(self.good);
    }
}
