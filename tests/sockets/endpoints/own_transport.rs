//! What a transport of the user's own may do to an endpoint.

use std::{
    convert::Infallible,
    error::Error,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body::{Body, Frame};
use http_body_util::Full;
use tower::{Service, ServiceBuilder};
use tower_refresh::{
    BoxError,
    endpoint::{EndpointError, FailureClass, JsonEndpoint, Spent},
};

use super::refresh;

/// An endpoint whose transport answers what `answer` makes.
fn answering<B>(
    answer: impl Fn() -> Result<Response<B>, BoxError> + Clone + Send + Sync + 'static,
) -> JsonEndpoint
where
    B: Body<Error: Into<BoxError>> + Send + 'static,
{
    JsonEndpoint::freddy().transport(tower::service_fn(move |_| {
        let answer = answer();
        async { answer }
    }))
}

/// The failure of an endpoint whose transport fails with what `error` makes.
async fn failing(error: impl Fn() -> BoxError + Clone + Send + Sync + 'static) -> EndpointError {
    let mut endpoint = answering::<Full<Bytes>>(move || Err(error()));
    refresh(&mut endpoint).await.expect_err("a failure")
}

/// A thousand bytes at a time, so many times, and how it ends: with an error if there is one.
struct Chunks {
    left: usize,
    end: Option<io::ErrorKind>,
}

const CHUNK: &[u8] = &[b' '; 1000];

impl Body for Chunks {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(self.end.map(|kind| Err(kind.into())));
        }
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(CHUNK)))))
    }
}

fn chunks(left: usize) -> Chunks {
    Chunks { left, end: None }
}

// S38: whatever a token endpoint answers instead of tokens is an error, in time and within the size
// cap
#[tokio::test]
async fn a_body_that_never_ends_is_cut_at_the_cap() {
    // Twenty times the cap is as good as endless, and a broken cap fails instead of eating memory.
    let mut endless = answering(|| Ok(Response::new(chunks(20_000))));
    let error = refresh(&mut endless).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::Transient);
    assert_eq!(error.spent(), Spent::Maybe);
    assert!(error.to_string().contains("1048576 bytes"), "{error}");

    let mut small = answering(|| Ok(Response::new(chunks(3)))).max_body_bytes(2999);
    let error = refresh(&mut small).await.unwrap_err();
    assert!(error.to_string().contains("2999 bytes"), "{error}");
    // One byte more and it is read, and found empty.
    let error = refresh(&mut small.max_body_bytes(3000)).await.unwrap_err();
    assert!(error.to_string().contains("empty body"), "{error}");
}

// S38: whatever a token endpoint answers instead of tokens is an error, in time and within the size
// cap
#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_not_read() {
    for length in ["1048577", "10485760", "18446744073709551615"] {
        let mut endpoint = answering(move || {
            let unread = Chunks { end: Some(io::ErrorKind::Other), ..chunks(0) };
            let response = Response::builder().header(header::CONTENT_LENGTH, length);
            Ok(response.body(unread)?)
        });
        let error = refresh(&mut endpoint).await.unwrap_err();
        assert!(error.to_string().contains("is larger than"), "{error}");
        // A cap that high is a mistake, but no reason to run out of memory.
        let error = refresh(&mut endpoint.max_body_bytes(usize::MAX)).await;
        assert!(error.unwrap_err().to_string().contains("broke off"));
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_may_have_spent_the_token() {
    // Whatever the status: what was cut off might have said anything.
    for status in [200, 401, 503] {
        let mut endpoint = answering(move || {
            let body = Chunks { end: Some(io::ErrorKind::ConnectionReset), ..chunks(1) };
            let response = Response::builder().status(status);
            Ok(response.header(header::RETRY_AFTER, "7").body(body)?)
        });
        let error = refresh(&mut endpoint).await.unwrap_err();
        assert_eq!(error.class(), FailureClass::Transient);
        assert_eq!(error.spent(), Spent::Maybe);
        assert!(error.source().is_some());
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        assert_eq!(error.status().unwrap(), status);
    }
}

#[tokio::test]
async fn only_a_refused_connection_proves_that_nothing_was_sent() {
    let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
    assert_eq!(failing(move || refused().into()).await.spent(), Spent::No);
    let wrapped = failing(move || io::Error::other(refused()).into()).await;
    assert_eq!(wrapped.spent(), Spent::No);
    for kind in [
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::BrokenPipe,
        io::ErrorKind::TimedOut,
        io::ErrorKind::Other,
    ] {
        let error = failing(move || io::Error::from(kind).into()).await;
        assert_eq!(error.class(), FailureClass::Transient);
        assert_eq!(error.spent(), Spent::Maybe, "{kind}");
        assert!(error.source().is_some());
    }
    assert_eq!(failing(|| "a riddle".into()).await.spent(), Spent::Maybe);
}

#[tokio::test]
async fn a_transport_that_knows_better_is_believed() {
    let error =
        failing(|| EndpointError::misconfigured("not today").with_spent(Spent::No).into()).await;
    assert_eq!(error.class(), FailureClass::Misconfigured);
    assert_eq!(error.to_string(), "not today");
}

#[tokio::test]
async fn a_transport_that_does_not_get_ready_has_sent_nothing() {
    #[derive(Clone)]
    struct Closed;
    impl Service<Request<Full<Bytes>>> for Closed {
        type Response = Response<Full<Bytes>>;
        type Error = BoxError;
        type Future = std::future::Pending<Result<Self::Response, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Err("closed".into()))
        }

        fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
            unreachable!("called unready")
        }
    }
    let error = refresh(&mut JsonEndpoint::freddy().transport(Closed)).await;
    assert_eq!(error.unwrap_err().spent(), Spent::No);
}

// S37: `Retry-After` is respected, as seconds and as a date, up to a limit
#[tokio::test]
async fn retry_after_and_date_are_handed_on() {
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    let mut busy = answering(|| {
        let response = Response::builder().status(429).header(header::DATE, DATE);
        let until = "Sun, 06 Nov 1994 08:50:07 GMT";
        let response = response.header(header::RETRY_AFTER, until);
        Ok(response.body(Full::<Bytes>::default())?)
    });
    let error = refresh(&mut busy).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::Transient);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(30)));

    let mut good = answering(|| {
        let response = Response::builder().header(header::DATE, DATE);
        Ok(response.body(r#"{"token":"a","device_id":"d"}"#.to_owned())?)
    });
    let tokens = refresh(&mut good).await.unwrap();
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    assert_eq!(tokens.date(), Some(date));
    assert_eq!(tokens.extra()["device_id"], "d");
}

// S37: with every answer that is no success, whatever its status
#[tokio::test]
async fn a_wait_is_handed_on_whatever_the_answer_is() {
    let unusable = [
        (200, r#"{"message":"come back later"}"#),
        (200, "<html>"),
        (204, ""),
        (302, ""),
        (400, r#"{"error":"invalid_grant","detail":"Invalid refresh token"}"#),
        (403, "<html>Denied</html>"),
        (404, ""),
        (429, ""),
        (500, "oops"),
        (503, r#"{"error":"temporarily_unavailable"}"#),
    ];
    for (status, body) in unusable {
        let mut endpoint = answering(move || {
            let response = Response::builder().status(status).header(header::RETRY_AFTER, "3.5");
            Ok(response.body(body.to_owned())?)
        });
        let error = refresh(&mut endpoint).await.unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_secs(4)), "{status} {body}");
    }
}

#[tokio::test]
async fn ordinary_layers_go_around_endpoint_and_transport() {
    let answer = r#"{"token":"a"}"#;
    let transport = ServiceBuilder::new()
        .timeout(Duration::from_secs(60))
        .concurrency_limit(1)
        .service_fn(move |_: Request<Full<Bytes>>| async move {
            Ok::<_, Infallible>(Response::new(answer.to_owned()))
        });
    let endpoint = JsonEndpoint::freddy().transport(transport);
    let mut endpoint = ServiceBuilder::new().concurrency_limit(1).service(endpoint);
    for _ in 0..2 {
        refresh(&mut endpoint).await.expect("a token");
    }
}
