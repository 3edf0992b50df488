//! Token endpoints that do not answer as they should.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tower::Layer;
use tower_refresh::{
    ErrorKind, RefreshLayer, Session, SessionBuilder,
    endpoint::JsonEndpoint,
    testing::{AuthServer, Fault},
};

use super::support::{BOTH, World, http, in_time, post, send};

const ATTEMPT: Duration = Duration::from_millis(500);

fn impatient(builder: SessionBuilder) -> SessionBuilder {
    builder.attempts(1).attempt_timeout(ATTEMPT).call_limit(ATTEMPT).min_interval(Duration::ZERO)
}

// S38: whatever a token endpoint answers instead of tokens is an error, in time and within the size
// cap
// S36: a transient failure takes no live token away
#[tokio::test]
async fn an_answer_that_is_no_use_is_an_error_in_time_and_the_live_token_stays() {
    let server = AuthServer::builder().rotate(true).start().await.unwrap();
    let world = World::with(server, BOTH[0], |builder, login| {
        impatient(builder).initial_tokens(login.tokens().unwrap())
    });
    let calls = [
        (Fault::hang(), "did not answer within 500ms"),
        (Fault::garbage(), "HTML instead of JSON"),
        (Fault::truncate(), "broke off"),
        (Fault::body(""), "an empty body"),
        (Fault::body(r#"{"token":"cut"#), "cut off"),
        (Fault::body(r#"{"error":"no"}"#), "without a string `token`"),
        (Fault::body(vec![b' '; 10 << 20]), "larger than 1048576 bytes"),
    ];
    for (fault, said) in calls {
        world.server.fault(fault.clone());
        let start = Instant::now();
        let error = in_time(world.session.refresh()).await.unwrap_err();
        assert!(start.elapsed() < ATTEMPT * 10, "{fault:?}");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{fault:?}");
        assert!(error.is_transient());
        assert!(format!("{error:?}").contains(said), "{fault:?}: {error:?}");
        assert!(world.session.status().is_live(), "{fault:?}");
        assert_eq!(world.status().await, 200, "{fault:?}");
        let tokens = world.session.tokens().unwrap();
        assert_eq!(tokens.access_token().unwrap().expose(), world.login.access_token);
    }
    // Nothing of that is remembered for ever.
    in_time(world.session.refresh()).await.unwrap();
    assert_eq!(world.status().await, 200);
    assert_eq!(world.server.counts().refreshes, 1);
}

// S38: whatever a token endpoint answers instead of tokens is an error, in time and within the size
// cap
#[tokio::test]
async fn an_answer_without_an_end_is_given_up_at_the_cap() {
    let world = World::new(BOTH[0]).await;
    world.server.faults_always(Fault::endless());
    let start = Instant::now();
    let error = in_time(world.session.refresh()).await.unwrap_err();
    assert!(format!("{error:?}").contains("larger than 1048576 bytes"), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(10), "the time-out of one attempt");
    assert_eq!(world.status().await, 200);
}

/// An endpoint that begins its answer and goes on with `more` for ever, but slowly, so that no
/// cap on its size ends it.
async fn dripping(start: &'static str, more: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let mut next = start;
                while stream.write_all(next.as_bytes()).await.is_ok() {
                    next = more;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        }
    });
    url
}

// S38: whatever a token endpoint answers instead of tokens is an error, in time and within the size
// cap
#[tokio::test]
async fn an_answer_that_never_ends_is_an_error_in_time() {
    let server = AuthServer::start().await.unwrap();
    for (start, more) in [
        ("HTTP/1.1 200 OK\r\n", "x: y\r\n"),
        ("HTTP/1.1 200 OK\r\nx: ", "y"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n{", " "),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n", "1\r\n \r\n"),
        ("", ""),
    ] {
        let endpoint = JsonEndpoint::new(dripping(start, more).await).unwrap();
        let tokens = server.log_in().tokens().unwrap();
        let session = impatient(Session::builder(endpoint)).initial_tokens(tokens).build();
        let began = Instant::now();
        let error = in_time(session.refresh()).await.unwrap_err();
        assert!(began.elapsed() < ATTEMPT * 10, "{start}");
        assert!(error.to_string().contains("did not answer within 500ms"), "{start}: {error:?}");
        let client = RefreshLayer::new(session).layer(http(BOTH[0]));
        let answer = send(client, post(&server.api_url())).await.unwrap();
        assert_eq!(answer.status, 200, "{start}");
    }
}
