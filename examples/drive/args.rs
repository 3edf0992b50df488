use std::{path::PathBuf, process::exit};

use clap::{
    CommandFactory, Parser, ValueEnum,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// Sends requests with a live access token, and tells how that went.
// No `Debug`: it would print the secrets. And no parser of clap's for what may be one, as its
// messages repeat what they could not read.
#[derive(Parser)]
#[command(
    name = "drive",
    after_help = "Examples and exit codes: drive --help",
    after_long_help = include_str!("examples.txt")
)]
pub(crate) struct Args {
    /// Where the requests go: https, or http to a loopback host
    #[arg(value_name = "URL")]
    pub(crate) url: String,

    /// What the token endpoint speaks
    #[arg(long, value_enum, help_heading = "Tokens")]
    pub(crate) protocol: Protocol,
    /// The token endpoint
    #[arg(
        long,
        value_name = "URL",
        required_unless_present = "issuer",
        conflicts_with = "issuer",
        help_heading = "Tokens"
    )]
    pub(crate) token_url: Option<String>,
    /// The issuer whose metadata name the token endpoint (oauth2 only), instead of --token-url
    #[arg(long, value_name = "URL", help_heading = "Tokens")]
    pub(crate) issuer: Option<String>,
    /// Call the token endpoint directly, whatever proxy HTTPS_PROXY or ALL_PROXY names
    #[arg(long, help_heading = "Tokens")]
    pub(crate) no_proxy: bool,
    /// The refresh token; better in the environment, as `ps` shows arguments
    #[arg(
        long,
        value_name = "TOKEN",
        env = "REFRESH_TOKEN",
        hide_env_values = true,
        allow_hyphen_values = true,
        help_heading = "Tokens"
    )]
    pub(crate) refresh_token: Option<String>,
    /// An access token to begin with; better in the environment too
    #[arg(
        long,
        value_name = "TOKEN",
        env = "ACCESS_TOKEN",
        hide_env_values = true,
        allow_hyphen_values = true,
        help_heading = "Tokens"
    )]
    pub(crate) access_token: Option<String>,
    /// The OAuth 2.0 client
    #[arg(long, value_name = "ID", help_heading = "Tokens")]
    pub(crate) client_id: Option<String>,
    /// Its secret; better in the environment too
    #[arg(
        long,
        value_name = "SECRET",
        env = "CLIENT_SECRET",
        hide_env_values = true,
        allow_hyphen_values = true,
        help_heading = "Tokens"
    )]
    pub(crate) client_secret: Option<String>,
    /// A file with the secret (or the assertion), read for each call: another program may replace it
    #[arg(long, value_name = "PATH", conflicts_with = "client_secret", help_heading = "Tokens")]
    pub(crate) client_secret_file: Option<PathBuf>,
    /// How the client proves itself [default: basic with a secret, none without]
    #[arg(long, value_enum, help_heading = "Tokens")]
    pub(crate) client_auth: Option<ClientAuth>,
    /// The scopes to ask for, separated by spaces
    #[arg(long, help_heading = "Tokens")]
    pub(crate) scope: Option<String>,
    /// An API that the token is for (RFC 8707); may be repeated
    #[arg(long, value_name = "URI", help_heading = "Tokens")]
    pub(crate) resource: Vec<String>,
    /// Another parameter of the token request (json: a field); may be repeated
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Tokens")]
    pub(crate) param: Vec<String>,

    /// Where tokens are kept, for runs and processes to share: memory, file:PATH or
    /// redis://HOST[:PORT][/DATABASE]. What is kept wins over the tokens given here
    #[arg(
        long,
        value_name = "STORE",
        env = "TOKEN_STORE",
        default_value = "memory",
        hide_env_values = true,
        help_heading = "Sharing"
    )]
    pub(crate) store: String,
    /// Whose tokens they are: part of the keys in Redis, and the session's name in logs
    #[arg(long, value_name = "NAME", default_value = "default", help_heading = "Sharing")]
    pub(crate) session: String,

    /// The method [default: GET, or POST with a body]
    #[arg(short = 'X', value_name = "METHOD", help_heading = "Requests")]
    pub(crate) method: Option<String>,
    /// How large each request's body is, up to 1 GiB
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 0,
        value_parser = clap::value_parser!(u64).range(..=1 << 30),
        help_heading = "Requests"
    )]
    pub(crate) body_bytes: u64,
    /// Stream the body in chunks of unannounced length: up to 64 KiB can be sent a second time
    #[arg(long, help_heading = "Requests")]
    pub(crate) stream_body: bool,
    /// How long one sending of a request may take, and then its answer's body
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "30",
        value_parser = number,
        help_heading = "Requests"
    )]
    pub(crate) timeout: f64,

    /// How many requests to send
    #[arg(
        short = 'n',
        value_name = "REQUESTS",
        value_parser = clap::value_parser!(u64).range(1..),
        help_heading = "Load"
    )]
    pub(crate) requests: Option<u64>,
    /// Send for so many seconds [default: 10, if there is no -n]
    #[arg(
        short = 'd',
        value_name = "SECONDS",
        conflicts_with = "requests",
        value_parser = number,
        help_heading = "Load"
    )]
    pub(crate) seconds: Option<f64>,
    /// How many requests are under way at most
    #[arg(
        short = 'c',
        value_name = "CONCURRENCY",
        default_value_t = 8,
        value_parser = clap::value_parser!(u16).range(1..),
        help_heading = "Load"
    )]
    pub(crate) concurrency: u16,
    /// Send so many requests per second in all; if the server is slower than that, the latency
    /// counts from when a request was due
    #[arg(long, value_name = "PER_SECOND", value_parser = number, help_heading = "Load")]
    pub(crate) rate: Option<f64>,

    /// Print one JSON object instead of a summary
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
    /// Draw latency over time, with the refreshes and the refusals (401), as an SVG picture. A file
    /// that is there is replaced
    #[arg(long, value_name = "FILE.svg", help_heading = "Output")]
    pub(crate) plot: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// `{"refresh_token"}` for `{"token"}`, as home-grown APIs do
    Json,
    /// OAuth 2.0's refresh_token grant
    Oauth2,
    /// OAuth 2.0's client_credentials grant
    ClientCredentials,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClientAuth {
    /// In the Authorization header (client_secret_basic)
    Basic,
    /// The same without the encoding that RFC 6749 asks for
    BasicRaw,
    /// As parameters (client_secret_post)
    Post,
    /// The secret is a JWT that was signed elsewhere (client_assertion)
    Assertion,
    /// A public client: its id alone
    None,
}

pub(crate) fn parse() -> Args {
    Args::try_parse().unwrap_or_else(|mut error| {
        // What stands where nothing belongs may be a secret whose option was forgotten.
        let stray = error.get(ContextKind::InvalidArg).map(ToString::to_string);
        if stray.is_some_and(|arg| !arg.starts_with('-')) {
            let unseen = "(not shown: it may be a secret)".to_owned();
            error.insert(ContextKind::InvalidArg, ContextValue::String(unseen));
            error.remove(ContextKind::Suggested);
        }
        error.exit()
    })
}

/// Ends the program as clap does for a mistake that it has found itself.
pub(crate) fn bad_usage(message: &str) -> ! {
    let error = Args::command().error(ErrorKind::ValueValidation, message);
    // Printing fails only if nobody reads it.
    let _ = error.print();
    exit(2)
}

fn number(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.001..=1e7).contains(&number) => Ok(number),
        _ => Err("write a number from 0.001 to 10000000".to_owned()),
    }
}
