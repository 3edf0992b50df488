//! Proxies that the environment names. Each case is a process of its own, as the environment is one
//! for all threads; the proxy and the token endpoint behind it are this test's.
#![cfg(feature = "transport")]

use std::{
    env,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpSocket, TcpStream},
    process::Command,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tower_refresh::endpoint::{EndpointUrl, OAuth2Client, OAuth2Endpoint};

use super::refresh;

const HOST: &str = "auth.example.test";
const URL: &str = "https://auth.example.test/token";

/// One call by a program with this environment: what it prints.
async fn program(world: &World, url: &str, variables: &[(&str, &str)]) -> String {
    let test = "endpoints::proxy::one_call_by_a_program_with_an_environment_of_its_own";
    let mut command = Command::new(env::current_exe().expect("this test"));
    command
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env_clear()
        .env("SSL_CERT_FILE", world.folder.path().join("root.pem"))
        .env("CALL", url)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(Duration::from_secs(60), command.output()).await.expect("an end");
    let output = output.expect("a program");
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[ignore = "it is the program of the other tests"]
#[tokio::test]
async fn one_call_by_a_program_with_an_environment_of_its_own() {
    let url = env::var("CALL").expect("a URL");
    let url = EndpointUrl::allow_plaintext(&url).expect("a URL");
    let mut endpoint = OAuth2Endpoint::refresh_token(url, OAuth2Client::public("app")).unwrap();
    if env::var_os("DIRECTLY").is_some() {
        endpoint = endpoint.no_proxy();
    }
    match refresh(&mut endpoint).await {
        Ok(answer) => println!("token: {}", answer.access_token().expose()),
        Err(error) => println!("{:?} {:?}: {error}\n{error:?}", error.class(), error.spent()),
    }
}

/// A token endpoint over TLS, for `HOST` and for `localhost`, and the root that has signed it.
struct World {
    folder: TempDir,
    tls: TlsAcceptor,
    endpoint: u16,
}

impl World {
    async fn new() -> Self {
        let names = [HOST.to_owned(), "localhost".to_owned()];
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let root = STANDARD.encode(cert.der());
        let root = format!("-----BEGIN CERTIFICATE-----\n{root}\n-----END CERTIFICATE-----\n");
        std::fs::write(folder.path().join("root.pem"), root).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let tls = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().port();
        let acceptor = tls.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(stream).await?;
                    head(&mut stream).await;
                    let body = r#"{"access_token":"through"}"#;
                    let length = body.len();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
                    stream.write_all(answer.as_bytes()).await?;
                    stream.shutdown().await
                });
            }
        });
        Self { folder, tls, endpoint }
    }
}

/// A proxy that answers `CONNECT` with this status, and keeps all that it reads in the clear.
#[derive(Clone)]
struct Proxy {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn new(world: &World, answer: &'static str, over_tls: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Self { port, heads: Arc::default() };
        let (heads, tls, endpoint) = (proxy.heads.clone(), world.tls.clone(), world.endpoint);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (heads, tls) = (heads.clone(), tls.clone());
                tokio::spawn(async move {
                    if over_tls {
                        let Ok(stream) = tls.accept(stream).await else { return };
                        forward(stream, &heads, answer, endpoint).await;
                    } else {
                        forward(stream, &heads, answer, endpoint).await;
                    }
                });
            }
        });
        proxy
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn heads(&self) -> Vec<String> {
        std::mem::take(&mut *self.heads.lock().unwrap())
    }
}

async fn forward<S>(mut stream: S, heads: &Mutex<Vec<String>>, answer: &str, endpoint: u16)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let head = head(&mut stream).await;
    heads.lock().unwrap().push(head);
    stream.write_all(format!("HTTP/1.1 {answer}\r\n\r\n").as_bytes()).await.unwrap();
    if answer.starts_with("200") {
        let mut onward = TcpStream::connect(("127.0.0.1", endpoint)).await.unwrap();
        let _ = copy_bidirectional(&mut stream, &mut onward).await;
    }
}

async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {
            continue;
        }
        break;
    }
    String::from_utf8_lossy(&head).to_lowercase()
}

fn is_unsent_and_hides(output: &str, class: &str) {
    assert!(output.contains(&format!("{class} No: ")), "{output}");
    for secret in ["s3cret", "b2xkOnMzY3JldA", super::SPENT] {
        assert!(!output.contains(secret), "{output}");
    }
}

// S128: a call goes through the proxy of the environment, which sees the host alone, and never
// where a proxy is not for it
#[tokio::test]
async fn a_call_goes_through_the_proxy_of_the_environment_which_sees_the_host_alone() {
    let world = World::new().await;
    for over_tls in [false, true] {
        let proxy = Proxy::new(&world, "200 Connection established", over_tls).await;
        let url = match over_tls {
            false => proxy.url().replace("127", "old:s3cret@127"),
            true => format!("https://old:s3cret@localhost:{}", proxy.port),
        };
        for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            let output = program(&world, URL, &[(variable, &url)]).await;
            assert!(output.contains("token: through"), "{variable}: {output}");
            let heads = proxy.heads();
            assert_eq!(heads.len(), 1, "{heads:?}");
            assert!(
                heads[0].starts_with("connect auth.example.test:443 http/1.1\r\n"),
                "{heads:?}"
            );
            assert!(heads[0].contains("host: auth.example.test:443\r\n"), "{heads:?}");
            // base64 of `old:s3cret`, in lower case as all of the head is here.
            assert!(heads[0].contains("proxy-authorization: basic b2xkonmzy3jlda=="), "{heads:?}");
            assert!(!heads[0].contains("r3fresh") && !heads[0].contains("/token"), "{heads:?}");
        }
    }
}

// S128: a call goes through the proxy of the environment, which sees the host alone, and never
// where a proxy is not for it
#[tokio::test]
async fn where_a_proxy_is_not_for_a_call_it_hears_nothing_of_it() {
    let world = World::new().await;
    let proxy = Proxy::new(&world, "200 OK", false).await;
    let url = proxy.url();
    let https = ("HTTPS_PROXY", &*url);
    let local = format!("https://localhost:{}/token", world.endpoint);
    let output = program(&world, &local, &[https]).await;
    assert!(output.contains("token: through"), "never for loopback: {output}");

    for (call, variables, why) in [
        (URL, &[https, ("NO_PROXY", "example.test")][..], "`NO_PROXY` names this host"),
        (URL, &[https, ("DIRECTLY", "1")], "the endpoint says `no_proxy`"),
        (URL, &[https, ("REQUEST_METHOD", "GET")], "`REQUEST_METHOD` is set"),
        (URL, &[("HTTP_PROXY", &*url)], "HTTP_PROXY is set and not used"),
        ("http://auth.example.test/", &[https, ("HTTP_PROXY", &*url)], "over plain http"),
        ("http://auth.example.test/", &[("ALL_PROXY", &*url)], "ALL_PROXY is set and not used"),
    ] {
        let output = program(&world, call, variables).await;
        // Nothing of that name is known here.
        assert!(output.contains(why), "{why}: {output}");
        is_unsent_and_hides(&output, "Transient");
    }
    assert_eq!(proxy.heads(), [""; 0]);
}

// S129: a proxy that gives no tunnel, and a variable that names none, are errors that name them and
// show no password
#[tokio::test]
async fn a_proxy_that_gives_no_tunnel_is_named_without_its_password() {
    let world = World::new().await;
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let closed = format!("127.0.0.1:{}", closed.local_addr().unwrap().port());
    for (answer, said) in [
        ("407 Proxy Authentication Required", "wants a user name and a password"),
        ("403 Forbidden", "answered 403: does it let this host through?"),
        ("502 Bad Gateway", "answered 502"),
        ("", "is the proxy"),
    ] {
        let at = match answer {
            "" => closed.clone(),
            _ => format!("127.0.0.1:{}", Proxy::new(&world, answer, false).await.port),
        };
        let url = format!("http://old:s3cret@{at}");
        let output = program(&world, URL, &[("HTTPS_PROXY", &url)]).await;
        assert!(output.contains(said), "{answer}: {output}");
        assert!(output.contains(&format!("{at} (of HTTPS_PROXY)")), "{answer}: {output}");
        is_unsent_and_hides(&output, "Transient");
    }
}

// S129: a proxy that gives no tunnel, and a variable that names none, are errors that name them and
// show no password
#[tokio::test]
async fn a_variable_that_names_no_proxy_for_us_is_an_error_and_not_passed_over() {
    let world = World::new().await;
    for url in ["socks5://old:s3cret@127.0.0.1:1080", "ftp://old:s3cret@127.0.0.1", "http://a b"] {
        for variable in ["HTTPS_PROXY", "all_proxy"] {
            let output = program(&world, URL, &[(variable, url)]).await;
            assert!(output.contains(variable) && output.contains("no_proxy"), "{output}");
            is_unsent_and_hides(&output, "Misconfigured");
        }
    }
}

// S130: a private root and a client certificate are a recipe away, and the error says where
#[tokio::test]
async fn a_root_that_the_platform_does_not_know_is_an_error_that_names_the_recipe() {
    let world = World::new().await;
    let another = World::new().await;
    let proxy = Proxy::new(&another, "200 OK", false).await;
    let output = program(&world, URL, &[("HTTPS_PROXY", &proxy.url())]).await;
    assert!(output.contains("its certificate is not trusted here"), "{output}");
    assert!(output.contains("`networks`") && output.contains("through the proxy"), "{output}");
    is_unsent_and_hides(&output, "Transient");
    assert!(Path::new("src/guide/networks.md").exists());
}
